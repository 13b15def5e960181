"""`sluice channel vulnerabilities`: what environments are audited against."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from sluice.cli.console import err, out, print_json, progress
from sluice.cli.options import Json
from sluice.compare.difference import printable
from sluice_channel.errors import NoAdvisoriesError
from sluice_channel.site import open_site
from sluice_channel.vulnerabilities import loading

vulnerabilities = typer.Typer(
    help="Load a database of known vulnerabilities, in the OSV format.", no_args_is_help=True
)

_Root = Annotated[
    Path, typer.Argument(help="The server's folder, which holds its catalogue.", show_default=False)
]


@vulnerabilities.command("load")
def load(
    root: _Root,
    database: Annotated[
        Path,
        typer.Argument(
            help="A zip file of OSV documents, such as OSV.dev's export of PyPI, or a folder of them.",
            show_default=False,
        ),
    ],
    json: Json = False,
) -> None:
    """Let a database replace the one that there is; a running server uses it at once.

    Only advisories about projects of PyPI are kept. Documents that cannot be read are counted and left out.

    Example: sluice channel vulnerabilities load /srv/sluice osv-pypi.zip
    """
    with open_site(root) as site:
        loaded = loading.load(site.advisories, database, now=site.now(), progress=progress(json_output=json))
    edition = loaded.edition
    if json:
        print_json(loading.edition_json(edition) | {"examples": list(loaded.examples)})
        return
    out.print(
        f"{edition.advisories} advisories loaded, {edition.left_out} left out (withdrawn, or not about PyPI), "
        f"{edition.malformed} malformed, {edition.unread} ranges unread"
    )
    for example in loaded.examples:
        err.print(Text(printable(f"  malformed: {example}")))


@vulnerabilities.command("show")
def show(root: _Root, json: Json = False) -> None:
    """Say which database there is.

    Example: sluice channel vulnerabilities show /srv/sluice
    """
    with open_site(root) as site:
        edition = site.advisories.edition()
    if edition is None:
        raise NoAdvisoriesError
    if json:
        print_json(loading.edition_json(edition))
        return
    when = datetime.fromtimestamp(edition.loaded_at / 1000, UTC).strftime("%Y-%m-%d %H:%M")
    out.print(f"{edition.advisories} advisories, loaded {when} UTC, sha256 {edition.digest.short}")
