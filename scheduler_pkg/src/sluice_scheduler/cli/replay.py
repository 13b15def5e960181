"""`sluice scheduler replay`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import platformdirs
import typer
from rich.table import Table

from sluice.cli.console import err, out, print_json, progress
from sluice_scheduler.cli.options import Json, State, Url, connect
from sluice_scheduler.deployments import realiser
from sluice_scheduler.replay import AnswerRecord, Verdict
from sluice_scheduler.replayer import replay

SHORT = 12  # hexadecimal digits that a table shows


def command(
    tasks: Annotated[list[str], typer.Argument(metavar="TASK...", help="Ids of tasks that succeeded.")],
    root: Annotated[
        Path | None,
        typer.Option(
            envvar="SLUICE_SCHEDULER_REPLAY_ROOT",
            help="Folder to realise the environments in.",
            show_default="the user's cache folder",
        ),
    ] = None,
    url: Url = None,
    state: State = None,
    json: Json = False,
) -> None:
    """Make answers again from their records and compare every byte.

    Fetches each task's record, checks that the channel still gives the recorded lock, realises it in a folder of
    its own, compares the tree, the model's package and the numeric profile, runs the recorded input in a fresh
    worker and compares the output. Exit status 0 only when all are equal; else the first link that differs is named.
    """
    with connect(url, state) as client:
        records = [AnswerRecord.parse(client.record(task)) for task in tasks]
    place = (root or platformdirs.user_cache_path("sluice") / "replay").absolute()
    verdicts = list(
        replay(
            records,
            root=place,
            realise=realiser(place, progress(json_output=json)),
            tell=lambda text: None if json else err.print(text, markup=False),
        )
    )
    if json:
        print_json([_document(verdict) for verdict in verdicts])
    else:
        out.print(_table(records, verdicts))
    if not all(verdict.equal for verdict in verdicts):
        raise typer.Exit(1)


def _document(verdict: Verdict) -> dict[str, object]:
    return {
        "task": verdict.task,
        "equal": verdict.equal,
        "link": verdict.link,
        "expected": verdict.expected,
        "found": verdict.found,
        "max_difference": verdict.max_difference,
    }


def _table(records: list[AnswerRecord], verdicts: list[Verdict]) -> Table:
    table = Table("task", "model", "output on record", "made again", "largest difference")
    for record, verdict in zip(records, verdicts, strict=True):
        if verdict.equal:
            told = "[green]equal[/]"
        else:
            told = (
                f"[red]{verdict.link} differs[/]: {verdict.expected[:SHORT]}, found {verdict.found[:SHORT]}"
            )
        difference = "" if verdict.max_difference is None else f"{verdict.max_difference:g}"
        table.add_row(verdict.task, record.model, record.output_digest.short, told, difference)
    return table
