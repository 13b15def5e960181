"""The `sluice` command; other distributions add commands and groups by the entry point group `sluice.commands`."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Annotated

import typer

from sluice import __version__
from sluice.cli import build, bundle, diff, export, gc, graph, lock, realise, rebuild, receipt, verify
from sluice.cli.console import err, out
from sluice.errors import SluiceError

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
app.command("bundle")(bundle.command)
app.command("diff")(diff.command)
app.command("export")(export.command)
app.command("gc")(gc.command)
app.command("graph")(graph.command)
app.command("lock")(lock.command)
app.command("realise")(realise.command)
app.command("rebuild")(rebuild.command)
app.command("unbundle")(bundle.unbundle)
app.command("verify")(verify.command)
app.add_typer(receipt.app, name="receipt")


def assemble() -> typer.Typer:
    """Return the command with what other installed distributions add: groups (Typer) and commands (functions)."""
    for point in sorted(entry_points(group="sluice.commands"), key=lambda point: point.name):
        added = point.load()
        if isinstance(added, typer.Typer):
            app.add_typer(added, name=point.name)
        else:
            app.command(point.name)(added)
    return app


def run(command: typer.Typer) -> int:
    """Run the command line and return its status; what Sluice refuses is one line on standard error."""
    try:
        command()
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else int(bool(exit_.code))
    except SluiceError as error:
        err.print("[red]error:[/]", end=" ")
        err.print(" ".join(str(error).split()), markup=False)
        return 1
    return 0
