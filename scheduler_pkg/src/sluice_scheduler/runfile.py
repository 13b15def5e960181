"""What a running daemon leaves in its state folder: its address and process id."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

from sluice import atomic
from sluice_scheduler.errors import ClientError

NAME: Final = "run.json"


@dataclass(frozen=True, slots=True)
class RunFile:
    """Where a daemon answers."""

    url: str
    pid: int

    def write(self, state: Path) -> None:
        """Write it, whole or not at all."""
        atomic.write(state / NAME, json.dumps(asdict(self)).encode() + b"\n")

    @classmethod
    def read(cls, state: Path) -> Self:
        """Read what the daemon of a state folder left.

        Raises:
            ClientError: no daemon runs there.

        """
        try:
            document = json.loads((state / NAME).read_bytes())
            return cls(str(document["url"]), int(document["pid"]))
        except (OSError, ValueError, KeyError, TypeError):
            raise ClientError(
                f"no scheduler runs in {state}; start it with `sluice scheduler serve`"
            ) from None


def remove(state: Path) -> None:
    """Remove it, if it is there."""
    (state / NAME).unlink(missing_ok=True)
