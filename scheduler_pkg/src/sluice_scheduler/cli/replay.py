"""`sluice replay`, which this distribution adds to the `sluice` command."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import platformdirs
import typer
from rich.markup import escape
from rich.table import Table

from sluice.cli import receipt as receipts
from sluice.cli.console import err, out, print_json, progress
from sluice.cli.options import Mirrors
from sluice.receipt import Answer, Receipt, published
from sluice.settings import Settings
from sluice_scheduler import tensors
from sluice_scheduler.cli.options import Json, State, Url, connect
from sluice_scheduler.deployments import realiser
from sluice_scheduler.errors import ClientError
from sluice_scheduler.inputs import read_inputs
from sluice_scheduler.replay import AnswerRecord, RecordError, Verdict
from sluice_scheduler.replayer import replay

SHORT = 12  # hexadecimal digits that a table shows


def command(
    answers: Annotated[
        list[str],
        typer.Argument(metavar="TASK|RECEIPT...", help="Ids of tasks that succeeded, or files of receipts."),
    ],
    given: Annotated[
        Path | None,
        typer.Option(
            "--input",
            help="JSON file with the input of a receipt, as it was submitted; then no scheduler is asked.",
            show_default="the scheduler's record",
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            envvar="SLUICE_RECEIPT_KEY",
            help="Check receipts with this key first: a PEM file, or the JSON of /v1/keys as a file or URL.",
            show_default="the scheduler's, unless --input is given",
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(
            envvar="SLUICE_SCHEDULER_REPLAY_ROOT",
            help="Folder to realise the environments in.",
            show_default="the user's cache folder",
        ),
    ] = None,
    mirror: Mirrors = None,
    url: Url = None,
    state: State = None,
    json: Json = False,
) -> None:
    """Make answers again from their receipts or records and compare every byte.

    Checks that the channel still gives the lock, realises it in a folder of its own, compares the tree, the model's
    package, the numeric profile and the bucket, runs the input in a fresh worker and compares the output. Exit status 0 only
    when all are equal; else the first link that differs is named: lock, package, tree, model, profile, bucket, input, output.

    Example: sluice replay answer.receipt.json --input request.json --key keys.json
    """
    records = [_record(one, given, key, url, state) for one in answers]
    place = (root or platformdirs.user_cache_path("sluice") / "replay").absolute()
    mirrors = Settings.load(mirrors=mirror).mirrors
    verdicts = list(
        replay(
            records,
            root=place,
            realise=realiser(place, progress(json_output=json), mirrors=mirrors),
            mirrors=mirrors,
            tell=lambda text: None if json else err.print(text, markup=False),
        )
    )
    if json:
        print_json([_document(verdict) for verdict in verdicts])
    else:
        out.print(_table(records, verdicts))
        for verdict in verdicts:
            if not verdict.equal and not verdict.deterministic:
                out.print(f"task {verdict.task}: its deployment did not promise the same bytes again")
    if not all(verdict.equal for verdict in verdicts):
        raise typer.Exit(1)


def _record(
    one: str, given: Path | None, key: str | None, url: str | None, state: Path | None
) -> AnswerRecord:
    if not os.path.isfile(one):  # noqa: PTH113 - pathlib raises for a text that is too long for a name
        if given is not None:
            raise ClientError(f"--input belongs to a receipt's file, and {one[:200]} is none")
        with connect(url, state) as client:
            return AnswerRecord.parse(client.record(one))
    receipt = receipts.read(Path(one))
    if given is not None:
        _check(receipt, key)
        return AnswerRecord.of(receipt.answer, tensors.parse(read_inputs(given)), None)
    with connect(url, state) as client:
        if key is None:
            receipt.verify(published.parse(client.keys(), "the scheduler's keys"))
        else:
            _check(receipt, key)
        record = AnswerRecord.parse(client.record(receipt.answer.task))
        return AnswerRecord.of(_same_task(receipt.answer, record), record.inputs, record.outputs)


def _check(receipt: Receipt, key: str | None) -> None:
    if key is not None:
        receipt.verify(receipts.read_keys(key))
    else:
        err.print(f"task {receipt.answer.task}: signature not checked; give --key", markup=False)


def _same_task(answer: Answer, record: AnswerRecord) -> Answer:
    if record.task != answer.task:
        raise RecordError(f"the scheduler gave the record of task {record.task[:80]}, not of {answer.task}")
    return answer


def _document(verdict: Verdict) -> dict[str, object]:
    return {
        "task": verdict.task,
        "equal": verdict.equal,
        "link": verdict.link,
        "expected": verdict.expected,
        "found": verdict.found,
        "max_difference": verdict.max_difference,
        "max_relative_difference": verdict.max_relative_difference,
        "deterministic": verdict.deterministic,
    }


def _table(records: list[AnswerRecord], verdicts: list[Verdict]) -> Table:
    table = Table("task", "model", "output on record", "made again", "largest difference", "relative")
    for record, verdict in zip(records, verdicts, strict=True):
        if verdict.equal:
            told = "[green]equal[/]"
        elif verdict.link != "bucket" and len(verdict.found) != len(
            record.output_digest.hex
        ):  # told in words
            told = f"[red]{verdict.link} differs[/]: {escape(verdict.found)}"
        else:
            told = (
                f"[red]{verdict.link} differs[/]: {verdict.expected[:SHORT]}, found {verdict.found[:SHORT]}"
            )
        table.add_row(
            verdict.task,
            record.model,
            record.output_digest.short,
            told,
            _number(verdict.max_difference),
            _number(verdict.max_relative_difference),
        )
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"
