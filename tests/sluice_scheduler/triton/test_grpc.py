"""What is particular to NVIDIA's clients for gRPC."""

import queue
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

ENVIRONMENT = "test-echo-pt213-cpu"
pytestmark = pytest.mark.parametrize("spoken", ["gRPC"], indirect=True)


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


def test_repository_and_statistics(client, spoken):
    index = client.get_model_repository_index().models
    assert [(one.name, one.version, one.state) for one in index] == [
        ("echo", "1.0.0", "READY"),
        ("mirror", "2.1", "READY"),
    ]
    (before,) = client.get_inference_statistics("echo", "1.0.0").model_stats
    client.infer("echo", [spoken.texts(b"a", b"b")])
    (after,) = client.get_inference_statistics("echo").model_stats
    assert after.inference_count == before.inference_count + 2
    assert after.execution_count == before.execution_count + 1
    assert after.inference_stats.success.ns > before.inference_stats.success.ns
    assert after.last_inference > 1.7e12
    assert not after.inference_stats.HasField("compute_input")  # nothing measures it
    assert len(client.get_inference_statistics().model_stats) == 2


def test_texts_come_back(client, spoken):
    result = client.infer("echo", [spoken.texts(b"one", "zwei\u00e4".encode())])
    assert result.as_numpy("text").tolist() == [b"ONE", "ZWEI\u00e4".encode()]


def test_outputs_are_chosen_and_ordered(client, spoken):
    real, rows = np.array([1.0, 2.5]), np.array([[1, 2], [3, 4]], np.int32)
    inputs = [spoken.tensor("real", real, "FP64"), spoken.tensor("rows", rows, "INT32")]
    wanted = [spoken.api.InferRequestedOutput("rows"), spoken.api.InferRequestedOutput("real")]
    result = client.infer("mirror", inputs, outputs=wanted)
    assert [one.name for one in result.get_response().outputs] == ["rows", "real"]
    assert result.as_numpy("rows").tolist() == rows.tolist()
    assert result.as_numpy("real").tolist() == real.tolist()
    alone = client.infer("mirror", inputs, outputs=wanted[1:])
    assert [one.name for one in alone.get_response().outputs] == ["real"]


def test_an_environment_may_be_named(client, spoken):
    named = {"environment": ENVIRONMENT}
    result = client.infer("echo", [spoken.texts(b"x")], headers=named)
    assert result.get_response().parameters["environment"].string_param == ENVIRONMENT
    assert client.is_model_ready("echo", headers=named)
    with pytest.raises(InferenceServerException, match="no environment 'none' is served here"):
        client.get_model_metadata("echo", headers={"environment": "none"})


BAD = {
    "parameter": ({"parameters": {"colour": "red"}}, "INVALID_ARGUMENT", "'colour' is not taken here"),
    "negative timeout": ({"timeout": -1}, "INVALID_ARGUMENT", "timeout is a whole number from 0"),
    "compressed": ({"compression_algorithm": "gzip"}, "UNIMPLEMENTED", "gzip"),
}


@pytest.mark.parametrize("name", BAD)
def test_errors_reach_the_caller(client, spoken, name):
    change, status, expected = BAD[name]
    arguments = {"model_name": "echo", "inputs": [spoken.texts(b"x")], **change}
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


def test_a_stream_is_refused(spoken):
    answers = queue.Queue()
    with closing(spoken.client()) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        result, error = answers.get(timeout=20)
        client.stop_stream()
    assert result is None
    assert "no such method" in error.message()


def latest(daemon, state):
    return next(task for task in daemon.http.get("/v1/tasks").json() if task["state"] == state)


def test_the_callers_own_deadline_ends_what_waits_and_what_runs(client, spoken, rpc_daemon, tmp_path):
    for _ in range(2):  # the first one runs, and the second waits behind it where the deadlines overlap
        with pytest.raises(InferenceServerException, match="Deadline Exceeded"):
            client.infer("echo", [spoken.texts(f"hold:{tmp_path}/never".encode())], client_timeout=0.3)
    rpc_daemon.until(running=0, queued=0)
    assert latest(rpc_daemon, "cancelled")["model"] == "echo"
    held = rpc_daemon.submit(f"hold:{tmp_path}/go")
    rpc_daemon.until(running=1)
    with pytest.raises(InferenceServerException, match="Deadline Exceeded"):
        client.infer("echo", [spoken.texts(b"waits")], client_timeout=0.2)
    rpc_daemon.until(queued=0)
    (tmp_path / "go").touch()
    assert rpc_daemon.task(held)["state"] == "succeeded"


def test_who_hangs_up_cancels(spoken, rpc_daemon, tmp_path):
    with closing(spoken.client()) as client:
        calls = [
            client.async_infer("echo", [spoken.texts(f"hold:{tmp_path}/never".encode())], lambda *_: None)
            for _ in range(3)
        ]
        rpc_daemon.until(running=1, queued=2)
        for call in calls:
            call.cancel()
        rpc_daemon.until(running=0, queued=0)
    gone = rpc_daemon.http.get("/v1/tasks").json()[:3]
    assert [task["state"] for task in gone] == ["cancelled"] * 3


def test_a_task_that_another_cancels(spoken, rpc_daemon, tmp_path):
    with closing(spoken.client()) as client, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.infer, "echo", [spoken.texts(f"hold:{tmp_path}/never".encode())])
        rpc_daemon.until(running=1)
        task = latest(rpc_daemon, "running")["id"]
        assert rpc_daemon.http.delete(f"/v1/tasks/{task}").status_code == 200
        with pytest.raises(InferenceServerException, match=f"task {task} was cancelled") as ended:
            asked.result(20)
        assert ended.value.status() == "StatusCode.CANCELLED"
