"""Loading and unloading through NVIDIA's clients, unmodified."""

import asyncio
import re
from contextlib import closing

import numpy as np
import pytest
import tritonclient.grpc as rpc_client
import tritonclient.http as sync_client
import tritonclient.http.aio as async_client
from tritonclient.utils import InferenceServerException

ENVIRONMENT = "test-turn-pt213-cpu"


def address(daemon):
    return str(daemon.http.base_url).removeprefix("http://").rstrip("/")


def asked():
    tensor = sync_client.InferInput("text", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([b"x"], dtype=np.object_))
    return [tensor]


def states(index):
    return [(one["name"], one["state"]) for one in index]


def test_a_model_is_unloaded_and_loaded(follow, packed):
    packed.publish("one")
    with (
        follow("--watch-seconds", "0") as daemon,
        closing(sync_client.InferenceServerClient(address(daemon))) as client,
    ):
        processes = len(daemon.processes())
        client.unload_model("turn")
        assert states(client.get_model_repository_index()) == [("turn", "UNAVAILABLE")]
        assert "unloaded, as was asked" in client.get_model_repository_index()[0]["reason"]
        assert not client.is_model_ready("turn")
        assert daemon.processes() == []
        with pytest.raises(InferenceServerException, match="unloaded, as was asked"):
            client.infer("turn", asked())
        client.unload_model("turn")
        packed.publish("two")
        assert daemon.order("deploy").json()["outcome"] == "deployed"
        assert states(client.get_model_repository_index()) == [("turn", "UNAVAILABLE")]
        client.load_model("turn")
        assert len(daemon.processes()) == processes
        assert states(client.get_model_repository_index()) == [("turn", "READY")]
        assert client.infer("turn", asked()).as_numpy("text").tolist() == [b"two: x"]
        packed.publish("three")
        client.load_model("turn")
        assert client.infer("turn", asked()).as_numpy("text").tolist() == [b"three: x"]
        assert daemon.order("rollback").json()["generation"] == 2
        client.load_model("turn")
        assert client.infer("turn", asked()).as_numpy("text").tolist() == [b"two: x"]
        packed.publish("incompatible")
        with pytest.raises(InferenceServerException, match="stays as it was: its signature is not") as kept:
            client.load_model("turn")
        assert kept.value.status() == "409"


def test_the_asyncio_client_loads_and_what_is_not_done_is_said(follow, packed):
    packed.publish("one")

    async def work(daemon):
        client = async_client.InferenceServerClient(address(daemon))
        try:
            await client.unload_model("turn")
            await client.load_model("turn")
            assert states(await client.get_model_repository_index()) == [("turn", "READY")]
            assert (await client.infer("turn", asked())).as_numpy("text").tolist() == [b"one: x"]
            for call in (client.load_model, client.unload_model):
                with pytest.raises(InferenceServerException, match="no model 'nothing'") as unknown:
                    await call("nothing")
                assert unknown.value.status() == "404"
            with pytest.raises(InferenceServerException, match="parameter 'config' is not taken") as told:
                await client.load_model("turn", config="{}")
            assert told.value.status() == "501"
        finally:
            await client.close()

    with follow() as daemon:
        asyncio.run(work(daemon))


def test_over_grpc(follow, packed):
    packed.publish("one")
    with follow("--watch-seconds", "0", "--grpc-port", "0") as daemon:
        address = re.search(r"listening at (\S+) for gRPC", daemon.daemon.log())[1]
        tensor = rpc_client.InferInput("text", [1], "BYTES")
        tensor.set_data_from_numpy(np.array([b"x"], dtype=np.object_))
        with closing(rpc_client.InferenceServerClient(address)) as client:
            client.unload_model("turn")
            (shown,) = client.get_model_repository_index().models
            assert (shown.state, "unloaded, as was asked" in shown.reason) == ("UNAVAILABLE", True)
            assert not client.is_model_ready("turn")
            assert daemon.processes() == []
            with pytest.raises(InferenceServerException, match="unloaded, as was asked") as gone:
                client.infer("turn", [tensor])
            assert gone.value.status() == "StatusCode.UNAVAILABLE"
            client.load_model("turn")
            assert client.infer("turn", [tensor]).as_numpy("text").tolist() == [b"one: x"]
            packed.publish("incompatible")
            with pytest.raises(InferenceServerException, match="stays as it was") as kept:
                client.load_model("turn")
            assert kept.value.status() == "StatusCode.FAILED_PRECONDITION"
            with pytest.raises(InferenceServerException, match="parameter 'config' is not taken") as told:
                client.load_model("turn", config="{}")
            assert told.value.status() == "StatusCode.UNIMPLEMENTED"
            with pytest.raises(InferenceServerException, match="no model 'nothing'") as unknown:
                client.load_model("nothing")
            assert unknown.value.status() == "StatusCode.NOT_FOUND"
