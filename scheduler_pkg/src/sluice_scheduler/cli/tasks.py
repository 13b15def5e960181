"""`sluice scheduler submit`, `status`, `show`, `cancel` and `models`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from sluice.cli.console import out, print_json
from sluice_scheduler.cli.options import Json, State, Url, connect
from sluice_scheduler.client import parse_input, read_inputs
from sluice_scheduler.errors import ClientError

SHORT = 12  # hexadecimal digits that a table shows
Task = Annotated[str, typer.Argument(help="The task's id.")]


def submit(
    model: Annotated[str, typer.Argument(help="The model's name; `sluice scheduler models` lists them.")],
    given: Annotated[
        list[str] | None,
        typer.Option("--input", "-i", help="NAME=TEXT or NAME=@FILE: one BYTES element; may be repeated."),
    ] = None,
    inputs: Annotated[
        Path | None,
        typer.Option(help="JSON file with Open Inference Protocol tensors, a list or {inputs: [...]}."),
    ] = None,
    priority: Annotated[int | None, typer.Option(show_default="5", help="1 (most urgent) to 9.")] = None,
    environment: Annotated[
        str | None,
        typer.Option("--environment", "--env", help="Where several environments carry the model: which."),
    ] = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait for the answer.")] = 0.0,
    url: Url = None,
    state: State = None,
    json: Json = False,
) -> None:
    """Submit a task: prints its id, or with --wait its answer."""
    tensors = [*(read_inputs(inputs) if inputs else []), *map(parse_input, given or [])]
    with connect(url, state) as client:
        task = client.submit(model, tensors, priority=priority, environment=environment)
        if wait > 0:
            task = client.wait(task["id"], wait)
    if json:
        print_json(task)
    elif wait > 0:
        _show(task)
    else:
        out.print(task["id"])
    if task["state"] in ("failed", "cancelled"):
        raise typer.Exit(1)


def status(url: Url = None, state: State = None, json: Json = False) -> None:
    """Show the environments, how many tasks wait, and the latest tasks."""
    with connect(url, state) as client:
        document = {
            "health": client.health(),
            "policy": client.get("/v1/policy"),
            "environments": client.get("/v1/environments"),
            "tasks": client.get("/v1/tasks", limit=20),
        }
    if json:
        print_json(document)
        return
    health, policy = document["health"], document["policy"]
    out.print("[green]ready[/]" if health["ready"] else f"[yellow]not ready[/]: {escape(health['doing'])}")
    out.print(
        f"one step of priority is worth {policy['ageing_seconds']:g} s; "
        f"a task is overtaken for {policy['overtaken_for_at_most_seconds']:g} s at most"
    )
    table = Table("environment", "state", "lock", "tree", "models", "queued", "running")
    for item in document["environments"]:
        table.add_row(
            item["name"],
            escape(item["state"]),
            item.get("lock", "")[:SHORT],
            item.get("tree", "")[:SHORT],
            ", ".join(item.get("models", [])),
            str(item["tasks"].get("queued", 0)),
            str(item["tasks"].get("running", 0)),
        )
    out.print(table)
    tasks = Table("task", "model", "priority", "state", "start", "queued s", "ran s", "output")
    for task in document["tasks"]:
        tasks.add_row(
            task["id"],
            task["model"],
            str(task["priority"]),
            task["state"],
            _text(task["start_order"]),
            _seconds(task["queue_seconds"]),
            _seconds(task["run_seconds"]),
            (task["digests"]["output"] or "")[:SHORT],
        )
    out.print(tasks)


def show(
    task: Task,
    wait: Annotated[float, typer.Option(help="Seconds to wait for its end.")] = 0.0,
    url: Url = None,
    state: State = None,
    json: Json = False,
) -> None:
    """Show one task: its state, answer and digests."""
    with connect(url, state) as client:
        document = client.wait(task, wait)
    if json:
        print_json(document)
    else:
        _show(document)


def cancel(task: Task, url: Url = None, state: State = None, json: Json = False) -> None:
    """Cancel a queued or running task."""
    with connect(url, state) as client:
        document = client.cancel(task)
    if json:
        print_json(document)
    else:
        out.print(f"{document['id']} is {document['state']}")


def models(url: Url = None, state: State = None, json: Json = False) -> None:
    """List the models that are served, with their inputs and outputs."""
    with connect(url, state) as client:
        document = client.get("/v1/models")
    if not isinstance(document, list):
        raise ClientError
    if json:
        print_json(document)
        return
    table = Table("model", "version", "environment", "inputs", "outputs", "package")
    for model in document:
        table.add_row(
            model["name"],
            model["version"],
            model["environment"],
            escape("\n".join(map(_spec, model["inputs"]))),
            escape("\n".join(map(_spec, model["outputs"]))),
            f"{model['package']}\n{model['sha256'][:SHORT]}",
        )
    out.print(table)


def _spec(spec: dict[str, Any]) -> str:
    optional = " (optional)" if spec["optional"] else ""
    return f"{spec['name']} {spec['datatype']} {spec['shape']}{optional}"


def _show(task: dict[str, Any]) -> None:
    table = Table("", "", show_header=False)
    for key, value in task.items():
        if key == "outputs":
            for tensor in value or ():
                table.add_row(f"output {escape(tensor['name'])}", escape(_tensor(tensor)))
        elif key == "digests":
            for name, digest in value.items():
                table.add_row(f"{name} sha256", digest or "")
        elif value is not None:
            table.add_row(key, escape(str(value)))
    out.print(table)


def _tensor(tensor: dict[str, Any]) -> str:
    values = str(tensor["data"])
    shown = values if len(values) <= 200 else f"{values[:200]}..."  # noqa: PLR2004 - characters
    return f"{tensor['datatype']} {tensor['shape']} {shown}"


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
