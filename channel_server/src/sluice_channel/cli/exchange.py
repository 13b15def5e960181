"""`sluice channel import`, `export`, `patch` and `notices`: work on a server's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sluice.cli.console import err, out, print_json, progress
from sluice.cli.options import Json
from sluice.compare.difference import printable
from sluice_channel import notices as channel_notices
from sluice_channel.errors import ExchangeError, InstructionsError, NoticeError
from sluice_channel.exchange import patching
from sluice_channel.exchange.exporting import export_directory
from sluice_channel.exchange.importing import Imported, import_directory
from sluice_channel.site import open_site
from sluice_channel.subdir import KNOWN

_Root = Annotated[
    Path, typer.Argument(help="The server's folder, which holds its catalogue.", show_default=False)
]
_Channel = Annotated[str, typer.Option("--channel", help="The channel, or CHANNEL/label/LABEL.")]


def import_(
    root: _Root,
    directory: Annotated[
        Path, typer.Argument(help="A directory with linux-64/, noarch/ and so on.", show_default=False)
    ],
    channel: _Channel = "main",
    json: Json = False,
) -> None:
    """Take the packages and environments of a directory channel into a server's folder, made where there is none.

    Every package is verified as one that is published. What is refused is named at the end, with status 1, and
    everything else is there. `patch_instructions.json` of a platform is applied. Doing it again
    adds what is new and removes nothing. Where that can be a file is linked and not copied, and is read-only
    from then on.

    Example: sluice channel import /srv/sluice build/channel --channel main
    """
    with open_site(root, create=True) as site:
        done = import_directory(site, directory, channel, progress(json_output=json))
    if json:
        fields = {"found": done.found, "added": done.added, "generation": done.generation}
        print_json(fields | {"registered": done.registered, "refused": list(done.refused)})
    else:
        show(channel, done)
    if done.refused:
        show_refused(done)
        raise ExchangeError(f"{len(done.refused)} refused; everything else is there")


def show(channel: str, done: Imported) -> None:
    """Say what an import did."""
    locks = f", {done.registered} locks registered" if done.registered else ""
    out.print(
        f"{channel}  {done.found} packages found, {done.added} added{locks}  generation {done.generation}"
    )


def show_refused(done: Imported) -> None:
    """Name what an import refused, and why."""
    for each in done.refused:
        err.print(f"refused  {printable(each)}", markup=False)


def export(
    root: _Root,
    directory: Annotated[
        Path, typer.Argument(help="An empty directory, or that of an earlier export.", show_default=False)
    ],
    channel: _Channel = "main",
    at: Annotated[
        int | None, typer.Option(help="A generation; without it the newest.", min=0, show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Write a generation of a channel as a directory that any web server can serve, with conda-index's documents.

    Yanked packages are left out, and patches are applied.

    Example: sluice channel export /srv/sluice /var/www/main --at 12
    """
    with open_site(root) as site:
        done = export_directory(site, directory, channel, at, progress(json_output=json))
    packages = done.summary.packages
    if json:
        fields = {"copied": done.copied, "removed": done.removed, "packages": packages}
        print_json({"channel": channel, "generation": done.generation, **fields})
    else:
        out.print(
            f"{directory}  {channel} generation {done.generation}  {packages} packages, "
            f"{done.copied} copied, {done.removed} removed"
        )


def patch(
    root: _Root,
    instructions: Annotated[
        Path, typer.Argument(help="conda-index's patch_instructions.json.", show_default=False)
    ],
    subdir: Annotated[
        str | None,
        typer.Option(help="The platform; else the name of the file's folder.", show_default=False),
    ] = None,
    channel: _Channel = "main",
    json: Json = False,
) -> None:
    """Let the index of one platform say what patch instructions say, and nothing else, in one generation.

    `packages` and `packages.conda` replace fields of records, `remove` yanks, `revoke` makes a package
    impossible to install. What earlier instructions did and these do not is undone.

    Example: sluice channel patch /srv/sluice linux-64/patch_instructions.json
    """
    where = subdir or instructions.resolve().parent.name
    if where not in KNOWN:
        raise InstructionsError(
            f"{where!r} is no platform; name one with --subdir, such as linux-64 or noarch"
        )
    with open_site(root) as site:
        made = patching.patch(site, channel, where, patching.read(instructions))
        newest = site.catalogue.channel(channel).generation
    if json:
        print_json({"channel": channel, "subdir": where, "generation": newest, "changed": bool(made)})
    else:
        news = f"generation {newest}" if made else "nothing changed"
        out.print(f"{channel}/{where}  {news}")


def notices(
    root: _Root,
    document: Annotated[
        Path | None,
        typer.Argument(help='A notices.json: {"notices": [...]}, as in CEP 6.', show_default=False),
    ] = None,
    channel: _Channel = "main",
    clear: Annotated[bool, typer.Option("--clear", help="Take all notices away.")] = False,
) -> None:
    """Show the notices that conda shows to a channel's users, or replace them.

    Example: sluice channel notices /srv/sluice notices.json
    """
    with open_site(root) as site:
        if document is not None or clear:
            site.catalogue.set_notices(channel, channel_notices.parse(_text(document)) if document else "[]")
        out.print_json(channel_notices.document(site.catalogue.notices(channel)).decode())


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NoticeError(f"cannot read {path}: {error}") from error
