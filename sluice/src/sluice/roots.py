"""Names that keep a realised lock from being collected: `roots/NAME.json` in a prefix store."""

from __future__ import annotations

import datetime as dt
import getpass
import json
import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

from sluice import atomic
from sluice.digest import Digest
from sluice.errors import SluiceError

FORMAT = 1
MAX_BYTES = 1 << 16  # of a root's file
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class RootError(SluiceError):
    """A root is a small JSON file with a name of letters, digits, dots, dashes and underscores."""


@dataclass(frozen=True, order=True, slots=True)
class Root:
    """A name, the lock whose prefix it keeps, and who gave it when (ISO 8601, UTC)."""

    name: str
    lock: Digest
    who: str
    when: str


def check_name(name: str) -> str:
    """Return the name if it can be a root's.

    Raises:
        RootError: it cannot.

    """
    if not _NAME.fullmatch(name):
        raise RootError(
            f"{name[:120]!r} cannot name a root: use letters, digits, '.', '-' and '_', up to 100"
        )
    return name


def add(folder: Path, name: str, lock: Digest) -> Root:
    """Let a name keep a lock's prefix, durably, and no longer the one it kept before.

    Raises:
        RootError: the name cannot be a root's.

    """
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    root = Root(check_name(name), lock, f"{_user()}@{platform.node()}", now)
    document = {"format": FORMAT, "lock": lock.hex, "who": root.who, "when": root.when}
    atomic.write(folder / f"{name}.json", (json.dumps(document, indent=2) + "\n").encode())
    return root


def read(folder: Path) -> tuple[Root, ...]:
    """List the roots, sorted by name.

    Raises:
        RootError: a file is not a root; nothing may be collected before it is mended or removed.

    """
    return tuple(_read(path) for path in sorted(folder.glob("[!.]*")))


def _read(path: Path) -> Root:
    try:
        if path.suffix != ".json" or path.stat().st_size > MAX_BYTES:
            raise ValueError("not NAME.json, or too large")  # noqa: TRY301 - told below with the others
        document = json.loads(path.read_bytes())
        if document["format"] != FORMAT:
            raise ValueError("unknown format")  # noqa: TRY301 - as above
        return Root(
            check_name(path.stem), Digest(document["lock"]), str(document["who"]), str(document["when"])
        )
    except (OSError, ValueError, KeyError, TypeError, SluiceError) as error:
        raise RootError(f"{path}: not a root ({error}); mend or remove it, nothing was collected") from error


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return str(os.getuid())
