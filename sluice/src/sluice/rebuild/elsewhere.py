"""Run a second build in a process that differs from this one in all that must not matter."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sluice import pack
from sluice.build import BuildError
from sluice.progress import Step
from sluice.rebuild import clock
from sluice.rebuild.errors import RebuildError
from sluice.sources import command

_MODULE = "sluice.rebuild.process"
_TIME_ZONE = "XST-13:45"  # POSIX: needs no time zone data
# The shell sets it before Python starts, because libraries remember the umask they found.
_UMASK = 'if [ "$(umask)" = 0077 ]; then umask 022; else umask 077; fi; exec "$@"'


@dataclass(frozen=True)  # without slots, which cannot hold the clock that is made once
class Elsewhere:
    """A work folder and the ways in which work below it differs from work done here."""

    root: Path
    seed: int

    @property
    def threads(self) -> int:
        """How many threads compress."""
        return pack.THREADS + 1

    @property
    def locale(self) -> str:
        """A locale that is not this process's and that every system has."""
        own = os.environ.get("LC_ALL") or os.environ.get("LC_CTYPE") or os.environ.get("LANG") or "C"
        return "C.UTF-8" if own in {"C", "POSIX"} else "POSIX"

    def varied(self) -> dict[str, str]:
        """Return what a builder's scripts see otherwise."""
        varied = {"LC_ALL": self.locale, "LANG": self.locale, "TZ": _TIME_ZONE}
        if self._clock:
            varied |= clock.environment(self._clock)
            varied["PATH"] = f"{clock.shell(self._clock)}:{os.environ['PATH']}"
        return varied

    @cached_property
    def _clock(self) -> Path | None:
        return clock.compile_clock(self.root / "clock")

    def conditions(self) -> dict[str, object]:
        """Return how the second build differs, for the report."""
        return {
            "cache": str(self.root),
            "locale": self.locale,
            "time_zone": _TIME_ZONE,
            "clock": f"{clock.DAYS} days ahead" if self._clock else "the same: there is no C compiler (cc)",
            "umask": "077 (022 where it is 077 here)",
            "compression_threads": self.threads,
            "input_order_seed": self.seed,
            "hash_seed": self._hash_seed,
        }

    @property
    def _hash_seed(self) -> str:
        return str(self.seed % (1 << 32))

    def run(self, request: Mapping[str, Any], step: Step) -> list[dict[str, Any]]:
        """Do what a request says (see `sluice.rebuild.process`) and return what it made.

        Raises:
            BuildError: it failed; carries the last lines of its log.
            RebuildError: its process died.

        """
        temporary = self.root / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        path = self.root / "request.json"
        path.write_text(json.dumps({**request, "threads": self.threads, "varied": self.varied()}))
        environment = {
            **os.environ,
            **self.varied(),
            "PYTHONHASHSEED": self._hash_seed,
            "TMPDIR": str(temporary),
            "RATTLER_CACHE_DIR": str(self.root / "rattler"),
            "SLUICE_CACHE": str(self.root / "cache"),
        }
        argv = ["/bin/sh", "-c", _UMASK, "sh", sys.executable, "-m", _MODULE, str(path)]
        last, made = "its process died", None
        with command.group(argv, cwd=temporary, environment=environment) as process:
            assert process.stdout
            for raw in process.stdout:
                line = raw.decode("utf-8", "replace").strip()
                try:
                    event: dict[str, Any] = json.loads(line)
                    kind = event["event"]
                except (ValueError, KeyError, TypeError):
                    last = line or last
                    continue
                match kind:
                    case "describe":
                        step.describe(event["text"])
                    case "advance":
                        step.advance(event["amount"])
                    case "failed":
                        # The log goes with the work folder, so its last lines go with the error.
                        raise BuildError(
                            f"the second build failed: {event['message'].partition('; the whole log: ')[0]}",
                            tail=tuple(event["tail"]),
                        )
                    case "made":
                        made = event["packages"]
        if made is None:
            raise RebuildError(f"the second build failed: {last[:300]}")
        packages: list[dict[str, Any]] = made
        return packages
