"""An inference as messages of gRPC: their tensors and parameters as the scheduler has them, and back. Pure.

https://github.com/kserve/open-inference-protocol, "GRPC". What a request may ask for is said by `Inference`, which reads
what JSON says in the same words.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sluice_scheduler import elements, tensors
from sluice_scheduler.api.rpc.messages import message
from sluice_scheduler.errors import RequestError
from sluice_scheduler.inference import Inference, from_bytes
from sluice_scheduler.tensors import BYTES, MAX_RANK, MAX_TENSORS, InputError, Tensor

# Of each datatype the field of InferTensorContents; FP16 and BF16 have none.
_FIELDS: Final = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}
_FLOATS: Final = {"FP32": "f", "FP64": "d"}  # of `struct`
_Response: Final = message("ModelInferResponse")


def read(asked: Any) -> Inference:  # noqa: ANN401 - a ModelInferRequest
    """Read what a request asks for; what it does not say of bytes or values is answered as it gave its own inputs.

    Raises:
        RequestError: saying which parameter is wrong.
        InputError: saying which tensor is wrong.

    """
    raw = asked.raw_input_contents
    if raw and len(raw) != len(asked.inputs):
        raise RequestError(
            f"raw_input_contents has {len(raw)} parts for {len(asked.inputs)} inputs; give one for each, or none"
        )
    given = iter(raw)
    inputs = tensors.parse(asked.inputs, lambda one: _tensor(one, next(given, None)))
    parameters = {"binary_data_output": bool(raw)} | _parameters(asked.parameters)
    outputs = [
        {"name": one.name, "parameters": _parameters(one.parameters)}
        for one in asked.outputs[: MAX_TENSORS + 1]  # one too many is seen
    ]
    return Inference.asked({"id": asked.id, "parameters": parameters, "outputs": outputs}, inputs)


def write(
    inference: Inference, answered: Iterable[Tensor], *, model: str, version: str, parameters: dict[str, str]
) -> bytes:
    """Write a response: all tensors as bytes if one is wanted so or can be nothing else, otherwise all as values."""
    listed = inference.chosen(answered)
    response = _Response(model_name=model, model_version=version, id=inference.id or "")
    for name, value in parameters.items():
        response.parameters[name].string_param = value
    raw = any(binary or tensor.datatype not in _FIELDS for tensor, binary in listed)
    for tensor, _ in listed:
        output = response.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        if raw:
            response.raw_output_contents.append(tensor.data)
        else:
            getattr(output.contents, _FIELDS[tensor.datatype]).extend(_values(tensor))
    written: bytes = response.SerializeToString()
    return written


def _tensor(one: Any, data: bytes | None) -> Tensor:  # noqa: ANN401 - an InferInputTensor
    name = tensors.check_name(one.name)
    if "shared_memory_region" in one.parameters:
        raise InputError("tensors in shared memory are not taken here; send their bytes")
    for parameter in one.parameters:
        raise InputError(f"tensor {name!r}: parameter {parameter[:40]!r} is not taken here")
    shape = tensors.check_shape(name, list(one.shape[: MAX_RANK + 1]))  # one too many is seen
    found = [field.name for field, _ in one.contents.ListFields()] if one.HasField("contents") else []
    if data is not None:
        if found:
            raise InputError(f"tensor {name!r}: it has {found[0]} and raw_input_contents; give one of them")
        return from_bytes(name, one.datatype, shape, data)
    field = _FIELDS.get(one.datatype)
    if field is None and one.datatype in tensors.DATATYPES:
        raise InputError(f"tensor {name!r}: the data of {one.datatype} is given in raw_input_contents")
    for other in found:
        if other != field:
            raise InputError(
                f"tensor {name!r}: the data of {one.datatype[:40]} is in {field}, not in {other}"
            )
    values = getattr(one.contents, field) if field else ()
    if field and len(values) != math.prod(shape):
        raise InputError(
            f"tensor {name!r}: shape {list(shape)} needs {math.prod(shape)} elements, found {len(values)}"
        )
    return Tensor(name, one.datatype, shape, _packed(name, one.datatype, values))


def _packed(name: str, datatype: str, values: Any) -> bytes:  # noqa: ANN401 - a repeated field
    if datatype == BYTES:
        return tensors.join_bytes(values)
    if datatype in _FLOATS:
        return struct.pack(f"<{len(values)}{_FLOATS[datatype]}", *values)
    try:
        return elements.pack(datatype, values) if datatype in elements.ITEM_BYTES else b""
    except elements.ElementError as error:
        raise InputError(f"tensor {name!r}: {error}") from None


def _values(tensor: Tensor) -> Iterable[object]:
    if tensor.datatype == BYTES:
        return tensor.elements()
    if tensor.datatype in _FLOATS:
        return (value for (value,) in struct.iter_unpack(f"<{_FLOATS[tensor.datatype]}", tensor.data))
    return elements.unpack(tensor.datatype, tensor.data)


def _parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    """Give parameters as JSON would have them."""
    return {name: _value(parameter) for name, parameter in given.items()}


def _value(parameter: Any) -> Any:  # noqa: ANN401 - an InferParameter and what it holds
    chosen = parameter.WhichOneof("parameter_choice")
    return getattr(parameter, chosen) if chosen else None
