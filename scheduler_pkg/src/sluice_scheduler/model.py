"""A model package: what `share/sluice/models/<name>/model.toml` says, and inputs checked against it.

See docs/reference/model-packages.md for the format.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Self

from sluice.digest import Digest
from sluice_scheduler import tensors as oip
from sluice_scheduler.batching import MAX_BUCKET, Batching, BatchingError, Bucket
from sluice_scheduler.errors import SchedulerError
from sluice_scheduler.signature import ANY, SignatureError, TensorSpec, batch_of
from sluice_scheduler.tables import Table, TableError
from sluice_scheduler.tensors import InputError, Tensor

MODELS: Final = PurePosixPath("share/sluice/models")  # below an environment's prefix
FILENAME: Final = "model.toml"
FORMAT: Final = 1
MAX_FILE_BYTES: Final = 64 << 10  # of model.toml
MAX_CANARY_BYTES: Final = 4 << 20
MAX_BATCH: Final = 4096
NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?")
_VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+!]{0,63}")
_LOADER: Final = re.compile(r"([A-Za-z_]\w*):([A-Za-z_]\w*)", re.ASCII)


class ModelError(SchedulerError):
    """A model package cannot be read."""


@dataclass(frozen=True, slots=True)
class Canary:
    """A fixed input and the digest of the output it must give."""

    file: Path
    output: Digest | None  # None until `sluice scheduler canary --write` has run


@dataclass(frozen=True, slots=True)
class Model:
    """A model's name, signature, batching limit, loader and canary."""

    directory: Path
    name: str
    version: str
    loader: str  # module:callable, the module lies in `directory`
    max_batch_size: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    one_of: tuple[str, ...]  # of these inputs exactly one is given
    canary: Canary | None
    batching: Batching | None = None  # None: requests run one at a time, each in its own shape

    @classmethod
    def parse(cls, directory: Path) -> Self:
        """Read the model package in a directory. Unknown keys are errors.

        Raises:
            ModelError: it is absent, malformed, or names files that it does not have.

        """
        path = directory / FILENAME
        try:
            top = Table(tomllib.loads(_read(path, MAX_FILE_BYTES)))
            number = top.integer("format", 1, FORMAT)
            assert number == FORMAT
            model = cls(
                directory=directory,
                name=top.text("name", NAME),
                version=top.text("version", _VERSION),
                loader=_loader(directory, top.text("loader", _LOADER)),
                max_batch_size=top.integer("max_batch_size", 1, MAX_BATCH),
                inputs=tuple(map(TensorSpec.parse, top.tables("inputs"))),
                outputs=tuple(map(TensorSpec.parse, top.tables("outputs"))),
                one_of=top.texts("one_of"),
                canary=_canary(directory, top.table("canary")),
                batching=_batching(top.table("batching")),
            )
            top.finish()
            model._check_signature()
        except (TableError, SignatureError, BatchingError, tomllib.TOMLDecodeError) as error:
            raise ModelError(f"{path}: {error}".splitlines()[0]) from None
        return model

    def check(self, tensors: Iterable[Tensor]) -> tuple[Tensor, ...]:
        """Return the inputs in the signature's order if they fit it.

        Raises:
            InputError: naming the tensor and what was expected.

        """
        given = {tensor.name: tensor for tensor in tensors}
        known = {spec.name: spec for spec in self.inputs}
        for name in given.keys() - known.keys():
            raise InputError(f"model {self.name!r} has no input {name!r}; expected {self._expected()}")
        for spec in self.inputs:
            if not spec.optional and spec.name not in given:
                raise InputError(
                    f"input {spec.name!r} is missing; model {self.name!r} expects {self._expected()}"
                )
        chosen = sorted(given.keys() & set(self.one_of))
        if self.one_of and len(chosen) != 1:
            raise InputError(
                f"model {self.name!r} takes exactly one of {', '.join(self.one_of)}; "
                f"found {' and '.join(chosen) or 'none'}"
            )
        if not given:
            raise InputError(f"model {self.name!r} was given no input; expected {self._expected()}")
        ordered = tuple(given[spec.name] for spec in self.inputs if spec.name in given)
        self._fit(ordered, self.inputs, InputError)
        return ordered

    def check_outputs(self, tensors: Iterable[Tensor]) -> tuple[Tensor, ...]:
        """Return a model's answer in the signature's order if it fits it.

        Raises:
            ModelError: the model does not do what its signature says.

        """
        given = {tensor.name: tensor for tensor in tensors}
        names = {spec.name for spec in self.outputs}
        required = {spec.name for spec in self.outputs if not spec.optional}
        if not required <= given.keys() <= names:
            raise ModelError(
                f"model {self.name!r} answered with {', '.join(sorted(given)) or 'nothing'}; "
                f"its signature promises {', '.join(map(str, self.outputs))}"
            )
        ordered = tuple(given[spec.name] for spec in self.outputs if spec.name in given)
        self._fit(ordered, self.outputs, ModelError)
        return ordered

    def bucket(self, most: int | None = None) -> Bucket:
        """Return the shape it is run in where the deployment allows so many rows; None: as many as it likes."""
        if self.batching is None:
            return Bucket()
        return Bucket(min(self.batching.bucket, most or MAX_BUCKET))

    def runs_in(self, bucket: Bucket) -> bool:
        """Say whether some deployment of it has the bucket."""
        return self.bucket(bucket.rows) == bucket

    def rows(self, tensors: Iterable[Tensor]) -> int:
        """Count the rows of inputs that `check` let through; 1 where the signature has no batch dimension."""
        specs = {spec.name: spec for spec in self.inputs}
        return batch_of([(specs[tensor.name], tensor) for tensor in tensors]) or 1

    def batch_key(self, tensors: Sequence[Tensor]) -> str:
        """Name what inputs that `check` let through can run together with; empty for nothing."""
        return self.batching.key(self.name, tensors) if self.batching else ""

    def canary_inputs(self) -> tuple[Tensor, ...]:
        """Read and check the canary's inputs.

        Raises:
            ModelError: the model has no canary, or it cannot be read or used.

        """
        if self.canary is None:
            raise ModelError(f"{self.directory / FILENAME}: it has no [canary]; add one with `file`")
        try:
            document = json.loads(_read(self.canary.file, MAX_CANARY_BYTES))
            listed = document.get("inputs") if isinstance(document, dict) else document
            return self.check(oip.parse(listed))
        except (InputError, ValueError, RecursionError) as error:
            raise ModelError(f"{self.canary.file}: {error}".splitlines()[0]) from None

    def _expected(self) -> str:
        return ", ".join(map(str, self.inputs))

    def _fit(
        self, given: Sequence[Tensor], specs: Iterable[TensorSpec], error: type[InputError | ModelError]
    ) -> None:
        known = {spec.name: spec for spec in specs}
        try:
            for tensor in given:
                known[tensor.name].check(tensor)
            batch = batch_of([(known[tensor.name], tensor) for tensor in given])
        except SignatureError as reason:
            raise error(f"model {self.name!r}: {reason}") from None
        if batch is not None and not 1 <= batch <= self.max_batch_size:
            raise error(f"model {self.name!r}: takes a batch of 1 to {self.max_batch_size}, not {batch}")

    def _check_signature(self) -> None:
        for label, specs in (("inputs", self.inputs), ("outputs", self.outputs)):
            names = [spec.name for spec in specs]
            if len(set(names)) != len(names):
                raise SignatureError(f"two of its {label} have one name")
        for spec in (*self.inputs, *self.outputs) if self.batching else ():
            if spec.shape[:1] != (ANY,):
                raise SignatureError(f"[batching] needs -1 as the first dimension of {spec.name!r}")
        optional = {spec.name for spec in self.inputs if spec.optional}
        if len(set(self.one_of)) != len(self.one_of) or len(self.one_of) == 1:
            raise SignatureError("one_of names two or more different inputs")
        for name in self.one_of:
            if name not in optional:
                raise SignatureError(f"one_of names {name!r}, which is not an optional input")


def discover(prefix: Path) -> tuple[Model, ...]:
    """Read every model package of an environment, sorted by name.

    Raises:
        ModelError: one of them cannot be read, or lies in a folder of another name.

    """
    root = prefix / MODELS
    if not root.is_dir():
        return ()
    models = tuple(Model.parse(directory) for directory in sorted(root.iterdir()) if directory.is_dir())
    for model in models:
        if model.name != model.directory.name:
            raise ModelError(f"{model.directory / FILENAME}: its name is {model.name!r}, its folder's is not")
    return models


def _read(path: Path, limit: int) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise ModelError(f"{path}: it is larger than {limit} bytes")
        return content.decode()
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ModelError(f"{path}: it is not UTF-8 text") from None


def _inside(directory: Path, name: str) -> Path:
    relative = PurePosixPath(name)
    path = directory / relative
    if relative.is_absolute() or ".." in relative.parts or "\0" in name:
        raise TableError(f"{name[:80]!r} is not a path inside the model package")
    if not path.resolve().is_relative_to(directory.resolve()) or not path.is_file():
        raise TableError(f"it names {name[:80]!r}, which the model package does not have")
    return path


def _loader(directory: Path, loader: str) -> str:
    module = loader.partition(":")[0]
    if not (directory / module / "__init__.py").is_file():
        _inside(directory, f"{module}.py")
    return loader


def _canary(directory: Path, table: Table | None) -> Canary | None:
    if table is None:
        return None
    file = _inside(directory, table.text("file"))
    expected = table.text("output_sha256", re.compile("[0-9a-f]{64}|"), default="")
    table.finish()
    return Canary(file, Digest(expected) if expected else None)


def _batching(table: Table | None) -> Batching | None:
    if table is None:
        return None
    batching = Batching(
        table.integer("bucket", 1, MAX_BUCKET), table.integers("lengths", 1, oip.MAX_BYTES, optional=True)
    )
    table.finish()
    return batching
