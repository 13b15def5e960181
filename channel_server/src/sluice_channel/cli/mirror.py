"""`sluice channel mirror` and `mirrors`: channels that follow another one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from sluice.cli.console import out, print_json, progress
from sluice.cli.options import Json
from sluice_channel import subdir as subdirs
from sluice_channel.errors import ChannelError
from sluice_channel.mirror.rules import Rules
from sluice_channel.site import open_site

_Root = Annotated[
    Path, typer.Argument(help="The server's folder, which holds its catalogue.", show_default=False)
]
_Channel = Annotated[
    str, typer.Argument(help="The mirror's name: the first part of its URLs.", show_default=False)
]


def mirror(
    root: _Root,
    channel: _Channel,
    upstream: Annotated[
        str | None,
        typer.Argument(
            help="Address of the channel to follow; without it the mirror is looked at.", show_default=False
        ),
    ] = None,
    allow: Annotated[
        list[str] | None, typer.Option(help="Take only names like this, such as 'numpy' or 'py*'; repeat it.")
    ] = None,
    deny: Annotated[list[str] | None, typer.Option(help="Never take names like this; repeat it.")] = None,
    subdir: Annotated[list[str] | None, typer.Option(help="Platforms to follow; repeat it.")] = None,
    fresh: Annotated[int, typer.Option(help="Seconds for which upstream is not asked again.", min=0)] = 60,
    stale: Annotated[
        int,
        typer.Option(
            help="Seconds for which an index is served, marked as old, while upstream is down.", min=0
        ),
    ] = 7 * 86400,
    stop: Annotated[bool, typer.Option("--stop", help="Follow no more; what was taken stays.")] = False,
    json: Json = False,
) -> None:
    """Let a channel follow another one, or look at what it follows.

    Packages are listed as soon as upstream was read, and their files are fetched, checked against the index
    and kept when somebody asks for them. What upstream takes away is yanked here; what it replaces by other
    bytes is refused.

    Example: sluice channel mirror /srv/sluice forge https://conda.anaconda.org/conda-forge --allow 'numpy*'
    """
    if upstream is None and (allow or deny or subdir):
        raise ChannelError("--allow, --deny and --subdir need the upstream's address; name it with them")
    if upstream is not None and stop:
        raise ChannelError("a mirror either follows or stops; leave out the address or --stop")
    with open_site(root) as site:
        if stop:
            site.follower.store.unfollow(channel)
        elif upstream is not None:
            rules = Rules(
                upstream,
                tuple(subdir or subdirs.DEFAULT),
                tuple(allow or ()),
                tuple(deny or ()),
                fresh,
                stale,
            )
            site.catalogue.create(channel, now=site.now())
            site.follower.store.follow(channel, rules)
            with progress(json_output=json).step(f"read {upstream}"):
                site.follower.freshen(channel, force=True)
        found = site.follower.store.find(channel)
        if found is None and not stop:
            raise ChannelError(f"the channel {channel} follows no other; name one to let it")
        state = site.catalogue.channel(channel)
        count = site.catalogue.totals(channel).names
    document = {
        "channel": channel,
        "upstream": found.rules.url if found else None,
        "generation": state.generation,
        "names": count,
        "checked_at": found.checked_at if found else None,
        "problem": found.problem if found else "",
    }
    if json:
        print_json(document)
    elif found is None:
        out.print(f"{channel} follows no other channel; its {count} names stay")
    else:
        asked = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found.checked_at / 1000))
        out.print(
            f"{channel} follows {found.rules.url}  generation {state.generation}, {count} names, asked {asked}"
        )
        if found.problem:
            out.print(f"  not reached: {found.problem}")
