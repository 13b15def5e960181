"""`sluice scheduler status`, `show` and `models`: looking."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape

from sluice.cli.console import out, print_json
from sluice_scheduler.cli.options import Json, State, Url, connect
from sluice_scheduler.cli.tables import SHORT, show_task, show_tasks, table
from sluice_scheduler.errors import ClientError

Task = Annotated[str, typer.Argument(help="The task's id.")]


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
    rows = table("environment", "state", "lock", "tree", "models", "queued", "running")
    for item in document["environments"]:
        rows.add_row(
            item["name"],
            escape(item["state"]),
            item.get("lock", "")[:SHORT],
            item.get("tree", "")[:SHORT],
            ", ".join(item.get("models", [])),
            str(item["tasks"].get("queued", 0)),
            str(item["tasks"].get("running", 0)),
        )
    out.print(rows)
    show_tasks(document["tasks"])


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
        show_task(document)


def models(url: Url = None, state: State = None, json: Json = False) -> None:
    """List the models that are served, with their inputs and outputs."""
    with connect(url, state) as client:
        document = client.get("/v1/models")
    if not isinstance(document, list):
        raise ClientError
    if json:
        print_json(document)
        return
    rows = table("model", "version", "environment", "inputs", "outputs", "package")
    for model in document:
        rows.add_row(
            model["name"],
            model["version"],
            model["environment"],
            escape("\n".join(map(_spec, model["inputs"]))),
            escape("\n".join(map(_spec, model["outputs"]))),
            f"{model['package']}\n{model['sha256'][:SHORT]}",
        )
    out.print(rows)


def _spec(spec: dict[str, Any]) -> str:
    optional = " (optional)" if spec["optional"] else ""
    return f"{spec['name']} {spec['datatype']} {spec['shape']}{optional}"
