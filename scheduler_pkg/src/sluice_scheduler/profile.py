"""The numeric profile: what is pinned so that the same request gives the same bytes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Final

from sluice.digest import Digest
from sluice_scheduler.errors import SchedulerError

# Each library has its own name for one instruction set.
_ISA: Final = {
    "default": {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_CBWR": "COMPATIBLE",
        "OPENBLAS_CORETYPE": "Nehalem",
    },
    "avx2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_CBWR": "AVX2,STRICT",
        "OPENBLAS_CORETYPE": "Haswell",
    },
    "avx512": {
        "ATEN_CPU_CAPABILITY": "avx512",
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE",
        "MKL_CBWR": "AVX512,STRICT",
        "OPENBLAS_CORETYPE": "SkylakeX",
    },
}
MAX_THREADS: Final = 256


class ProfileError(SchedulerError):
    """A numeric profile has 1 to 256 threads and a known instruction set."""


@dataclass(frozen=True, slots=True)
class NumericProfile:
    """How a worker computes. Variables ask for it; a model's canary digest proves it."""

    threads: int = 1  # of one instance's operators
    isa: str = "avx2"
    deterministic: bool = True

    def __post_init__(self) -> None:
        if type(self.threads) is not int or not 1 <= self.threads <= MAX_THREADS:
            raise ProfileError(f"threads is a whole number from 1 to {MAX_THREADS}, not {self.threads!r:.40}")
        if self.isa not in _ISA:
            raise ProfileError(f"isa is one of {', '.join(_ISA)}, not {self.isa!r:.40}")
        if type(self.deterministic) is not bool:
            raise ProfileError(f"deterministic is true or false, not {self.deterministic!r:.40}")

    def environment(self) -> dict[str, str]:
        """Return the variables a worker starts with: all of them, it gets none of its parent's."""
        threads = str(self.threads)
        variables = {
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
            "OMP_DYNAMIC": "FALSE",
            "MKL_DYNAMIC": "FALSE",
            "TOKENIZERS_PARALLELISM": "false",  # its thread pool would not survive the fork
            "PYTHONHASHSEED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
            "TZ": "UTC",
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
            **_ISA[self.isa],
        }
        if self.deterministic:
            variables["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
            variables["TORCHINDUCTOR_DETERMINISTIC"] = "1"  # for models that compile
        return dict(sorted(variables.items()))

    def document(self) -> dict[str, int | str | bool]:
        """Return what the worker is told and a receipt records."""
        return asdict(self)

    def digest(self) -> Digest:
        """Hash the profile and the variables it stands for."""
        return _digest(self)


@lru_cache
def _digest(profile: NumericProfile) -> Digest:
    content = {**profile.document(), "environment": profile.environment()}
    return Digest.of(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())
