"""The garbage-collection roots of a daemon: what it serves, `sluice gc` keeps.

One for each generation that is kept of an environment, named after both and the state folder, so that daemons which
share prefixes keep apart. A root outlives its daemon: stopped for a while is not given up. Those of environments that
are no longer served go at the next start.
"""

from __future__ import annotations

import re
from collections.abc import Container
from pathlib import Path
from typing import Final

from sluice.digest import Digest
from sluice.realise import PrefixStore

_SHORT: Final = 8  # hexadecimal digits
_LONGEST: Final = 56  # characters of an environment's name that a root's name has room for
_NAME: Final = re.compile(r"scheduler\.[0-9a-f]{8}\..+\.json")


def name(state: Path, environment: str, generation: int) -> str:
    """Name the root of a generation that the daemon of a state folder keeps of an environment."""
    if len(environment) > _LONGEST:
        environment = f"{environment[:_LONGEST]}.{Digest.of(environment.encode()).hex[:_SHORT]}"
    return f"scheduler.{_owner(state)}.{environment}.g{generation}"


def drop_others(prefixes: Path, state: Path, kept: Container[str]) -> tuple[str, ...]:
    """Remove this daemon's roots but for those kept; returns the names of what is gone.

    Raises:
        OSError: one of them cannot be removed.

    """
    gone = []
    for path in sorted(PrefixStore(prefixes).roots.glob(f"scheduler.{_owner(state)}.*.json")):
        if _NAME.fullmatch(path.name) and path.stem not in kept:
            path.unlink(missing_ok=True)
            gone.append(path.stem)
    return tuple(gone)


def _owner(state: Path) -> str:
    return Digest.of(str(state.resolve()).encode()).hex[:_SHORT]
