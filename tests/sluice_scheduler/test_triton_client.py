"""NVIDIA's own clients, unmodified, against a real daemon."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import pytest
import tritonclient.http as sync_client
import tritonclient.http.aio as async_client
from tritonclient.utils import InferenceServerException

ENVIRONMENT = "test-echo-pt213-cpu"


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
    return f"{daemon.http.base_url.host}:{daemon.http.base_url.port}"


@pytest.fixture(params=KINDS)
def client(request, oip_daemon):
    """Give each of the two clients."""
    with closing(KINDS[request.param](address(oip_daemon))) as made:
        yield made


def tensor(name, array, datatype, *, binary=True):
    made = sync_client.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


def texts(*values, binary=True):
    return tensor("text", np.array(values, dtype=np.object_), "BYTES", binary=binary)


def test_health_and_metadata(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("echo")
    assert client.is_model_ready("echo", "1.0.0")
    assert not client.is_model_ready("nothing")
    assert "statistics" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata("mirror")
    assert metadata["versions"] == ["2.1"]
    assert {"name": "half", "datatype": "FP16", "shape": [-1], "optional": True} in metadata["inputs"]


def test_repository_and_statistics(client):
    index = client.get_model_repository_index()
    assert [(item["name"], item["state"]) for item in index] == [("echo", "READY"), ("mirror", "READY")]
    (before,) = client.get_inference_statistics("echo", "1.0.0")["model_stats"]
    client.infer("echo", [texts(b"a", b"b")])
    (after,) = client.get_inference_statistics("echo")["model_stats"]
    assert after["inference_count"] == before["inference_count"] + 2
    assert after["execution_count"] == before["execution_count"] + 1
    assert len(client.get_inference_statistics()["model_stats"]) == 2


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("answered", [True, False, None])
def test_texts_come_back(client, binary, answered):
    outputs = None if answered is None else [sync_client.InferRequestedOutput("text", binary_data=answered)]
    result = client.infer("echo", [texts(b"one", "zwei\u00e4".encode(), binary=binary)], outputs=outputs)
    given = [
        element if isinstance(element, bytes) else element.encode() for element in result.as_numpy("text")
    ]
    assert given == [b"ONE", "ZWEI\u00e4".encode()]


ARRAYS = {
    "half": (np.array([1.5, -0.0, np.inf, 6e-8], np.float16), "FP16"),
    "real": (np.array([np.nan, -np.inf, 1e300, 0.1]), "FP64"),
    "rows": (np.array([[1, -2], [2**31 - 1, -(2**31)]], np.int32), "INT32"),
    "flag": (np.array([True, False, True]), "BOOL"),
    "blob": (np.array([b"", b"\0\xff", b"x" * 1000], dtype=np.object_), "BYTES"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_binary_tensors_come_back_bit_for_bit(client, name):
    array, datatype = ARRAYS[name]
    result = client.infer("mirror", [tensor(name, array, datatype)], request_id="mine")
    if name == "half":
        name, array = "bits", array.view(np.uint16)
    given = result.as_numpy(name)
    assert given.dtype == array.dtype
    assert given.shape == array.shape
    assert given.tolist() == array.tolist() if datatype == "BYTES" else given.tobytes() == array.tobytes()
    assert result.get_response()["id"] == "mine"


def test_several_tensors_mixed(client):
    real, rows = np.array([1.0, 2.5]), np.array([[1, 2], [3, 4]], np.int32)
    inputs = [tensor("real", real, "FP64", binary=False), tensor("rows", rows, "INT32")]
    outputs = [
        sync_client.InferRequestedOutput("rows", binary_data=False),
        sync_client.InferRequestedOutput("real", binary_data=True),
    ]
    result = client.infer("mirror", inputs, outputs=outputs)
    assert [output["name"] for output in result.get_response()["outputs"]] == ["rows", "real"]
    assert result.as_numpy("rows").tolist() == rows.tolist()
    assert result.as_numpy("real").tolist() == real.tolist()


@pytest.mark.filterwarnings("ignore:Sending a large body")  # the asyncio client does
def test_a_large_tensor(client):
    blob = np.array([bytes(range(256)) * 8192], dtype=np.object_)
    result = client.infer("mirror", [tensor("blob", blob, "BYTES")])
    assert result.as_numpy("blob")[0] == blob[0]


def test_an_environment_may_be_named(client):
    result = client.infer("echo", [texts(b"x")], query_params={"environment": ENVIRONMENT})
    assert result.get_response()["parameters"]["environment"] == ENVIRONMENT


def test_the_receipt_is_where_the_answer_says(client, oip_daemon):
    parameters = client.infer("echo", [texts(b"x")]).get_response()["parameters"]
    assert oip_daemon.http.get(parameters["receipt"]).status_code == 200
    assert oip_daemon.task(parameters["task"])["outputs"][0]["data"] == ["X"]


BAD = {
    "unknown model": ({"model_name": "nothing"}, "404", "no model 'nothing' is served here"),
    "unknown version": ({"model_version": "7"}, "404", "no model 'echo 7' is served here"),
    "unknown output": (
        {"outputs": [sync_client.InferRequestedOutput("label")]},
        "400",
        "no output 'label'; it has text",
    ),
    "classification": (
        {"outputs": [sync_client.InferRequestedOutput("text", class_count=2)]},
        "400",
        "'classification' is not taken",
    ),
    "sequence": ({"sequence_id": 3, "sequence_start": True}, "400", "'sequence_end' is not taken"),
    "compressed": ({"request_compression_algorithm": "gzip"}, "415", "'gzip' is not taken"),
    "wrong shape": (
        {"inputs": [tensor("pixels", np.zeros((2, 3), np.float32), "FP32")]},
        "400",
        "expected 'pixels' FP32 [-1, 2]",
    ),
    "wrong datatype": (
        {"inputs": [tensor("pixels", np.zeros((2, 2)), "FP64")]},
        "400",
        "expected 'pixels' FP32 [-1, 2]",
    ),
    "empty tensor": (
        {"inputs": [tensor("pixels", np.zeros((0, 2), np.float32), "FP32")]},
        "400",
        "a batch of 1 to 8, not 0",
    ),
    "refused by the model": ({"inputs": [texts(b"refuse")]}, "400", "cannot read this text"),
    "broken model": ({"inputs": [texts(b"wrong")]}, "500", "bytes"),
}


@pytest.mark.parametrize("name", BAD)
def test_errors_reach_the_caller(client, name):
    change, status, expected = BAD[name]
    arguments = {"model_name": "echo", "inputs": [texts(b"x")], **change}
    with pytest.raises(InferenceServerException) as refused:
        client.infer(**arguments)
    assert refused.value.status() == status
    assert expected in refused.value.message()


def until(daemon, reached, seconds=10):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        tasks = daemon.http.get("/v1/tasks").json()
        if reached(tasks):
            return
        time.sleep(0.01)
    raise AssertionError(f"not reached: {tasks}")


def waiting(tasks):
    return sum(task["state"] == "queued" for task in tasks)


def busy(tasks):
    return any(task["state"] == "running" for task in tasks)


def test_a_timeout_passes_in_the_queue(client, oip_daemon, tmp_path):
    task = oip_daemon.submit(f"hold:{tmp_path}/go")
    until(oip_daemon, busy)
    try:
        with pytest.raises(InferenceServerException, match="did not start within 30000 micro") as late:
            client.infer("echo", [texts(b"x")], timeout=30_000)
        assert late.value.status() == "503"
    finally:
        (tmp_path / "go").touch()
    assert oip_daemon.task(task)["state"] == "succeeded"
    assert client.infer("echo", [texts(b"x")], timeout=10_000_000).as_numpy("text").tolist() == [b"X"]


def order_of(daemon, results):
    tasks = [daemon.task(result.get_response()["parameters"]["task"]) for result in results]
    return [task["priority"] for task in sorted(tasks, key=lambda task: task["start_order"])]


def test_priorities_of_the_sync_client(oip_daemon, tmp_path):
    """Each thread has its own client: one client is for one thread."""

    def ask(priority):
        with closing(sync_client.InferenceServerClient(address(oip_daemon))) as client:
            return client.infer("echo", [texts(b"x")], priority=priority)

    oip_daemon.submit(f"hold:{tmp_path}/go")
    until(oip_daemon, busy)
    with ThreadPoolExecutor(4) as pool:
        asked = []
        try:
            for count, priority in enumerate((8, 1, 99, 3), 1):
                asked.append(pool.submit(ask, priority))
                until(oip_daemon, lambda tasks, count=count: waiting(tasks) == count)
        finally:
            (tmp_path / "go").touch()
        assert order_of(oip_daemon, [one.result() for one in asked]) == [1, 3, 5, 8]


def test_priorities_of_the_asyncio_client(oip_daemon, tmp_path):
    async def ask():
        client = async_client.InferenceServerClient(address(oip_daemon))
        try:
            asked = []
            try:
                for count, priority in enumerate((8, 1, 99, 3), 1):
                    asked.append(asyncio.create_task(client.infer("echo", [texts(b"x")], priority=priority)))
                    await asyncio.to_thread(
                        until, oip_daemon, lambda tasks, count=count: waiting(tasks) == count
                    )
            finally:
                (tmp_path / "go").touch()
            return await asyncio.gather(*asked)
        finally:
            await client.close()

    oip_daemon.submit(f"hold:{tmp_path}/go")
    until(oip_daemon, busy)
    assert order_of(oip_daemon, asyncio.run(ask())) == [1, 3, 5, 8]


def test_many_at_once(oip_daemon):
    async def ask():
        client = async_client.InferenceServerClient(address(oip_daemon), conn_limit=16)
        try:
            results = await asyncio.gather(
                *(client.infer("echo", [texts(f"text {number}".encode())]) for number in range(64))
            )
        finally:
            await client.close()
        return [result.as_numpy("text").tolist() for result in results]

    assert asyncio.run(ask()) == [[f"TEXT {number}".encode()] for number in range(64)]


def test_the_sync_clients_asynchronous_call(oip_daemon):
    with closing(sync_client.InferenceServerClient(address(oip_daemon), concurrency=4)) as client:
        asked = [client.async_infer("echo", [texts(b"x%d" % number)]) for number in range(8)]
        assert [one.get_result().as_numpy("text").tolist() for one in asked] == [
            [b"X%d" % number] for number in range(8)
        ]
