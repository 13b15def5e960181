"""NVIDIA's own clients, unmodified, against a real daemon: over HTTP and gRPC, each synchronous and asyncio's."""

import asyncio
from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
import tritonclient.http.aio


class Waiting:
    """The asyncio client, called as the other one is."""

    def __init__(self, made):
        self._loop = asyncio.Runner()
        self._client = self._loop.run(self._made(made))

    @staticmethod
    async def _made(made):
        return made()

    def __getattr__(self, name):
        method = getattr(self._client, name)
        return lambda *args, **more: self._loop.run(method(*args, **more))

    def close(self):
        self._loop.run(self._client.close())
        self._loop.close()


class Http:
    """How tensors, clients and answers are made over HTTP."""

    api = tritonclient.http

    def __init__(self, daemon):
        self.address = f"{daemon.http.base_url.host}:{daemon.http.base_url.port}"

    def client(self):
        return self.api.InferenceServerClient(self.address)

    def asyncio_client(self):
        return self.api.aio.InferenceServerClient(self.address, conn_limit=16)

    def tensor(self, name, array, datatype, **more):
        made = self.api.InferInput(name, list(array.shape), datatype)
        made.set_data_from_numpy(array, **more)
        return made

    def texts(self, *values, **more):
        return self.tensor("text", np.array(values, dtype=np.object_), "BYTES", **more)

    def answered(self, result):
        """Give an answer's id, and its parameters as attributes."""
        told = result.get_response()
        return told.get("id"), SimpleNamespace(**told["parameters"])

    def status(self, over_http, _over_grpc):
        return over_http


class Grpc(Http):
    """And over gRPC."""

    api = tritonclient.grpc

    def __init__(self, daemon):
        self.address = daemon.rpc

    def asyncio_client(self):
        return self.api.aio.InferenceServerClient(self.address)

    def answered(self, result):
        told = result.get_response()
        return told.id, SimpleNamespace(**{key: one.string_param for key, one in told.parameters.items()})

    def status(self, _over_http, over_grpc):
        return f"StatusCode.{over_grpc}"


PROTOCOLS = {"HTTP": Http, "gRPC": Grpc}


@pytest.fixture(params=PROTOCOLS)
def spoken(request, rpc_daemon):
    """Give each of the protocols; tests of one of them say so: `parametrize("spoken", ["HTTP"], indirect=True)`."""
    return PROTOCOLS[request.param](rpc_daemon)


@pytest.fixture(params=["sync", "asyncio"])
def client(request, spoken):
    """Give each of the protocol's two clients."""
    made = spoken.client() if request.param == "sync" else Waiting(spoken.asyncio_client)
    with closing(made):
        yield made
