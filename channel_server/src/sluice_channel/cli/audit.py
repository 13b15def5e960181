"""`sluice channel audit` and `visibility`: who did what, and who may know of a channel."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from sluice.cli.console import err, out, print_json
from sluice.cli.options import Json
from sluice.digest import Digest
from sluice_channel import audit as audit_log
from sluice_channel.cli.tokens import Root, shown_time
from sluice_channel.errors import ChannelError
from sluice_channel.ledger import Sealed, walk
from sluice_channel.site import open_site


class Visibility(StrEnum):
    """Who may know of a channel."""

    PUBLIC = "public"
    PRIVATE = "private"


def audit(
    root: Root,
    last: Annotated[int, typer.Option(help="Lines to show, the newest; 0: all.", min=0)] = 50,
    known: Annotated[
        str | None,
        typer.Option(help="A digest that was shown before: it must still be in the log.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Show who did what, and verify that no line was changed, taken out or put in; status 1 if one was.

    Each line's digest is over the line and the digest before it. Lines cut off at the end leave a log that
    fits: note the last digest elsewhere now and then, and give it as --known.

    Example: sluice channel audit /srv/sluice --last 20
    """
    head = Digest(known) if known else None
    with open_site(root) as site:
        verdict = audit_log.verify(site.ledger, head)
        shown = site.ledger.last(last) if last else walk(site.ledger)
        if json:
            print_json(
                {
                    "lines": verdict.lines,
                    "head": verdict.head.hex if verdict.head else None,
                    "problem": verdict.problem or None,
                    "log": [_line(sealed) for sealed in shown],
                }
            )
        else:
            for sealed in shown:
                out.print(_text(sealed), markup=False)
    if verdict.problem:
        raise ChannelError(f"the audit log was changed: {verdict.problem}")
    if not json:
        err.print(f"{verdict.lines} lines, each after the other; the last is {verdict.head or 'none'}")


def visibility(
    root: Root,
    channel: Annotated[str, typer.Argument(help="The channel, or CHANNEL/label/LABEL.", show_default=False)],
    who: Annotated[Visibility, typer.Argument(help="Who may know of it.", show_default=False)],
    json: Json = False,
) -> None:
    """Let a channel be read by everyone, or be there only for who has a token to read it.

    The labels of a private channel are private. Example: sluice channel visibility /srv/sluice main private
    """
    with open_site(root) as site:
        site.catalogue.set_private(channel, private=who is Visibility.PRIVATE)
    if json:
        print_json({"channel": channel, "private": who is Visibility.PRIVATE})
    else:
        out.print(f"{channel}  {who}", markup=False)


def _line(sealed: Sealed) -> dict[str, Any]:
    line = sealed.line
    return {
        "number": sealed.number,
        "at": line.at,
        "who": line.who,
        "name": line.name,
        "address": line.address,
        "action": line.action,
        "channel": line.channel,
        "package": line.package,
        "generation": line.generation,
        "detail": line.detail,
        "digest": sealed.digest.hex,
    }


def _text(sealed: Sealed) -> str:
    line = sealed.line
    where = f"{line.channel}@{line.generation}" if line.generation is not None else line.channel
    who = " ".join(filter(None, (line.who, line.name and f"({line.name})", line.address)))
    words = (str(sealed.number), shown_time(line.at), who, line.action, where, line.package, line.detail)
    return "  ".join(filter(None, words))
