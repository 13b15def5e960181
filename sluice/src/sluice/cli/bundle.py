"""`sluice bundle` and `sluice unbundle`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sluice.bundle import pack, unpack
from sluice.cli import options
from sluice.cli.console import out, print_json, progress
from sluice.cli.located import LockPath
from sluice.settings import DEFAULT_CHANNELS, Settings
from sluice.sources import Store


def command(
    lock: LockPath,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.", show_default=False)],
    public_keys: Annotated[
        list[Path] | None,
        typer.Option(help="Public keys that receipts are checked with, PEM or /v1/keys; repeatable."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The environment's name.", show_default="its folder's name")
    ] = None,
    mirror: options.Mirrors = None,
    cache: options.Cache = None,
    json: options.Json = False,
) -> None:
    """Write a lock, its packages and public keys into one file, for a machine without a network.

    Packages are fetched once and kept in the cache; equal input gives equal bytes.

    Example: sluice bundle envs/nlp-minilm-pt213-cpu -o nlp.bundle
    """
    path = lock / "pixi.lock" if lock.is_dir() else lock
    own = path.resolve().parent.name if path.name == "pixi.lock" else path.stem
    settings = Settings.load(cache=cache, mirrors=mirror)
    contents = pack(
        path,
        output,
        name or own,
        Store(settings.cache / "sources"),
        keys=public_keys or (),
        mirrors=settings.mirrors,
        progress=progress(json_output=json),
    )
    size = sum(member.size for member in contents.members)
    if json:
        print_json({"file": str(output), "lock": contents.lock.hex, "files": len(contents.members)})
    else:
        out.print(f"{output}: {len(contents.members)} files, {size / 1e6:.1f} MB, lock {contents.lock.short}")


def unbundle(
    file: Annotated[Path, typer.Argument(help="What `sluice bundle` wrote.", show_default=False)],
    to: Annotated[Path, typer.Option(help="The channel's new folder.", show_default=False)],
    url: Annotated[str, typer.Option(help="Where it will be served.")] = DEFAULT_CHANNELS["main"],
    json: options.Json = False,
) -> None:
    """Check every byte of a bundle and make a directory of it that can be served, or nothing at all.

    The lock stays as it was under its digest; pixi.lock beside it has the same packages at --url.

    Example: sluice unbundle nlp.bundle --to channel
    """
    found = unpack(file, to, url, progress(json_output=json))
    lock = to / found.lock
    if json:
        print_json(
            {
                "channel": str(to),
                "lock": str(lock),
                "original": str(to / found.contents.lock_path),
                "same": found.same,
            }
        )
    else:
        out.print(f"{to}: {len(found.contents.members)} files, every byte as listed")
        out.print(f"next: sluice channel serve {to}, then: sluice realise {lock}")
