"""The messages of the protocols that are spoken, made of `services.binpb`.

They are in a pool of their own: in protobuf's one pool for all, two packages that bring the same protocol, as a client
of it does, cannot be used in one process.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from sluice_scheduler.api.rpc.fields import few, nested
from sluice_scheduler.errors import RequestError

INFERENCE: Final = "inference.GRPCInferenceService"
HEALTH: Final = "grpc.health.v1.Health"
MAX_FIELDS: Final = 4096  # of a request, without the elements of its tensors
_ELEMENTS: Final = frozenset({"InferTensorContents"})


def _pool() -> descriptor_pool.DescriptorPool:
    described = files("sluice_scheduler.api.rpc").joinpath("services.binpb").read_bytes()
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(described).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


_POOL: Final = _pool()
"""The class of the request of each method, by the path that gRPC calls it by."""
REQUESTS: Final[dict[str, Any]] = {
    f"/{service}/{method.name}": message_factory.GetMessageClass(method.input_type)
    for service in (INFERENCE, HEALTH)
    for method in _POOL.FindServiceByName(service).methods
}
_NESTED: Final = {path: nested(request.DESCRIPTOR, _ELEMENTS) for path, request in REQUESTS.items()}


def message(name: str) -> Any:  # noqa: ANN401 - classes that protobuf makes
    """Give the class of a message of the Open Inference Protocol, or of another package by its full name."""
    full = name if "." in name else f"inference.{name}"
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(full))


def read(method: str, body: bytes) -> Any:  # noqa: ANN401 - as above
    """Read the request of a method.

    Raises:
        RequestError: it is none.

    """
    wanted = REQUESTS[method]
    if not few(body, _NESTED[method], MAX_FIELDS):
        raise RequestError(f"the message has more than {MAX_FIELDS} fields")
    try:
        return wanted.FromString(body)
    except DecodeError:
        raise RequestError(f"the message is no {wanted.DESCRIPTOR.name}") from None
