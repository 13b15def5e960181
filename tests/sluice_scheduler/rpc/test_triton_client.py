"""NVIDIA's own clients for gRPC, unmodified, against a real daemon."""

import asyncio
import queue
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import grpc
import numpy as np
import pytest
import tritonclient.grpc as sync_client
import tritonclient.grpc.aio as async_client
from tritonclient.utils import InferenceServerException

ENVIRONMENT = "test-echo-pt213-cpu"


def tensor(name, array, datatype):
    made = sync_client.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array)
    return made


def texts(*values):
    return tensor("text", np.array(values, dtype=np.object_), "BYTES")


def test_health_and_metadata(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("echo")
    assert client.is_model_ready("echo", "1.0.0")
    assert not client.is_model_ready("echo", "7")
    assert not client.is_model_ready("nothing")
    assert "statistics" in client.get_server_metadata().extensions
    metadata = client.get_model_metadata("mirror")
    assert metadata.versions == ["2.1"]
    assert [(one.datatype, one.shape) for one in metadata.inputs if one.name == "half"] == [("FP16", [-1])]


def test_repository_and_statistics(client):
    index = client.get_model_repository_index().models
    assert [(one.name, one.version, one.state) for one in index] == [
        ("echo", "1.0.0", "READY"),
        ("mirror", "2.1", "READY"),
    ]
    (before,) = client.get_inference_statistics("echo", "1.0.0").model_stats
    client.infer("echo", [texts(b"a", b"b")])
    (after,) = client.get_inference_statistics("echo").model_stats
    assert after.inference_count == before.inference_count + 2
    assert after.execution_count == before.execution_count + 1
    assert after.inference_stats.success.ns > before.inference_stats.success.ns
    assert after.last_inference > 1.7e12
    assert not after.inference_stats.HasField("compute_input")  # nothing measures it
    assert len(client.get_inference_statistics().model_stats) == 2


def test_texts_come_back(client):
    result = client.infer("echo", [texts(b"one", "zwei\u00e4".encode())])
    assert result.as_numpy("text").tolist() == [b"ONE", "ZWEI\u00e4".encode()]


ARRAYS = {
    "half": (np.array([1.5, -0.0, np.inf, 6e-8], np.float16), "FP16"),
    "real": (np.array([np.nan, -np.inf, 1e300, 0.1]), "FP64"),
    "rows": (np.array([[1, -2], [2**31 - 1, -(2**31)]], np.int32), "INT32"),
    "flag": (np.array([True, False, True]), "BOOL"),
    "blob": (np.array([b"", b"\0\xff", b"x" * 1000], dtype=np.object_), "BYTES"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_tensors_come_back_bit_for_bit(client, name):
    array, datatype = ARRAYS[name]
    result = client.infer("mirror", [tensor(name, array, datatype)], request_id="mine")
    if name == "half":
        name, array = "bits", array.view(np.uint16)
    given = result.as_numpy(name)
    assert given.dtype == array.dtype
    assert given.shape == array.shape
    assert given.tolist() == array.tolist() if datatype == "BYTES" else given.tobytes() == array.tobytes()
    assert result.get_response().id == "mine"


def test_outputs_are_chosen_and_ordered(client):
    real, rows = np.array([1.0, 2.5]), np.array([[1, 2], [3, 4]], np.int32)
    inputs = [tensor("real", real, "FP64"), tensor("rows", rows, "INT32")]
    wanted = [sync_client.InferRequestedOutput("rows"), sync_client.InferRequestedOutput("real")]
    result = client.infer("mirror", inputs, outputs=wanted)
    assert [one.name for one in result.get_response().outputs] == ["rows", "real"]
    assert result.as_numpy("rows").tolist() == rows.tolist()
    assert result.as_numpy("real").tolist() == real.tolist()
    alone = client.infer("mirror", inputs, outputs=wanted[1:])
    assert [one.name for one in alone.get_response().outputs] == ["real"]


def test_a_large_tensor(client):
    blob = np.array([bytes(range(256)) * 16384], dtype=np.object_)
    result = client.infer("mirror", [tensor("blob", blob, "BYTES")])
    assert result.as_numpy("blob")[0] == blob[0]


def test_an_environment_may_be_named(client):
    named = {"environment": ENVIRONMENT}
    result = client.infer("echo", [texts(b"x")], headers=named)
    assert result.get_response().parameters["environment"].string_param == ENVIRONMENT
    assert client.is_model_ready("echo", headers=named)
    with pytest.raises(InferenceServerException, match="no environment 'none' is served here"):
        client.get_model_metadata("echo", headers={"environment": "none"})


def test_the_receipt_is_where_the_answer_says(client, rpc_daemon):
    parameters = client.infer("echo", [texts(b"x")]).get_response().parameters
    assert rpc_daemon.http.get(parameters["receipt"].string_param).status_code == 200
    assert rpc_daemon.task(parameters["task"].string_param)["outputs"][0]["data"] == ["X"]


BAD = {
    "unknown model": ({"model_name": "nothing"}, "NOT_FOUND", "no model 'nothing' is served here"),
    "unknown version": ({"model_version": "7"}, "NOT_FOUND", "no model 'echo 7' is served here"),
    "unknown output": (
        {"outputs": [sync_client.InferRequestedOutput("label")]},
        "INVALID_ARGUMENT",
        "no output 'label'; it has text",
    ),
    "classification": (
        {"outputs": [sync_client.InferRequestedOutput("text", class_count=2)]},
        "INVALID_ARGUMENT",
        "'classification' is not taken",
    ),
    "sequence": (
        {"sequence_id": 3, "sequence_start": True},
        "INVALID_ARGUMENT",
        "'sequence_end' is not taken",
    ),
    "parameter": ({"parameters": {"colour": "red"}}, "INVALID_ARGUMENT", "'colour' is not taken here"),
    "negative timeout": ({"timeout": -1}, "INVALID_ARGUMENT", "timeout is a whole number from 0"),
    "wrong shape": (
        {"inputs": [tensor("pixels", np.zeros((2, 3), np.float32), "FP32")]},
        "INVALID_ARGUMENT",
        "expected 'pixels' FP32 [-1, 2]",
    ),
    "wrong datatype": (
        {"inputs": [tensor("pixels", np.zeros((2, 2)), "FP64")]},
        "INVALID_ARGUMENT",
        "expected 'pixels' FP32 [-1, 2]",
    ),
    "empty tensor": (
        {"inputs": [tensor("pixels", np.zeros((0, 2), np.float32), "FP32")]},
        "INVALID_ARGUMENT",
        "a batch of 1 to 8, not 0",
    ),
    "compressed": (
        {"compression_algorithm": "gzip"},
        "UNIMPLEMENTED",
        "gzip",
    ),
    "refused by the model": ({"inputs": [texts(b"refuse")]}, "INVALID_ARGUMENT", "cannot read this text"),
    "broken model": ({"inputs": [texts(b"wrong")]}, "INTERNAL", "bytes"),
}


@pytest.mark.parametrize("name", BAD)
def test_errors_reach_the_caller(client, name):
    change, status, expected = BAD[name]
    arguments = {"model_name": "echo", "inputs": [texts(b"x")], **change}
    with pytest.raises(InferenceServerException) as refused:
        client.infer(**arguments)
    assert refused.value.status() == f"StatusCode.{status}"
    assert expected in refused.value.message()


ABSENT = {
    "configuration": lambda client: client.get_model_config("echo"),
    "shared memory": lambda client: client.get_system_shared_memory_status(),
    "trace": lambda client: client.get_trace_settings(),
}


@pytest.mark.parametrize("name", ABSENT)
def test_what_is_not_done_is_said(client, name):
    with pytest.raises(InferenceServerException, match="no such method") as refused:
        ABSENT[name](client)
    assert refused.value.status() == "StatusCode.UNIMPLEMENTED"


def test_a_stream_is_refused(rpc_daemon):
    answers = queue.Queue()
    with closing(sync_client.InferenceServerClient(rpc_daemon.rpc)) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        result, error = answers.get(timeout=20)
        client.stop_stream()
    assert result is None
    assert "no such method" in error.message()


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


def idle(tasks):
    return not busy(tasks) and not waiting(tasks)


def latest(daemon, state):
    return next(task for task in daemon.http.get("/v1/tasks").json() if task["state"] == state)


def test_a_timeout_passes_in_the_queue(client, rpc_daemon, tmp_path):
    task = rpc_daemon.submit(f"hold:{tmp_path}/go")
    until(rpc_daemon, busy)
    try:
        with pytest.raises(InferenceServerException, match="did not start within 30000 micro") as late:
            client.infer("echo", [texts(b"x")], timeout=30_000)
        assert late.value.status() == "StatusCode.DEADLINE_EXCEEDED"
    finally:
        (tmp_path / "go").touch()
    assert rpc_daemon.task(task)["state"] == "succeeded"
    assert client.infer("echo", [texts(b"x")], timeout=10_000_000).as_numpy("text").tolist() == [b"X"]


def test_the_callers_own_deadline_ends_what_waits_and_what_runs(client, rpc_daemon, tmp_path):
    for _ in range(2):  # the first one runs, and the second waits behind it where the deadlines overlap
        with pytest.raises(InferenceServerException, match="Deadline Exceeded"):
            client.infer("echo", [texts(f"hold:{tmp_path}/never".encode())], client_timeout=0.3)
    until(rpc_daemon, idle)
    assert latest(rpc_daemon, "cancelled")["model"] == "echo"
    held = rpc_daemon.submit(f"hold:{tmp_path}/go")
    until(rpc_daemon, busy)
    with pytest.raises(InferenceServerException, match="Deadline Exceeded"):
        client.infer("echo", [texts(b"waits")], client_timeout=0.2)
    until(rpc_daemon, lambda tasks: waiting(tasks) == 0)
    (tmp_path / "go").touch()
    assert rpc_daemon.task(held)["state"] == "succeeded"


def test_who_hangs_up_cancels(rpc_daemon, tmp_path):
    with closing(sync_client.InferenceServerClient(rpc_daemon.rpc)) as client:
        calls = [
            client.async_infer("echo", [texts(f"hold:{tmp_path}/never".encode())], lambda *_: None)
            for _ in range(3)
        ]
        until(rpc_daemon, lambda tasks: busy(tasks) and waiting(tasks) == 2)
        for call in calls:
            call.cancel()
        until(rpc_daemon, idle)
    gone = rpc_daemon.http.get("/v1/tasks").json()[:3]
    assert [task["state"] for task in gone] == ["cancelled"] * 3


def test_a_task_that_another_cancels(rpc_daemon, tmp_path):
    with closing(sync_client.InferenceServerClient(rpc_daemon.rpc)) as client, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.infer, "echo", [texts(f"hold:{tmp_path}/never".encode())])
        until(rpc_daemon, busy)
        task = latest(rpc_daemon, "running")["id"]
        assert rpc_daemon.http.delete(f"/v1/tasks/{task}").status_code == 200
        with pytest.raises(InferenceServerException, match=f"task {task} was cancelled") as ended:
            asked.result(20)
        assert ended.value.status() == "StatusCode.CANCELLED"


def order_of(daemon, results):
    tasks = [daemon.task(result.get_response().parameters["task"].string_param) for result in results]
    return [task["priority"] for task in sorted(tasks, key=lambda task: task["start_order"])]


def test_priorities_of_the_sync_client(rpc_daemon, tmp_path):
    def ask(priority):
        with closing(sync_client.InferenceServerClient(rpc_daemon.rpc)) as client:
            return client.infer("echo", [texts(b"x")], priority=priority)

    rpc_daemon.submit(f"hold:{tmp_path}/go")
    until(rpc_daemon, busy)
    with ThreadPoolExecutor(4) as pool:
        asked = []
        try:
            for count, priority in enumerate((8, 1, 99, 3), 1):
                asked.append(pool.submit(ask, priority))
                until(rpc_daemon, lambda tasks, count=count: waiting(tasks) == count)
        finally:
            (tmp_path / "go").touch()
        assert order_of(rpc_daemon, [one.result() for one in asked]) == [1, 3, 5, 8]


def test_many_of_the_asyncio_client_at_once(rpc_daemon):
    async def ask():
        client = async_client.InferenceServerClient(rpc_daemon.rpc)
        try:
            results = await asyncio.gather(
                *(client.infer("echo", [texts(f"text {number}".encode())]) for number in range(64))
            )
        finally:
            await client.close()
        return [result.as_numpy("text").tolist() for result in results]

    assert asyncio.run(ask()) == [[f"TEXT {number}".encode()] for number in range(64)]


def test_probes_ask_for_health(rpc_daemon):
    def check(service):
        with grpc.insecure_channel(rpc_daemon.rpc) as channel:
            ask = channel.unary_unary("/grpc.health.v1.Health/Check")
            return ask(b"\x0a" + bytes([len(service)]) + service if service else b"", timeout=10)

    assert check(b"") == b"\x08\x01"  # SERVING
    assert check(b"inference.GRPCInferenceService") == b"\x08\x01"
    with pytest.raises(grpc.RpcError) as unknown:
        check(b"x")
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
