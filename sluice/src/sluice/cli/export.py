"""`sluice export`."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sluice import atomic, export
from sluice.cli import oci
from sluice.cli.located import PLATFORM, LockPath, Platform, read_located
from sluice.lock import Lock
from sluice.spec import EnvSpec


class Format(StrEnum):
    """What other tools read."""

    EXPLICIT = "explicit"
    ENVIRONMENT = "environment"
    CONDA_LOCK = "conda-lock"
    REQUIREMENTS = "requirements"


def command(
    lock: LockPath,
    form: Annotated[
        Format | None, typer.Option("--format", "-f", help="What to write.", show_default=False)
    ] = None,
    platform: Platform = PLATFORM,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write; standard output by default.")
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option("--oci", help="Write an OCI image instead: FILE.tar, or a layout's new folder."),
    ] = None,
    base: Annotated[
        Path | None,
        typer.Option(
            help="With --oci: the image below it, an OCI layout's folder or tar, such as of debian:12-slim.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write a lock for other tools.

    explicit is for `conda create --file`, environment names only what was asked for, without builds;
    conda-lock holds every platform, the others one. requirements takes PyPI's names from a table,
    for a lock does not hold them.

    Example: sluice export envs/nlp-minilm-pt213-cpu --format explicit -o explicit.txt
    """
    value, spec = read_located(lock)
    name = spec.name if spec else lock.resolve().parent.name if lock.name == "pixi.lock" else lock.stem
    if image and not (form or output):
        oci.write(lock / "pixi.lock" if lock.is_dir() else lock, image, platform, name, base)
        return
    if image or base or not form:
        raise typer.BadParameter("give --format, or --oci alone")
    text = _text(form, value, platform, name, spec)
    if output:
        atomic.write(output, text.encode())
    else:
        sys.stdout.write(text)


def _text(form: Format, lock: Lock, platform: str, name: str, spec: EnvSpec | None) -> str:
    match form:
        case Format.EXPLICIT:
            return export.explicit(lock, platform)
        case Format.ENVIRONMENT:
            return export.environment(lock, platform, name, spec)
        case Format.CONDA_LOCK:
            return export.conda_lock(lock)
        case Format.REQUIREMENTS:
            return export.requirements(lock, platform)[0]
