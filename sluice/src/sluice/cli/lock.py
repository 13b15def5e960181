"""`sluice lock`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sluice import atomic
from sluice.cli import options
from sluice.cli.console import out, print_json, progress
from sluice.lock import Lock
from sluice.settings import Settings
from sluice.solve import check_promise, lock_spec
from sluice.spec import EnvironmentName, EnvSpec, SpecError


def command(
    environment: Annotated[
        Path, typer.Argument(help="A folder with an environment.yml, or the file itself.", show_default=False)
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where to write; pixi.lock beside the spec by default."),
    ] = None,
    channel: options.Channels = None,
    json: options.Json = False,
) -> None:
    """Solve an environment and write its pixi.lock: every package by URL and sha256.

    Channels have strict priority in the order the environment names them. A folder is called
    {project}-{model}-{torch}-{device}, such as nlp-minilm-pt213-cpu, and its lock must hold what the
    name promises; a file of another name is locked as it is.

    Example: sluice lock envs/nlp-minilm-pt213-cpu -c main=http://127.0.0.1:8710/main
    """
    folder = environment.is_dir()
    path = environment / "environment.yml" if folder else environment
    try:
        spec = EnvSpec.parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    name = EnvironmentName.parse(environment.resolve().name) if folder else None
    if name and spec.name != str(name):
        raise SpecError(f"{path}: its name is {spec.name!r}, its folder's {str(name)!r}; make them equal")
    settings = Settings.load(channels=channel)
    text = lock_spec(spec, settings.channels, progress(json_output=json))
    lock = Lock.parse(text)
    if name:
        check_promise(name, lock)
    target = output or path.with_name("pixi.lock")
    atomic.write(target, text)
    counts = {platform: len(packages) for platform, packages in lock.packages.items()}
    if json:
        print_json({"name": spec.name, "lock": str(target), "sha256": lock.digest.hex, "packages": counts})
    else:
        text_counts = ", ".join(f"{count} packages on {platform}" for platform, count in counts.items())
        out.print(f"{target}  sha256 {lock.digest.short}  {text_counts}")
