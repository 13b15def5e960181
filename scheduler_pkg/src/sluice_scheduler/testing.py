"""Small real models for tests, ours and those of whoever builds on Sluice, and how to wait for what they do."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from sluice.testing import File, TinyPackage
from sluice_scheduler import tensors as oip
from sluice_scheduler.model import FILENAME, FORMAT, MODELS
from sluice_scheduler.signature import ANY, TensorSpec
from sluice_scheduler.tensors import BYTES, Tensor

TEXT: Final = TensorSpec("text", BYTES, (ANY,))
PYTHON: Final = TinyPackage(
    "python",
    "3.11.0",
    "0_test",
    subdir="linux-64",
    noarch=None,
    extra={"python_site_packages_path": "lib/python3.11/site-packages"},
    files={
        # Any interpreter will do: a worker needs nothing but the standard library.
        "bin/python": File(
            f'#!/bin/sh\nexec {sys._base_executable} "$@"\n'.encode(),  # type: ignore[attr-defined]  # noqa: SLF001 - the one below a virtual environment
            executable=True,
        )
    },
)
_PAUSE: Final = 0.01  # seconds
_T = TypeVar("_T")


@dataclass(frozen=True)
class TinyModel:
    """Enough to make a valid model package, see docs/reference/model-packages.md."""

    name: str
    code: str = ""  # of the module that has `load`
    inputs: Sequence[TensorSpec] = (TEXT,)
    outputs: Sequence[TensorSpec] = (TEXT,)
    version: str = "1.0.0"
    max_batch_size: int = 8
    one_of: Sequence[str] = ()
    canary: Sequence[Tensor] = ()  # its inputs; where there are none the package has no canary
    output_sha256: str = ""  # of the canary's answer
    bucket: int | None = None  # rows; None: requests run one at a time
    lengths: Sequence[int] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)  # more, by their paths in the model's folder

    @property
    def folder(self) -> str:
        """Say where it lies below an environment's prefix."""
        return str(MODELS / self.name)

    def members(self) -> dict[str, bytes]:
        """Give the content of every file, by its path in the model's folder."""
        canary = json.dumps({"inputs": oip.to_json(self.canary)}).encode()
        return {
            FILENAME: ("\n".join(self._toml()) + "\n").encode(),
            f"{self.name}_model.py": self.code.encode(),
            **({"canary.json": canary} if self.canary else {}),
            **self.files,
        }

    def write(self, directory: Path) -> Path:
        """Write the files into a folder, which is made where it is absent, and return it."""
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in self.members().items():
            (directory / name).write_bytes(content)
        return directory

    def package(
        self, name: str | None = None, *, build: str = "0", depends: Sequence[str] = ("python",)
    ) -> TinyPackage:
        """Make a conda package of it; without a name the model's."""
        files = {f"{self.folder}/{path}": File(content) for path, content in self.members().items()}
        return TinyPackage(name or self.name, build=build, depends=depends, files=files)

    def _toml(self) -> Iterator[str]:
        # What JSON writes of a name, a number, or a list of them, TOML reads as the same.
        top = {
            "format": FORMAT,
            "name": self.name,
            "version": self.version,
            "loader": f"{self.name}_model:load",
            "max_batch_size": self.max_batch_size,
            "one_of": list(self.one_of),
        }
        yield from (f"{key} = {json.dumps(value)}" for key, value in top.items() if value != [])
        for kind, specs in (("inputs", self.inputs), ("outputs", self.outputs)):
            for spec in specs:
                yield from (f"[[{kind}]]", f'name = "{spec.name}"', f'datatype = "{spec.datatype}"')
                yield from (f"shape = {list(spec.shape)}", f"optional = {json.dumps(spec.optional)}")
        if self.canary:
            yield from ("[canary]", 'file = "canary.json"', f'output_sha256 = "{self.output_sha256}"')
        if self.bucket is not None:
            yield from ("[batching]", f"bucket = {self.bucket}", f"lengths = {list(self.lengths)}")


def tiny_weights(content: bytes) -> bytes:
    """Write a safetensors file of one U8 tensor; the content is the end of it."""
    header = {"tag": {"dtype": "U8", "shape": [len(content)], "data_offsets": [0, len(content)]}}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content


def eventually(
    condition: Callable[[], _T], seconds: float = 20, *, told: Callable[[], object] = lambda: ""
) -> _T:
    """Ask a condition until what it gives is true, and return that.

    Raises:
        AssertionError: it was not within so many seconds; with what `told` says then.

    """
    deadline = time.monotonic() + seconds
    while True:
        late = time.monotonic() > deadline  # read before the condition, which is asked once more after it
        if found := condition():
            return found
        if late:
            raise AssertionError(f"not within {seconds} s, last: {found!r}; {told()}")
        time.sleep(_PAUSE)


def alive(pid: int) -> bool:
    """Say whether a process runs: one that has ended and whose parent has not asked for it does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
