"""A model that does nothing, as a package, and the environment it is served from."""

from __future__ import annotations

import array
from pathlib import Path
from typing import Final

from sluice_scheduler.signature import TensorSpec
from sluice_scheduler.tensors import Tensor
from sluice_scheduler.testing import TinyModel

NAME: Final = "bench-noop-pt213-cpu"
WIDTH: Final = 4  # numbers of a row
_CODE: Final = """
class Noop:
    def predict(self, inputs):
        return {"y": inputs["x"]}
def load(directory):
    return Noop()
"""
_SPEC: Final = f"name: {NAME}\nchannels:\n  - main\ndependencies:\n  - python 3.11.*\n  - pytorch 2.13.* cpu_*\n  - noop\n"
PACKAGE: Final = TinyModel(
    "noop",
    _CODE,
    inputs=(TensorSpec("x", "FP32", (-1, -1)),),
    outputs=(TensorSpec("y", "FP32", (-1, -1)),),
    max_batch_size=64,
    canary=(Tensor("x", "FP32", (1, WIDTH), array.array("f", [0.5] * WIDTH).tobytes()),),
).package()


def spec(folder: Path) -> Path:
    """Write its environment.yml."""
    path = folder / NAME / "environment.yml"
    path.parent.mkdir(parents=True)
    path.write_text(_SPEC)
    return path
