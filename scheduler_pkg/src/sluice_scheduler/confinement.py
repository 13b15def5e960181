"""What a deployment's processes may use, and what the kernel made of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from sluice_scheduler.errors import SettingsError, WorkerError

LEAST_MEMORY: Final = 64 << 20  # bytes; no interpreter with a model does with less
MOST_MEMORY: Final = 1 << 50
_MAX_TEXT: Final = 200  # characters of what a worker says
_MAX_REFUSED: Final = 16


@dataclass(frozen=True, slots=True)
class Confinement:
    """What is asked for: files are always those of the environment, and one temporary folder to write to."""

    network: bool = False
    memory_bytes: int | None = None  # private memory of one process, weights included; None: no limit

    def __post_init__(self) -> None:
        memory = self.memory_bytes
        if memory is not None and (type(memory) is not int or not LEAST_MEMORY <= memory <= MOST_MEMORY):
            raise SettingsError(
                f"memory_bytes is a whole number from {LEAST_MEMORY} to {MOST_MEMORY}, not {memory!r:.40}"
            )

    def document(self, readable: Iterable[Path], writable: Path) -> dict[str, Any]:
        """Return what a worker is told, as `worker.confine.apply` takes it."""
        return {
            "read": [str(path) for path in readable],
            "write": [str(writable)],
            "network": self.network,
            "memory": self.memory_bytes,
        }


@dataclass(frozen=True, slots=True)
class Confined:
    """What holds of a worker's processes, as the worker said before it ran any code of a model."""

    files: str  # "landlock" or "unconfined"
    network: str  # "none", "namespace", "open" because the deployment asks for it, or "unconfined"
    signals: str  # "landlock" or "unconfined"
    shared_memory: str  # "own" or "shared"
    capabilities: str  # "none" or "unconfined"
    memory_bytes: int | None
    refused: tuple[str, ...]  # what the kernel did not do, a line each

    @classmethod
    def parse(cls, document: object) -> Self:
        """Read what a worker says of its confinement.

        Raises:
            WorkerError: it says nothing of the kind.

        """
        if not isinstance(document, dict) or not isinstance(document.get("refused"), list):
            raise WorkerError("the worker did not say how it is confined")
        memory = document.get("memory")
        texts = {
            key: str(document.get(key))[:_MAX_TEXT]
            for key in ("files", "network", "signals", "shared_memory", "capabilities")
        }
        return cls(
            **texts,
            memory_bytes=memory if type(memory) is int else None,
            refused=tuple(str(one)[:_MAX_TEXT] for one in document["refused"][:_MAX_REFUSED]),
        )

    def view(self) -> dict[str, Any]:
        """Show it in `GET /v1/environments`."""
        return {
            "files": self.files,
            "network": self.network,
            "signals": self.signals,
            "shared_memory": self.shared_memory,
            "capabilities": self.capabilities,
            "memory_bytes": self.memory_bytes,
            "refused": list(self.refused),
        }
