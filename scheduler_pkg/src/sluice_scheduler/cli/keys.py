"""`sluice scheduler key`: the API keys of a state folder, whether or not its scheduler runs."""

from __future__ import annotations

import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from sluice.cli.console import out, print_json
from sluice_scheduler import api_keys, policy
from sluice_scheduler.api_keys import ApiKey
from sluice_scheduler.callers import Scope
from sluice_scheduler.cli.options import Json
from sluice_scheduler.errors import ApiKeyError
from sluice_scheduler.rates import Rate

app = typer.Typer(
    help="API keys: who may ask this scheduler, as which tenant, how often, how urgently.",
    no_args_is_help=True,
)
_UNITS: Final = {"m": 60.0, "h": 3600.0, "d": 86400.0}  # seconds
_LIFE: Final = re.compile(r"([1-9][0-9]{0,5})([mhd])")

StateFolder = Annotated[
    Path,
    typer.Option("--state", envvar="SLUICE_SCHEDULER_STATE", help="The state folder of the scheduler."),
]


@app.command("create")
def create(
    state: StateFolder,
    scope: Annotated[
        list[Scope],
        typer.Option(help="What the key may do; may be repeated. `admin` is all, of every tenant."),
    ] = [Scope.INFER, Scope.SUBMIT, Scope.READ],  # noqa: B006 - Typer copies it
    tenant: Annotated[str, typer.Option(help="Whose tasks it makes and sees.")] = "",
    rate: Annotated[
        float | None,
        typer.Option(help="Inferences and submissions a second, on average.", show_default="any"),
    ] = None,
    burst: Annotated[
        int | None, typer.Option(help="How many of them at once.", show_default="one second's, 1 at least")
    ] = None,
    ceiling: Annotated[
        int, typer.Option(help="The most urgent priority its tasks get, 1 (most urgent) to 9.")
    ] = policy.HIGHEST,
    expires: Annotated[
        str | None,
        typer.Option(help="How long it lives, as in 90d, 12h or 30m.", show_default="until it is revoked"),
    ] = None,
    note: Annotated[str, typer.Option(help="What it is for.")] = "",
    json: Json = False,
) -> None:
    """Make a key and write it to standard output; it is kept nowhere and not shown again.

    Example: sluice scheduler key create --state /var/lib/sluice-scheduler --tenant search --rate 50 --ceiling 3
    """
    if burst is not None and rate is None:
        raise ApiKeyError("--burst is for a key with a --rate")
    now = time.time()
    made, secret = api_keys.create(
        state.absolute(),
        tenant=tenant,
        scopes=frozenset(scope),
        now=now,
        ceiling=ceiling,
        rate=None if rate is None else Rate(rate, burst if burst is not None else max(1, round(rate))),
        expires=None if expires is None else now + lifetime(expires),
        note=note,
    )
    if json:
        print_json({**made.document(), "key": secret})
    else:
        sys.stdout.write(f"{secret}\n")


@app.command("list")
def listed(state: StateFolder, json: Json = False) -> None:
    """List the keys, without the keys themselves."""
    found = api_keys.read(state.absolute())
    if json:
        print_json([key.document() for key in found])
        return
    now = time.time()
    for key in found:
        out.print(_line(key, now), markup=False, soft_wrap=True)


@app.command("revoke")
def revoke(
    key: Annotated[str, typer.Argument(help="The key's id, as `list` shows it.")], state: StateFolder
) -> None:
    """Let a key be of no use from now on."""
    out.print(f"revoked {api_keys.revoke(state.absolute(), key, now=time.time()).id}", markup=False)


def lifetime(text: str) -> float:
    """Read how long something lives, in seconds: 90d, 12h, 30m.

    Raises:
        ApiKeyError: it is none.

    """
    found = _LIFE.fullmatch(text)
    if not found:
        raise ApiKeyError(
            f"--expires is a number of days, hours or minutes, as in 90d, 12h or 30m; not {text[:40]!r}"
        )
    return int(found[1]) * _UNITS[found[2]]


def _line(key: ApiKey, now: float) -> str:
    parts = [key.id, f"tenant {key.tenant or '-'}", ",".join(sorted(key.scopes))]
    if key.ceiling != policy.HIGHEST:
        parts.append(f"priority {key.ceiling} at most")
    if key.rate:
        parts.append(f"{key.rate.per_second:g}/s, {key.rate.burst} at once")
    if key.revoked is not None:
        parts.append(f"revoked {_day(key.revoked)}")
    elif key.expires is not None:
        parts.append(f"{'expires' if key.valid(now) else 'expired'} {_day(key.expires)}")
    if key.note:
        parts.append(key.note)
    return "  ".join(parts)


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
