"""`sluice scheduler why`."""

from __future__ import annotations

import datetime as dt
from typing import Any
from urllib.parse import quote

from rich.markup import escape

from sluice.cli.console import out, print_json
from sluice_scheduler.cli.options import Json, State, Url, connect
from sluice_scheduler.cli.tasks import Task

SHOWN = 5  # tasks ahead


def command(task: Task, url: Url = None, state: State = None, json: Json = False) -> None:
    """Say why a task is where it is: its position, what is ahead, what blocks it and when it should start."""
    with connect(url, state) as client:
        document = client.get(f"/v1/tasks/{quote(task, safe='')}/why")
    if json:
        print_json(document)
        return
    for line in lines(document):
        out.print(escape(line))


def lines(document: dict[str, Any]) -> list[str]:
    """Word an explanation."""
    rank = document["rank"]
    told = [
        f"task {document['id']}: {document['state']}, {document['model']} in {document['environment']}, "
        f"priority {document['priority']}" + (f", of {document['tenant']}" if document["tenant"] else "")
    ]
    if "position" in document:
        told += _queued(document)
    told += [f"waits for: {blocker}" for blocker in document.get("blocked_by", ())]
    told.append(
        f"rank {rank['value']:.3f} = queued at {rank['enqueued_at']:.3f} + ageing {rank['ageing']:g} s "
        f"{'-' if rank['moved'] < 0 else '+'} moved {abs(rank['moved']):.3f} s, by its {rank['by']}"
    )
    if run := document["run"]:
        told.append(
            f"runs {run['p50_seconds']:.3g} s (p50), {run['p95_seconds']:.3g} s (p95): "
            f"{run['observed']} runs of its {run['of']}"
        )
    else:
        told.append("how long it runs is not known yet")
    told += [f"{_time(event['at'])}  {event['what']}" for event in document["history"]]
    return told


def _queued(document: dict[str, Any]) -> list[str]:
    ahead, predicted = document["ahead"], document["predicted"]
    by_priority = ", ".join(f"{count} of priority {level}" for level, count in ahead["by_priority"].items())
    told = [
        f"position {document['position']}: {ahead['tasks']} ahead"
        + (f" ({by_priority})" if by_priority else "")
    ]
    told += [
        f"  {one['id'] or 'a task of another tenant'}, priority {one['priority']}"
        for one in ahead["next"][:SHOWN]
    ]
    if predicted:
        told.append(
            f"predicted to start in {predicted['start_in_seconds']:.3g} s, to end in "
            f"{predicted['finish_in_seconds']:.3g} s (p50), {predicted['finish_in_seconds_p95']:.3g} s (p95)"
        )
    else:
        told.append("when it starts is not known")
    told.append(f"nothing that arrives after {_time(document['overtaken_until'])} is served before it")
    return told


def _time(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="milliseconds")
