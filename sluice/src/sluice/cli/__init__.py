"""The `sluice` command; other distributions add groups by the entry point group `sluice.commands`."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from typing import Annotated, NoReturn

import typer

from sluice import __version__
from sluice.adapters.rattler import exit_process
from sluice.cli import build, lock, realise, verify
from sluice.cli.console import err, out
from sluice.errors import SluiceError

INTERRUPTED = 130  # the shell's status for Ctrl-C

app = typer.Typer(
    help="Build, lock, realise and verify conda environments whose answers can be replayed byte for byte.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        out.print(f"sluice {__version__}")
        raise typer.Exit


@app.callback()
def root(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Build, lock, realise and verify conda environments whose answers can be replayed byte for byte."""


app.command("build")(build.command)
app.command("lock")(lock.command)
app.command("realise")(realise.command)
app.command("verify")(verify.command)


def main() -> NoReturn:
    """Run the command line: one line and status 1 for what Sluice refuses, 130 for Ctrl-C."""
    for point in sorted(entry_points(group="sluice.commands"), key=lambda point: point.name):
        app.add_typer(point.load(), name=point.name)
    exit_process(_run())


def _run() -> int:
    status = 0
    try:
        app()
    except SystemExit as exit_:
        status = exit_.code if isinstance(exit_.code, int) else int(bool(exit_.code))
    except SluiceError as error:
        err.print("[red]error:[/]", end=" ")
        err.print(" ".join(str(error).split()), markup=False)
        status = 1
    if status == INTERRUPTED:  # Typer has caught the KeyboardInterrupt
        err.print("interrupted")
    sys.stdout.flush()
    sys.stderr.flush()
    return status
