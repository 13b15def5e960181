"""`sluice scheduler submit`: one task, or a file of them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from sluice.cli.console import out, print_json, progress
from sluice_scheduler.cli.options import Json, State, Url, connect
from sluice_scheduler.cli.tables import show_task
from sluice_scheduler.client import Client
from sluice_scheduler.errors import ClientError
from sluice_scheduler.inputs import parse_input, read_inputs, read_tasks


def submit(
    model: Annotated[
        str | None, typer.Argument(help="The model's name; `sluice scheduler models` lists them.")
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option("--input", "-i", help="NAME=TEXT or NAME=@FILE: one BYTES element; may be repeated."),
    ] = None,
    inputs: Annotated[
        Path | None,
        typer.Option(help="JSON file with Open Inference Protocol tensors, a list or {inputs: [...]}."),
    ] = None,
    many: Annotated[
        Path | None,
        typer.Option(
            help="File of JSON lines, each a task as POST /v1/tasks takes it; - is standard input. "
            "MODEL and the options below stand for what a line does not say."
        ),
    ] = None,
    priority: Annotated[int | None, typer.Option(show_default="5", help="1 (most urgent) to 9.")] = None,
    environment: Annotated[
        str | None,
        typer.Option("--environment", "--env", help="Where several environments carry the model: which."),
    ] = None,
    deadline: Annotated[
        float | None,
        typer.Option(help="Seconds from now in which it must have ended; refused where that cannot be."),
    ] = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option(
            help="Submitted again under the same key it is the same task; with --many a line's number is added."
        ),
    ] = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait for the answers.")] = 0.0,
    url: Url = None,
    state: State = None,
    json: Json = False,
) -> None:
    """Submit a task, or with --many a file of them: prints the ids, or with --wait the answers.

    Exit status 1 when a task has failed or was cancelled.
    """
    said: dict[str, Any] = {
        "model": model,
        "priority": priority,
        "environment": environment,
        "deadline_seconds": deadline,
    }
    task = {key: value for key, value in said.items() if value is not None}
    with connect(url, state) as client:
        if many is not None:
            if given or inputs:
                raise ClientError("--many brings its own inputs; leave --input and --inputs away")
            tasks = list(client.submit_many(_lines(many, task, idempotency_key)))
        elif model is None:
            raise ClientError("say which model, or give a file of tasks with --many")
        else:
            task["inputs"] = [*(read_inputs(inputs) if inputs else []), *map(parse_input, given or [])]
            tasks = [client.submit(task, key=idempotency_key)]
        if wait > 0:
            tasks = _ended(client, tasks, wait, json_output=json)
    if json:
        print_json(tasks if many is not None else tasks[0])
    elif wait > 0 and many is None:
        show_task(tasks[0])
    else:
        for one in tasks:
            out.print(f"{one['id']} {one['state']}" if wait > 0 else one["id"], markup=False)
    if any(one["state"] in ("failed", "cancelled") for one in tasks):
        raise typer.Exit(1)


def _lines(file: Path, said: dict[str, Any], key: str | None) -> Iterable[dict[str, Any]]:
    for number, line in enumerate(read_tasks(file), 1):
        keyed = {} if key is None else {"idempotency_key": f"{key}/{number}"}
        yield {**said, **keyed, **line}


def _ended(
    client: Client, tasks: list[dict[str, Any]], wait: float, *, json_output: bool
) -> list[dict[str, Any]]:
    until = time.monotonic() + wait
    ended: list[dict[str, Any]] = []
    with progress(json_output=json_output).step("waiting for the tasks", len(tasks)) as step:
        for task in tasks:
            ended.append(client.wait(task["id"], max(0.0, until - time.monotonic())))
            step.advance()
    return ended
