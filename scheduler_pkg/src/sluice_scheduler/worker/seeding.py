"""Starts every request from one state of the generators: an answer does not depend on those before it."""

# ruff: noqa: ANN401 - torch is whatever the environment has

from __future__ import annotations

import functools
import random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # evaluated by no Python, so by 3.8 neither
    from collections.abc import Callable

SEED = 0
_STATE = random.Random(SEED).getstate()  # noqa: S311 - to be foreseen is its purpose


def seed(torch: Any) -> None:
    """Seed Python's generator and all of torch's; `torch` is None where there is none."""
    random.setstate(_STATE)
    for reset in _resets(torch):
        reset(SEED)


@functools.lru_cache(maxsize=1)
def _resets(torch: Any) -> tuple[Callable[[int], object], ...]:
    """Return what together does as `torch.manual_seed`.

    That asks each kind of device, and has those which are not there yet write down a traceback: 100 us for a CPU.
    """
    if torch is None:
        return ()
    if _other_devices(torch):
        return (torch.manual_seed,)
    if getattr(torch.version, "cuda", None) or getattr(torch.version, "hip", None):
        return (torch.default_generator.manual_seed, torch.cuda.manual_seed_all)
    return (torch.default_generator.manual_seed,)


def _other_devices(torch: Any) -> bool:
    """Say whether this torch may have generators beside a CPU's and CUDA's."""
    core = torch._C  # noqa: SLF001 - nowhere else does it say
    custom = getattr(core, "_get_privateuse1_backend_name", str)()
    mtia = getattr(core, "_mtia_isBuilt", bool)()
    return bool(getattr(torch.version, "xpu", None) or mtia or (custom and hasattr(torch, custom)))
