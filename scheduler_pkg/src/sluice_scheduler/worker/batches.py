"""Runs several requests' rows together in batches of one size, and gives each request its own rows back. Pure.

Rows are cut from and joined to tensors of the wire, so nothing here depends on torch.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .frames import WireTensor

if TYPE_CHECKING:  # evaluated by no Python, so by 3.8 neither
    from collections.abc import Callable, Sequence

    from .frames import Buffer

    Tensors = Sequence[WireTensor]

BYTES = "BYTES"


class BatchError(Exception):
    """Tensors cannot be cut into rows, or not joined with others."""


def run(
    requests: Sequence[Tensors], size: int, predict: Callable[[Tensors], Tensors]
) -> list[list[WireTensor]]:
    """Answer requests with a `predict` that is only ever called with `size` rows.

    Their rows are joined in order and cut into batches of `size`. The last one is filled up with copies of its
    first row: whatever a model refuses it would have refused anyway.

    Raises:
        BatchError: the requests' tensors differ in more than their rows, or the answer has not a row for each.
        Exception: whatever `predict` raises.

    """
    first = requests[0]
    if any(_kinds(one) != _kinds(first) for one in requests):
        raise BatchError("requests with different inputs cannot run together")
    columns: list[list[Buffer]] = [[] for _ in first]
    counts = []
    for request in requests:
        parts = [rows(tensor) for tensor in request]
        if len({len(part) for part in parts}) != 1 or not parts[0]:
            raise BatchError("the tensors of a request have different numbers of rows, or none")
        counts.append(len(parts[0]))
        for column, part in zip(columns, parts):  # noqa: B905 - `strict` is younger than 3.8
            column.extend(part)
    kinds, answered = _batches(first, columns, size, predict)
    answers, start = [], 0
    for count in counts:
        answers.append(
            [joined(kind, column[start : start + count]) for kind, column in zip(kinds, answered)]  # noqa: B905 - as above
        )
        start += count
    return answers


def _batches(
    first: Tensors, columns: list[list[Buffer]], size: int, predict: Callable[[Tensors], Tensors]
) -> tuple[Tensors, list[list[Buffer]]]:
    kinds: Tensors = ()
    answered: list[list[Buffer]] = []
    for start in range(0, len(columns[0]), size):
        parts = [column[start : start + size] for column in columns]
        real = len(parts[0])
        outputs = predict(
            [joined(kind, part + part[:1] * (size - real)) for kind, part in zip(first, parts)]  # noqa: B905 - as above
        )
        if any(tensor.shape[:1] != (size,) for tensor in outputs):
            raise BatchError(f"predict was given {size} rows, and answered with another number")
        if not start:
            kinds, answered = outputs, [[] for _ in outputs]
        elif _kinds(outputs) != _kinds(kinds):
            raise BatchError("predict answered with different tensors for rows of one request")
        for column, tensor in zip(answered, outputs):  # noqa: B905 - as above
            column.extend(rows(tensor)[:real])
    return kinds, answered


def rows(tensor: WireTensor) -> list[Buffer]:
    """Cut a tensor into its rows, along the first dimension.

    Raises:
        BatchError: it has no dimension, or its data does not fit its shape.

    """
    if not tensor.shape or min(tensor.shape) < 0:
        raise BatchError(f"tensor {tensor.name!r} has no rows")
    count = tensor.shape[0]
    data = memoryview(tensor.data)
    if tensor.datatype == BYTES:
        return _elements(tensor.name, data, count, math.prod(tensor.shape[1:]))
    stride = len(data) // count if count else 0
    if stride * count != len(data):
        raise BatchError(f"tensor {tensor.name!r}: its data does not fit its shape")
    return [data[place * stride : (place + 1) * stride] for place in range(count)]


def joined(kind: WireTensor, parts: list[Buffer]) -> WireTensor:
    """Join rows to a tensor of the kind of another."""
    return WireTensor(kind.name, kind.datatype, (len(parts), *kind.shape[1:]), b"".join(parts))


def _elements(name: str, data: memoryview, count: int, each: int) -> list[Buffer]:
    found: list[Buffer] = []
    offset = 0
    for _ in range(count):
        start = offset
        for _ in range(each):
            offset += 4 + int.from_bytes(data[offset : offset + 4], "little")
        found.append(data[start:offset])
    if offset != len(data):
        raise BatchError(f"tensor {name!r}: its data does not fit its shape")
    return found


def _kinds(tensors: Tensors) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(tensor.name, tensor.datatype, tensor.shape[1:]) for tensor in tensors]
