"""Fetch a wheel with pip, so that the user's own index, mirrors and credentials are used."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from sluice.digest import Digest
from sluice.sources import command
from sluice.sources.source import Pip, Source, SourceError, WrongDigestError

TIMEOUT = 1800  # seconds
_GOT = re.compile(r"^\s*Got\s+([0-9a-f]{64})\s*$", re.MULTILINE)


def download(way: Pip, source: Source, directory: Path, stop: Event) -> Path:
    """Let pip put the one wheel into a directory.

    Raises:
        SourceError: pip failed; its last error line is in the message.
        WrongDigestError: the index has this version, but with another hash.

    """
    # A version can have several wheels: the hash makes pip choose the pinned one.
    requirements = directory / "requirements.txt"
    requirements.write_text(f"{way.requirement} --hash=sha256:{source.sha256}\n", encoding="utf-8")
    wheels = directory / "wheels"
    argv = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps"),
        *("--only-binary=:all:", "--require-hashes", "--disable-pip-version-check"),
        *("--dest", str(wheels), "--requirement", str(requirements), *_platform(source.filename)),
    ]
    try:
        finished = command.run(argv, timeout=TIMEOUT, stop=stop)
    except (OSError, TimeoutError) as error:
        raise SourceError(f"{way}: {error}") from error
    if finished.status:
        if got := _GOT.search(finished.output):
            raise WrongDigestError.of(source, way, Digest(got[1]))
        raise SourceError(f"{way}: {_reason(finished.output)}")
    found = list(wheels.iterdir())
    if len(found) != 1:
        raise SourceError(f"{way}: pip gave {len(found)} files instead of one")
    return found[0]


def _platform(filename: str) -> Iterator[str]:
    # pip looks for what the file name says, not for what it likes best for the running interpreter: a
    # plain folder of wheels tells it no hashes to choose by.
    try:
        tags = parse_wheel_filename(filename)[3]
    except InvalidWheelFilename:
        return
    for tag in sorted(tags, key=str):
        yield from ("--implementation", tag.interpreter[:2], "--abi", tag.abi, "--platform", tag.platform)
        if (number := tag.interpreter[2:])[1:]:
            yield from ("--python-version", f"{number[0]}.{number[1:]}")


def _reason(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["pip failed without a word"])[-1].removeprefix("ERROR: ")[:300]
