"""Real daemons that speak gRPC, and NVIDIA's clients for it, unmodified."""

import asyncio
import re
from contextlib import closing

import pytest
import tritonclient.grpc as sync_client
import tritonclient.grpc.aio as async_client

ENVIRONMENT = "test-echo-pt213-cpu"
MIRROR = "test-mirror-pt213-cpu"


class Waiting:
    """The asyncio client, called as the other one is."""

    def __init__(self, url):
        self._loop = asyncio.Runner()
        self._client = self._loop.run(self._made(url))

    @staticmethod
    async def _made(url):
        return async_client.InferenceServerClient(url)

    def __getattr__(self, name):
        method = getattr(self._client, name)
        return lambda *args, **more: self._loop.run(method(*args, **more))

    def close(self):
        self._loop.run(self._client.close())
        self._loop.close()


KINDS = {"sync": sync_client.InferenceServerClient, "asyncio": Waiting}


def address(daemon):
    return re.search(r"listening at (\S+) for gRPC", daemon.log())[1]


@pytest.fixture(scope="session")
def rpc_address():
    """Give what finds the address that a daemon answers gRPC at."""
    return address


@pytest.fixture(scope="module")
def rpc_daemon(daemons, channel, prefixes, tmp_path_factory):
    """Give a daemon of the models `echo` and `mirror` that speaks gRPC, with `rpc`, its address."""
    state = tmp_path_factory.mktemp("rpc") / "state"
    with daemons(channel, prefixes, state, "--grpc-port", "0", environments=(ENVIRONMENT, MIRROR)) as daemon:
        daemon.wait_ready()
        daemon.rpc = address(daemon)
        yield daemon


@pytest.fixture(params=KINDS)
def client(request, rpc_daemon):
    """Give each of the two clients."""
    with closing(KINDS[request.param](rpc_daemon.rpc)) as made:
        yield made
