"""`sluice scheduler list`, `cancel`, `retry` and `watch`: many tasks at once."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from sluice.cli.console import out, print_json
from sluice_scheduler.cli.options import Json, State, Url, connect
from sluice_scheduler.cli.tables import show_tasks
from sluice_scheduler.client import MOST_AT_ONCE
from sluice_scheduler.errors import ClientError, SchedulerError

MOST: Final = 100_000  # tasks of one list
Tasks = Annotated[list[str], typer.Argument(help="The tasks' ids.")]
Model = Annotated[str | None, typer.Option(help="Only those of this model.")]
Environment = Annotated[
    str | None, typer.Option("--environment", "--env", help="Only those of this environment.")
]
Tenant = Annotated[str | None, typer.Option(help="Only those of this tenant.")]
Priority = Annotated[int | None, typer.Option(min=1, max=9, help="Only those of this priority.")]
Since = Annotated[
    float | None, typer.Option(help="Only those submitted at or after this: seconds since the epoch, UTC.")
]
Until = Annotated[
    float | None, typer.Option(help="Only those submitted before this: seconds since the epoch, UTC.")
]


def list_tasks(
    only: Annotated[
        str | None,
        typer.Option("--in", help="Only those in this state: queued, running, succeeded, failed, cancelled."),
    ] = None,
    model: Model = None,
    environment: Environment = None,
    tenant: Tenant = None,
    priority: Priority = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="At most so many.")] = 20,
    url: Url = None,
    state: State = None,
    json: Json = False,
) -> None:
    """List the tasks submitted last, the latest first; dead letters are those with --in failed."""
    with connect(url, state) as client:
        tasks = list(client.tasks(limit, **_filter(only, model, environment, tenant, priority, since, until)))
    if json:
        print_json(tasks)
    else:
        show_tasks(tasks)


def cancel(tasks: Tasks, url: Url = None, state: State = None, json: Json = False) -> None:
    """Cancel queued or running tasks; exit status 1 when one of them cannot be."""
    _each(tasks, "cancel", url, state, json_output=json)


def retry(
    tasks: Annotated[list[str] | None, typer.Argument(help="The failed tasks' ids.")] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Instead of ids: all failed tasks that the options below mean.")
    ] = False,
    model: Model = None,
    environment: Environment = None,
    tenant: Tenant = None,
    priority: Priority = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST_AT_ONCE, help="At most so many.")] = MOST_AT_ONCE,
    url: Url = None,
    state: State = None,
    json: Json = False,
) -> None:
    """Queue failed tasks again, with as many attempts as new ones."""
    wanted = _filter(None, model, environment, tenant, priority, since, until)
    if every == bool(tasks) or (tasks and wanted):
        raise ClientError("name the tasks to try again, or say --all with options that choose among them")
    if tasks:
        _each(tasks, "retry", url, state, json_output=json)
        return
    with connect(url, state) as client:
        again = list(client.retry_all(limit, **wanted))
    if json:
        print_json(again)
    else:
        out.print(f"{len(again)} tasks are queued again")


def watch(
    task: Annotated[
        str | None, typer.Argument(help="A task's id; without it all tasks are followed.")
    ] = None,
    only: Annotated[
        str | None, typer.Option("--in", help="Only changes to this state: queued, running, succeeded...")
    ] = None,
    model: Model = None,
    environment: Environment = None,
    tenant: Tenant = None,
    priority: Priority = None,
    url: Url = None,
    state: State = None,
    json: Annotated[bool, typer.Option("--json", help="Write a line of JSON for every change.")] = False,
) -> None:
    """Follow tasks as they change: one until it has ended, or all until Ctrl-C or the scheduler's end.

    Exit status 1 when the one task has failed or was cancelled.
    """
    wanted = _filter(only, model, environment, tenant, priority, None, None)
    if task is not None and wanted:
        raise ClientError("name one task to follow, or options that choose among all")
    last: dict[str, Any] = {}
    with connect(url, state) as client:
        for event in client.events(task, **wanted):
            if event.name == "gap":
                out.print(f"{event.data['missed']} changes were missed", style="yellow")
                continue
            last = event.data
            if json:
                out.print_json(data=last, indent=None)
            else:
                told = f": {last['error']}" if last["error"] else ""
                out.print(
                    f"{last['id']} {last['model']} priority {last['priority']} is {last['state']}{told}",
                    markup=False,
                )
    if task is not None and last.get("state") in ("failed", "cancelled"):
        raise typer.Exit(1)


def _each(tasks: list[str], verb: str, url: str | None, state: State, *, json_output: bool) -> None:
    done: list[dict[str, Any]] = []
    refused: list[SchedulerError] = []
    with connect(url, state) as client:
        for task in tasks:
            try:
                done.append(client.cancel(task) if verb == "cancel" else client.retry(task))
            except ClientError as error:
                refused.append(error)
    if json_output:
        print_json(done)
    else:
        for document in done:
            out.print(f"{document['id']} is {document['state']}")
    if refused:
        raise ClientError("; ".join(map(str, refused)))


def _filter(
    only: str | None,
    model: str | None,
    environment: str | None,
    tenant: str | None,
    priority: int | None,
    since: float | None,
    until: float | None,
) -> dict[str, str | float]:
    given = {
        "state": only,
        "model": model,
        "environment": environment,
        "tenant": tenant,
        "priority": priority,
        "since": since,
        "until": until,
    }
    return {key: value for key, value in given.items() if value is not None}
