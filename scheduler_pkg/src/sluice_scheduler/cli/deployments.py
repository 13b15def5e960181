"""`sluice scheduler deployments`, `deploy`, `rollback` and `log`."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer
from rich.markup import escape

from sluice.cli.console import err, out, print_json
from sluice_scheduler.cli.options import Json, State, Url, connect
from sluice_scheduler.cli.tables import SHORT, table
from sluice_scheduler.client import Client
from sluice_scheduler.versions import VersionLog

POLL_SECONDS: Final = 1.0  # while an order goes on
Environment = Annotated[str, typer.Argument(help="The environment's name.")]


def deployments(
    environment: Annotated[
        str | None, typer.Argument(help="Only this environment.", show_default="all")
    ] = None,
    url: Url = None,
    state: State = None,
    json: Json = False,
) -> None:
    """List the generations that are kept of each environment, and say what is being deployed or was refused."""
    with connect(url, state) as client:
        names = [environment] if environment else [one["name"] for one in client.get("/v1/environments")]
        shown = [client.get(_path(name, "deployments")) for name in names]
    if json:
        print_json(shown)
        return
    rows = table("environment", "generation", "lock", "tree", "models", "by", "made")
    for one in shown:
        for generation in one["generations"]:
            current = generation["number"] == one["current"]
            rows.add_row(
                escape(one["environment"]),
                f"{generation['number']}{' *' if current else ''}",
                generation["lock"][:SHORT],
                generation["tree"][:SHORT],
                escape(", ".join(f"{name} {sha[:SHORT]}" for name, sha in generation["models"].items())),
                escape(generation["who"]),
                _time(generation["made_at"]),
            )
    out.print(rows)
    for one in shown:
        for told in filter(None, (one["candidate"], one["refused"])):
            out.print(f"{one['environment']}: {told}", markup=False)


def deploy(
    environment: Environment,
    any_signature: Annotated[
        bool, typer.Option("--any-signature", help="Also where it breaks who relies on the present one.")
    ] = False,
    url: Url = None,
    state: State = None,
    json: Json = False,
) -> None:
    """Deploy what the channel has now, also where it was refused or rolled back before.

    Exit status 1 when it is refused; then the old generation goes on being served.
    """
    with connect(url, state) as client:
        _order(client, environment, "deploy", {"any_signature": any_signature}, json=json)


def rollback(
    environment: Environment,
    to: Annotated[
        int | None, typer.Option(help="The generation's number.", show_default="the one before")
    ] = None,
    url: Url = None,
    state: State = None,
    json: Json = False,
) -> None:
    """Serve a generation again that was served before.

    The channel's lock that is left is not deployed again by itself; a newer one is, and `deploy` deploys any.
    """
    with connect(url, state) as client:
        _order(client, environment, "rollback", {} if to is None else {"to": to}, json=json)


def log(
    environment: Annotated[
        str | None, typer.Argument(help="Only this environment.", show_default="all")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Look for lines that were changed, removed or inserted.")
    ] = False,
    limit: Annotated[int, typer.Option(help="How many entries.", min=1, max=1000)] = 20,
    url: Url = None,
    state: State = None,
    json: Json = False,
) -> None:
    """Show the version log, the newest entry first: what was deployed, by whom, with what outcome.

    With --verify follow its chain instead; exit status 1 where it is broken. With --state the log's files are read, whether
    or not the scheduler runs.
    """
    if verify:
        _verify(url, state, json=json)
        return
    if state and not url:
        entries = VersionLog(state).latest(environment=environment, limit=limit)
    else:
        query = {"environment": environment} if environment else {}
        with connect(url, state) as client:
            entries = client.get("/v1/versions", limit=limit, **query)
    if json:
        print_json(entries)
        return
    rows = table("time", "environment", "generation", "outcome", "by", "lock", "size", "reason")
    for entry in entries:
        rows.add_row(
            _time(entry["time"]),
            escape(entry["environment"]),
            str(entry["generation"] or ""),
            entry["outcome"],
            escape(entry["who"]),
            (entry["lock"] or "")[:SHORT],
            "" if entry["size"] is None else f"{entry['size'] / 1e6:.1f} MB",
            escape(entry["reason"]),
        )
    out.print(rows)


def _verify(url: str | None, state: Path | None, *, json: bool) -> None:
    if state and not url:
        head = VersionLog(state).verify()
        found: dict[str, Any] = {"whole": True, "lines": head.count, "digest": head.digest}
    else:
        with connect(url, state) as client:
            found = client.get("/v1/versions/verify")
    if json:
        print_json(found)
    elif found["whole"]:
        out.print(f"{found['lines']} lines, digest {found['digest']}")
    else:
        err.print(found["error"], markup=False)
    if not found["whole"]:
        raise typer.Exit(1)


def _order(client: Client, environment: str, verb: str, asked: dict[str, Any], *, json: bool) -> None:
    result = client.order(_path(environment, verb), asked)
    while result["outcome"] is None:
        time.sleep(POLL_SECONDS)
        shown = client.get(_path(environment, "deployments"))
        if shown["order"]["under_way"]:
            continue
        result = shown["order"]["result"] or {
            "outcome": "refused",
            "generation": None,
            "reason": shown["refused"],
        }
    refused = result["outcome"] == "refused"
    if json:
        print_json(result)
    elif refused:
        err.print(f"{environment}: refused: {result['reason']}", markup=False)
    else:
        out.print(f"{environment}: generation {result['generation']} {result['outcome']}", markup=False)
    if refused:
        raise typer.Exit(1)


def _path(environment: str, what: str) -> str:
    return f"/v1/environments/{quote(environment, safe='')}/{what}"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
