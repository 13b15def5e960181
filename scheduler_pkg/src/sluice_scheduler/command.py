"""Commands as tasks: a model of every environment that runs in it what it is given. Pure.

So a command is admitted, ordered, cancelled, answered and signed as any task is. `worker.scripts` runs it.
"""

from __future__ import annotations

from pathlib import Path

from sluice_scheduler import tensors
from sluice_scheduler.job import SCRIPT
from sluice_scheduler.model import Model
from sluice_scheduler.signature import ANY, TensorSpec


def model(prefix: Path) -> Model:
    """Return the model that runs commands in an environment."""
    return Model(
        directory=prefix,
        name=SCRIPT,
        version="1",
        loader="",
        max_batch_size=1,
        inputs=(
            _texts("argv", 1, ANY),
            _texts("env", 1, ANY, optional=True),
            _texts("stdin", 1, optional=True),
        ),
        outputs=(
            TensorSpec("exit_code", "INT64", (1,)),
            _texts("stdout", 1),
            _texts("stderr", 1),
            TensorSpec("truncated", "BOOL", (2,)),
        ),
        one_of=(),
        canary=None,
    )


def _texts(name: str, *shape: int, optional: bool = False) -> TensorSpec:
    return TensorSpec(name, tensors.BYTES, shape, optional)
