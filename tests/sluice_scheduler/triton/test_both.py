"""What the clients of both protocols are told alike."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

ARRAYS = {
    "half": (np.array([1.5, -0.0, np.inf, 6e-8], np.float16), "FP16"),
    "real": (np.array([np.nan, -np.inf, 1e300, 0.1]), "FP64"),
    "rows": (np.array([[1, -2], [2**31 - 1, -(2**31)]], np.int32), "INT32"),
    "flag": (np.array([True, False, True]), "BOOL"),
    "blob": (np.array([b"", b"\0\xff", b"x" * 1000], dtype=np.object_), "BYTES"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_tensors_come_back_bit_for_bit(client, spoken, name):
    array, datatype = ARRAYS[name]
    result = client.infer("mirror", [spoken.tensor(name, array, datatype)], request_id="mine")
    if name == "half":
        name, array = "bits", array.view(np.uint16)
    given = result.as_numpy(name)
    assert given.dtype == array.dtype
    assert given.shape == array.shape
    assert given.tolist() == array.tolist() if datatype == "BYTES" else given.tobytes() == array.tobytes()
    assert spoken.answered(result)[0] == "mine"


@pytest.mark.filterwarnings("ignore:Sending a large body")  # the asyncio client does, over HTTP
def test_a_large_tensor(client, spoken):
    blob = np.array([bytes(range(256)) * 16384], dtype=np.object_)
    result = client.infer("mirror", [spoken.tensor("blob", blob, "BYTES")])
    assert result.as_numpy("blob")[0] == blob[0]


def test_the_receipt_is_where_the_answer_says(client, spoken, rpc_daemon):
    _, parameters = spoken.answered(client.infer("echo", [spoken.texts(b"x")]))
    assert rpc_daemon.http.get(parameters.receipt).status_code == 200
    assert rpc_daemon.task(parameters.task)["outputs"][0]["data"] == ["X"]


NOT_FOUND, INVALID, INTERNAL = ("404", "NOT_FOUND"), ("400", "INVALID_ARGUMENT"), ("500", "INTERNAL")
BAD = {
    "unknown model": ({"model_name": "nothing"}, NOT_FOUND, "no model 'nothing' is served here"),
    "unknown version": ({"model_version": "7"}, NOT_FOUND, "no model 'echo 7' is served here"),
    "sequence": ({"sequence_id": 3, "sequence_start": True}, INVALID, "'sequence_end' is not taken"),
}
BAD_OUTPUTS = {
    "unknown output": ("label", {}, "no output 'label'; it has text"),
    "classification": ("text", {"class_count": 2}, "'classification' is not taken"),
}
EXPECTED = "expected 'pixels' FP32 [-1, 2]"
BAD_PIXELS = {
    "wrong shape": (np.zeros((2, 3), np.float32), "FP32", EXPECTED),
    "wrong datatype": (np.zeros((2, 2)), "FP64", EXPECTED),
    "empty tensor": (np.zeros((0, 2), np.float32), "FP32", "a batch of 1 to 8, not 0"),
}
BAD_TEXTS = {
    "refused by the model": (b"refuse", INVALID, "cannot read this text"),
    "broken model": (b"wrong", INTERNAL, "bytes"),
}


@pytest.fixture
def refused(client, spoken):
    """Give what asks `echo` with a change, and compares the refusal."""

    def ask(change, statuses, expected):
        arguments = {"model_name": "echo", "inputs": [spoken.texts(b"x")], **change}
        with pytest.raises(InferenceServerException) as error:
            client.infer(**arguments)
        assert error.value.status() == spoken.status(*statuses)
        assert expected in error.value.message()

    return ask


@pytest.mark.parametrize("name", BAD)
def test_errors_reach_the_caller(refused, name):
    refused(*BAD[name])


@pytest.mark.parametrize("name", BAD_OUTPUTS)
def test_errors_of_outputs_reach_the_caller(refused, spoken, name):
    output, more, expected = BAD_OUTPUTS[name]
    refused({"outputs": [spoken.api.InferRequestedOutput(output, **more)]}, INVALID, expected)


@pytest.mark.parametrize("name", BAD_PIXELS)
def test_errors_of_tensors_reach_the_caller(refused, spoken, name):
    array, datatype, expected = BAD_PIXELS[name]
    refused({"inputs": [spoken.tensor("pixels", array, datatype)]}, INVALID, expected)


@pytest.mark.parametrize("name", BAD_TEXTS)
def test_errors_of_the_model_reach_the_caller(refused, spoken, name):
    text, statuses, expected = BAD_TEXTS[name]
    refused({"inputs": [spoken.texts(text)]}, statuses, expected)


def test_a_timeout_passes_in_the_queue(client, spoken, rpc_daemon, tmp_path):
    task = rpc_daemon.submit(f"hold:{tmp_path}/go")
    rpc_daemon.until(running=1)
    try:
        with pytest.raises(InferenceServerException, match="did not start within 30000 micro") as late:
            client.infer("echo", [spoken.texts(b"x")], timeout=30_000)
        assert late.value.status() == spoken.status("503", "DEADLINE_EXCEEDED")
    finally:
        (tmp_path / "go").touch()
    assert rpc_daemon.task(task)["state"] == "succeeded"
    answer = client.infer("echo", [spoken.texts(b"x")], timeout=10_000_000)
    assert answer.as_numpy("text").tolist() == [b"X"]


PRIORITIES = (8, 1, 99, 3)


def order_of(spoken, daemon, results):
    tasks = [daemon.task(spoken.answered(result)[1].task) for result in results]
    return [task["priority"] for task in sorted(tasks, key=lambda task: task["start_order"])]


def test_priorities_of_the_sync_client(spoken, rpc_daemon, tmp_path):
    """Each thread has its own client: one client is for one thread."""

    def ask(priority):
        with closing(spoken.client()) as client:
            return client.infer("echo", [spoken.texts(b"x")], priority=priority)

    rpc_daemon.submit(f"hold:{tmp_path}/go")
    rpc_daemon.until(running=1)
    with ThreadPoolExecutor(4) as pool:
        asked = []
        try:
            for count, priority in enumerate(PRIORITIES, 1):
                asked.append(pool.submit(ask, priority))
                rpc_daemon.until(queued=count)
        finally:
            (tmp_path / "go").touch()
        assert order_of(spoken, rpc_daemon, [one.result() for one in asked]) == [1, 3, 5, 8]


def test_priorities_of_the_asyncio_client(spoken, rpc_daemon, tmp_path):
    async def ask():
        client = spoken.asyncio_client()
        try:
            asked = []
            try:
                for count, priority in enumerate(PRIORITIES, 1):
                    call = client.infer("echo", [spoken.texts(b"x")], priority=priority)
                    asked.append(asyncio.create_task(call))
                    await asyncio.to_thread(rpc_daemon.until, queued=count)
            finally:
                (tmp_path / "go").touch()
            return await asyncio.gather(*asked)
        finally:
            await client.close()

    rpc_daemon.submit(f"hold:{tmp_path}/go")
    rpc_daemon.until(running=1)
    assert order_of(spoken, rpc_daemon, asyncio.run(ask())) == [1, 3, 5, 8]


def test_many_of_the_asyncio_client_at_once(spoken):
    async def ask():
        client = spoken.asyncio_client()
        try:
            results = await asyncio.gather(
                *(client.infer("echo", [spoken.texts(f"text {number}".encode())]) for number in range(64))
            )
        finally:
            await client.close()
        return [result.as_numpy("text").tolist() for result in results]

    assert asyncio.run(ask()) == [[f"TEXT {number}".encode()] for number in range(64)]
