"""`sluice channel yank`, `unyank` and `remove`: hide a package, show it again, or take it out."""

from __future__ import annotations

from typing import Annotated

import typer

from sluice.cli.console import out, print_json
from sluice.cli.options import Json
from sluice_channel.cli.place import Channel, Label, Where, key, opened
from sluice_channel.cli.remote import Token
from sluice_channel.client import Answer

_Package = Annotated[
    str,
    typer.Argument(help="The package, as SUBDIR/FILENAME.", metavar="SUBDIR/FILENAME", show_default=False),
]


def yank(
    where: Where,
    package: _Package,
    reason: Annotated[
        str, typer.Option(help="Why; everybody who looks at the channel can read it.", show_default=False)
    ],
    channel: Channel = "main",
    label: Label = None,
    token: Token = None,
    json: Json = False,
) -> None:
    """Hide a package: no new solve finds it, and every lock that names it still installs.

    Example: sluice channel yank http://127.0.0.1:8710/main noarch/six-1.17-0.conda --reason "wrong license"
    """
    with opened(where, channel, label, token) as place:
        _tell(package, place.yank(*key(package), reason), "yanked", json=json)


def unyank(
    where: Where,
    package: _Package,
    channel: Channel = "main",
    label: Label = None,
    token: Token = None,
    json: Json = False,
) -> None:
    """Show a yanked package again.

    Example: sluice channel unyank http://127.0.0.1:8710/main noarch/six-1.17-0.conda
    """
    with opened(where, channel, label, token) as place:
        _tell(package, place.unyank(*key(package)), "shown again", json=json)


def remove(
    where: Where,
    package: _Package,
    channel: Channel = "main",
    label: Label = None,
    token: Token = None,
    json: Json = False,
) -> None:
    """Take a yanked package out of the channel, unless the lock of a registered environment names it.

    Older generations have it, and its file stays, until `sluice channel collect --before` forgets them.

    Example: sluice channel remove http://127.0.0.1:8710/main noarch/six-1.17-0.conda
    """
    with opened(where, channel, label, token) as place:
        _tell(package, place.remove(*key(package)), "removed", json=json)


def _tell(package: str, answer: Answer, done: str, *, json: bool) -> None:
    if json:
        print_json({"package": package, "generation": answer.generation, "changed": answer.changed})
    else:
        news = done if answer.changed else "was so already"
        out.print(f"{package}  {news}  generation {answer.generation}", markup=False)
