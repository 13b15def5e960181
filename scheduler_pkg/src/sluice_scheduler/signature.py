"""What one input or output of a model is: name, datatype, shape."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from sluice.errors import SluiceError
from sluice_scheduler.tables import Table
from sluice_scheduler.tensors import DATATYPES, MAX_BYTES, MAX_RANK, Tensor

ANY: Final = -1  # a dimension whose size the caller chooses
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")


class SignatureError(SluiceError):
    """A tensor does not fit a signature, or the signature contradicts itself."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor of a signature; -1 in its shape is a free dimension, first the batch."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool = False

    @classmethod
    def parse(cls, table: Table) -> Self:
        """Read `name`, `datatype`, `shape` and `optional`.

        Raises:
            TableError: a key is missing, unknown or of the wrong type.
            SignatureError: the shape has too many dimensions.

        """
        spec = cls(
            table.text("name", _NAME),
            table.text("datatype", re.compile("|".join(DATATYPES))),
            table.integers("shape", ANY, MAX_BYTES),
            table.boolean("optional", default=False),
        )
        table.finish()
        if len(spec.shape) > MAX_RANK:
            raise SignatureError(f"{spec.name!r} has more than {MAX_RANK} dimensions")
        return spec

    def check(self, tensor: Tensor) -> None:
        """Compare a tensor with this.

        Raises:
            SignatureError: saying what was expected and what was found.

        """
        same_rank = len(tensor.shape) == len(self.shape)
        sizes = zip(tensor.shape, self.shape, strict=False)
        if (
            tensor.datatype != self.datatype
            or not same_rank
            or any(want not in (ANY, size) for size, want in sizes)
        ):
            raise SignatureError(
                f"tensor {tensor.name!r} is {tensor.datatype} {list(tensor.shape)}; expected {self}"
            )

    def __str__(self) -> str:
        return f"{self.name!r} {self.datatype} {list(self.shape)}" + (" (optional)" if self.optional else "")


def batch_of(given: Iterable[tuple[TensorSpec, Tensor]]) -> int | None:
    """Return the batch size that the tensors share, None when none has a batch dimension.

    Raises:
        SignatureError: two tensors have different batch sizes.

    """
    first: tuple[str, int] | None = None
    for spec, tensor in given:
        if not spec.shape or spec.shape[0] != ANY:
            continue
        size = tensor.shape[0]
        if first and first[1] != size:
            raise SignatureError(
                f"tensors {first[0]!r} and {tensor.name!r} have different batches: {first[1]} and {size}"
            )
        first = first or (tensor.name, size)
    return first[1] if first else None
