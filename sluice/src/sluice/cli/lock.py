"""`sluice lock`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from sluice import atomic
from sluice.cli import options
from sluice.cli.console import err, out, print_json, progress
from sluice.compare import summary
from sluice.compare.locks import compare_locks
from sluice.lock import Lock, LockError, read
from sluice.settings import Settings
from sluice.solve import check_promise, cutoff, lock_spec
from sluice.spec import EnvSpec, read_spec
from sluice.virtual import Virtual


def command(
    environment: Annotated[
        Path, typer.Argument(help="A folder with an environment.yml, or the file itself.", show_default=False)
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where to write; pixi.lock beside the spec by default."),
    ] = None,
    channel: options.Channels = None,
    platform: Annotated[
        list[str] | None,
        typer.Option(help="Lock for this platform instead of those the environment names; repeatable."),
    ] = None,
    virtual: Annotated[
        list[str] | None,
        typer.Option(
            metavar="__NAME=VERSION",
            help="Lock for machines that offer this, such as __cuda=13.0; repeatable.",
        ),
    ] = None,
    upgrade: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Look for a newer build of this package; repeatable."),
    ] = None,
    upgrade_all: Annotated[
        bool, typer.Option("--upgrade-all", help="Forget the lock that is there and solve anew.")
    ] = False,
    exclude_newer: Annotated[
        str | None, typer.Option(metavar="DATE", help="As if nothing had been made after this day or time.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; status 1 when the lock would change.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Solve an environment and write its pixi.lock: every package by URL and sha256.

    Channels have strict priority in the order the environment names them. What an existing lock
    holds stays as far as the environment allows and the channels still have it. A folder is called
    {project}-{model}-{torch}-{device}, such as nlp-minilm-pt213-cpu, and its lock must hold what the
    name promises; a file of another name is locked as it is.

    Example: sluice lock envs/nlp-minilm-pt213-cpu -c main=http://127.0.0.1:8710/main
    """
    name, path, spec = read_spec(environment)
    named = {item.name: item for item in (*spec.virtual, *map(Virtual.parse, virtual or ()))}
    spec = replace(spec, platforms=tuple(platform or spec.platforms), virtual=tuple(named.values()))
    target = output or path.with_name("pixi.lock")
    before = None if upgrade_all and not check else _existing(target, needed=check or bool(upgrade))
    settings = Settings.load(channels=channel)
    text = lock_spec(
        spec,
        settings.channels,
        progress(json_output=json),
        locked=None if upgrade_all else before,
        upgrade=frozenset(upgrade or ()),
        exclude_newer=cutoff(exclude_newer) if exclude_newer else None,
    )
    lock = Lock.parse(text)
    if name:
        check_promise(name, lock)
    if check:
        assert before
        _check(spec, target, before, lock, json=json)
        return
    atomic.write(target, text)
    counts = {platform: len(packages) for platform, packages in lock.packages.items()}
    if json:
        print_json({"name": spec.name, "lock": str(target), "sha256": lock.digest.hex, "packages": counts})
    else:
        text_counts = ", ".join(f"{count} packages on {platform}" for platform, count in counts.items())
        out.print(f"{target}  sha256 {lock.digest.short}  {text_counts}")


def _existing(target: Path, *, needed: bool) -> Lock | None:
    if not target.exists() and not needed:
        return None
    try:
        return read(target)
    except LockError as error:
        raise LockError(
            f"{error}" if not target.exists() else f"{error} (`sluice lock --upgrade-all` makes a new one)"
        ) from error


def _check(spec: EnvSpec, target: Path, before: Lock, after: Lock, *, json: bool) -> None:
    same = before.digest == after.digest
    changes = compare_locks(before, after)
    said = summary(changes) or "the same packages, otherwise written"
    if json:
        document = {"name": spec.name, "lock": str(target), "current": same, "changes": changes.as_json()}
        print_json(document)
    elif same:
        out.print(f"{target}: current, sha256 {before.digest.short}")
    else:
        err.print(f"{target}: not current: {said}; run `sluice lock`", markup=False)
    if not same:
        raise typer.Exit(1)
