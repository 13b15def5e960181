"""`sluice scheduler receipt` and `rotate-key`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sluice import atomic
from sluice.cli.console import out, print_json
from sluice_scheduler import keys
from sluice_scheduler.cli.options import Json, State, Url, connect
from sluice_scheduler.errors import ClientError


def receipt(
    task: Annotated[str, typer.Argument(help="The id of a task that succeeded.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write it to.", show_default="standard output"),
    ] = None,
    url: Url = None,
    state: State = None,
) -> None:
    """Download the signed receipt of an answer; `sluice receipt verify` checks it.

    Example: sluice scheduler receipt 0192f0c1a2b3d4e5f6a7b8c9 -o answer.receipt.json
    """
    with connect(url, state) as client:
        data = client.receipt(task)
    if output is None:
        sys.stdout.write(data.decode())
        return
    try:
        atomic.write(output, data)
    except OSError as error:
        raise ClientError(f"{output}: {error.strerror or error}") from None


def rotate_key(
    state: Annotated[
        Path,
        typer.Option(
            envvar="SLUICE_SCHEDULER_STATE", help="The state folder of a scheduler, running or not."
        ),
    ],
    json: Json = False,
) -> None:
    """Sign receipts with a new key from now on. The old public key stays served, so older receipts verify."""
    *_, old, new = keys.rotate(state.absolute()).published
    if json:
        print_json({"old": old.document(), "new": new.document()})
    else:
        out.print(f"new key {new.key.keyid}\nold key {old.key.keyid}", markup=False)
