"""`sluice scheduler breaker`: the circuit breakers of environments."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from sluice.cli.console import out, print_json
from sluice_scheduler.cli.options import Json, State, Url, connect

app = typer.Typer(
    help="Circuit breakers: what pauses an environment that keeps failing.", no_args_is_help=True
)


@app.command("reset")
def reset(
    environment: Annotated[str, typer.Argument(help="The environment's name.")],
    url: Url = None,
    state: State = None,
    json: Json = False,
) -> None:
    """Forget an environment's failures; if it pauses for them, it begins anew at once."""
    with connect(url, state) as client:
        shown = client.reset_breaker(quote(environment, safe=""))
    if json:
        print_json(shown)
    else:
        out.print(f"{shown['name']}: {shown['state']}", markup=False)
