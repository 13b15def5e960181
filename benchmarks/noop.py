"""A model that does nothing, as a package, and the environment it is served from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from sluice.testing import File, TinyPackage

NAME: Final = "bench-noop-pt213-cpu"
WIDTH: Final = 4  # numbers of a row
_FOLDER: Final = "share/sluice/models/noop"
_TOML: Final = b"""
format = 1
name = "noop"
version = "1.0.0"
loader = "noop_model:load"
max_batch_size = 64
[[inputs]]
name = "x"
datatype = "FP32"
shape = [-1, -1]
[[outputs]]
name = "y"
datatype = "FP32"
shape = [-1, -1]
[canary]
file = "canary.json"
"""
_CODE: Final = b"""
class Noop:
    def predict(self, inputs):
        return {"y": inputs["x"]}
def load(directory):
    return Noop()
"""
_SPEC: Final = f"name: {NAME}\nchannels:\n  - main\ndependencies:\n  - python 3.11.*\n  - pytorch 2.13.* cpu_*\n  - noop\n"
PACKAGE: Final = TinyPackage(
    "noop",
    depends=["python"],
    files={
        f"{_FOLDER}/model.toml": File(_TOML),
        f"{_FOLDER}/noop_model.py": File(_CODE),
        f"{_FOLDER}/canary.json": File(
            json.dumps(
                {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, WIDTH], "data": [0.5] * WIDTH}]}
            ).encode()
        ),
    },
)


def spec(folder: Path) -> Path:
    """Write its environment.yml."""
    path = folder / NAME / "environment.yml"
    path.parent.mkdir(parents=True)
    path.write_text(_SPEC)
    return path
