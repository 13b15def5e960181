"""The Open Inference Protocol over HTTP, against a real daemon: what no client would send, and what each call says."""

import json
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from sluice_scheduler.testing import eventually

ENVIRONMENT = "test-echo-pt213-cpu"
OTHER = "test-other-pt213-cpu"
HEADER = "Inference-Header-Content-Length"
ECHO = "/v2/models/echo/infer"


@pytest.fixture(scope="module")
def one(oip_daemon):
    return oip_daemon.http


def text(*values, **more):
    return {"name": "text", "datatype": "BYTES", "shape": [len(values)], "data": list(values), **more}


def infer(http, *values, **more):
    return http.post(ECHO, json={"inputs": [text(*values)], **more})


def test_an_answer_names_its_task_and_receipt(one):
    response = infer(one, "a", "b", id="mine")
    assert response.status_code == 200
    answer = response.json()
    parameters = answer.pop("parameters")
    assert answer == {
        "model_name": "echo",
        "model_version": "1.0.0",
        "id": "mine",
        "outputs": [{"name": "text", "datatype": "BYTES", "shape": [2], "data": ["A", "B"]}],
    }
    assert parameters["environment"] == ENVIRONMENT
    task = one.get(f"/v1/tasks/{parameters['task']}").json()
    assert (task["state"], task["priority"]) == ("succeeded", 5)
    assert one.get(parameters["receipt"]).status_code == 200


def test_metadata_and_health(one):
    assert one.get("/v2/health/live").json() == {"live": True}
    assert one.get("/v2/health/ready").json() == {"ready": True}
    assert "binary_tensor_data" in one.get("/v2").json()["extensions"]
    shown = one.get("/v2/models/echo/versions/1.0.0").json()
    assert (shown["name"], shown["versions"]) == ("echo", ["1.0.0"])
    assert shown["inputs"][1] == {"name": "pixels", "datatype": "FP32", "shape": [-1, 2], "optional": True}
    assert shown == one.get("/v2/models/echo").json()
    assert one.get("/v2/models/echo/ready").json() == {"name": "echo", "ready": True}


@pytest.mark.parametrize("path", ["", "/ready", "/stats"])
@pytest.mark.parametrize("model", ["nothing", "echo/versions/9", "nothing/versions/1", "%00", "a" * 3000])
def test_unknown_models_are_404(one, model, path):
    response = one.get(f"/v2/models/{model}{path}")
    assert response.status_code == 404
    assert "no model" in response.json()["error"]
    assert len(response.json()["error"]) < 3500


def test_inferring_with_an_unknown_model_is_404(one):
    for model in ("nothing", "echo/versions/2"):
        response = one.post(f"/v2/models/{model}/infer", json={"inputs": [text("x")]})
        assert response.status_code == 404
        assert "served: " in response.json()["error"]


def test_a_version_may_be_named(one):
    response = one.post("/v2/models/echo/versions/1.0.0/infer", json={"inputs": [text("x")]})
    assert response.json()["outputs"][0]["data"] == ["X"]


def test_a_model_of_two_environments_needs_one_named(daemon):
    request = {"inputs": [text("x")]}
    for response in (daemon.http.post(ECHO, json=request), daemon.http.get("/v2/models/echo")):
        assert response.status_code == 400
        assert f"{ENVIRONMENT}, {OTHER}" in response.json()["error"]
    for environment in (ENVIRONMENT, OTHER):
        response = daemon.http.post(ECHO, params={"environment": environment}, json=request)
        assert response.json()["parameters"]["environment"] == environment
    counted = daemon.http.get("/v2/models/echo/stats", params={"environment": OTHER}).json()["model_stats"]
    assert [item["environment"] for item in counted] == [OTHER]
    assert daemon.http.get("/v2/models/echo", params={"environment": "x"}).status_code == 400


def test_the_index_lists_models(one):
    index = one.post("/v2/repository/index").json()
    assert [(item["name"], item["version"], item["state"]) for item in index] == [
        ("echo", "1.0.0", "READY"),
        ("mirror", "2.1", "READY"),
    ]
    assert one.post("/v2/repository/index", json={"ready": True}).json() == index


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"ready": 1}', b'{"name": "x"}', b"[" * 4000, b"\xff"])
def test_an_index_request_that_is_none_is_400(one, body):
    response = one.post("/v2/repository/index", content=body)
    assert response.status_code == 400
    assert response.json()["error"]


def test_what_a_load_is_given_is_looked_at(one):
    for verb in ("load", "unload"):
        path = f"/v2/repository/models/echo/{verb}"
        assert one.post(path, json={"parameters": {"config": "{}"}}).status_code == 501
        assert one.post(path, json={"parameters": []}).status_code == 400
        assert one.post(path, content=b"{").status_code == 400
        assert one.post(path.replace("echo", "nothing")).status_code == 404
    assert one.get("/v2/models/echo/ready").status_code == 200


def stats(http, model="echo"):
    (counted,) = http.get(f"/v2/models/{model}/stats").json()["model_stats"]
    return counted


def test_statistics_count_rows_tasks_and_failures(one):
    before = stats(one)
    assert infer(one, "sleep:0.05", "b", "c").status_code == 200
    assert infer(one, "refuse").status_code == 400
    after = stats(one)
    assert after["inference_count"] - before["inference_count"] == 3
    for name, more in (("success", 1), ("fail", 1), ("queue", 1), ("compute_infer", 1)):
        assert after["inference_stats"][name]["count"] - before["inference_stats"][name]["count"] == more
    spent = {
        name: after["inference_stats"][name]["ns"] - before["inference_stats"][name]["ns"]
        for name in ("success", "queue", "compute_infer")
    }
    assert 50_000_000 <= spent["compute_infer"] <= spent["success"] - spent["queue"] + 1_000_000
    assert abs(after["last_inference"] / 1000 - time.time()) < 60
    assert {3} <= {batch["batch_size"] for batch in after["batch_stats"]}


def test_tasks_are_counted_too(oip_daemon, one):
    before = stats(one)["inference_stats"]["success"]["count"]
    oip_daemon.answer("x")
    eventually(lambda: stats(one)["inference_stats"]["success"]["count"] == before + 1)


def test_a_refused_input_is_400_and_a_broken_model_500(one):
    refused = infer(one, "refuse")
    assert refused.status_code == 400
    assert "cannot read this text" in refused.json()["error"]
    broken = infer(one, "wrong")
    assert broken.status_code == 500
    assert "bytes" in broken.json()["error"]


def test_a_worker_that_is_lost_is_500(one):
    response = infer(one, "die")
    assert response.status_code == 500
    assert "the worker is gone, 3 times" in response.json()["error"]
    assert infer(one, "after").status_code == 200


def held(daemon, pool, path, **more):
    """Keep the one worker of the echo environment busy until the file is there."""
    holding = pool.submit(infer, daemon.http, f"hold:{path}", **more)
    daemon.until(running=1)
    return holding


def test_a_task_that_does_not_start_in_time_is_cancelled_and_503(oip_daemon, tmp_path):
    go = tmp_path / "go"
    with ThreadPoolExecutor() as pool:
        holding = held(oip_daemon, pool, go)
        try:
            failed = stats(oip_daemon.http)["inference_stats"]["fail"]["count"]
            late = infer(oip_daemon.http, "x", parameters={"timeout": 50_000})
        finally:
            go.touch()
        assert holding.result().status_code == 200
    assert late.status_code == 503
    assert "did not start within 50000 microseconds" in late.json()["error"]
    assert oip_daemon.http.get("/v1/tasks", params={"limit": 1}).json()[0]["state"] == "cancelled"
    assert stats(oip_daemon.http)["inference_stats"]["fail"]["count"] == failed + 1


def test_a_task_that_runs_longer_than_its_timeout_is_answered(one):
    response = infer(one, "sleep:0.4", parameters={"timeout": 300_000})
    assert response.status_code == 200


def test_priorities_order_what_waits(oip_daemon, tmp_path):
    go = tmp_path / "go"
    with ThreadPoolExecutor(8) as pool:
        holding = held(oip_daemon, pool, go)
        answers = []
        try:
            for count, priority in enumerate((9, 1, 0), 1):
                more = {"parameters": {"priority": priority}}
                answers.append(pool.submit(infer, oip_daemon.http, str(priority), **more))
                oip_daemon.until(queued=count)
        finally:
            go.touch()
        assert holding.result().status_code == 200
        ids = [answer.result().json()["parameters"]["task"] for answer in answers]
    tasks = [oip_daemon.task(task) for task in ids]
    assert [task["priority"] for task in tasks] == [9, 1, 5]
    order = [task["start_order"] for task in tasks]
    assert order[1] < order[2] < order[0]


def test_a_task_that_somebody_cancels_is_400(oip_daemon, tmp_path):
    with ThreadPoolExecutor() as pool:
        holding = held(oip_daemon, pool, tmp_path / "never")
        (running,) = [task for task in oip_daemon.http.get("/v1/tasks").json() if task["state"] == "running"]
        oip_daemon.http.delete(f"/v1/tasks/{running['id']}")
        response = holding.result()
    assert response.status_code == 400
    assert "was cancelled" in response.json()["error"]


def test_stopping_drops_what_only_its_caller_waited_for(start, tmp_path):
    with start() as daemon, ThreadPoolExecutor() as pool:
        daemon.wait_ready()
        holding = held(daemon, pool, tmp_path / "go")
        waiting = pool.submit(infer, daemon.http, "x")
        daemon.until(queued=1)
        daemon.process.terminate()
        eventually(lambda: daemon.http.get("/v2/health/ready").status_code != 200)
        assert infer(daemon.http, "late").status_code == 503
        (tmp_path / "go").touch()
        assert holding.result().status_code == 200
        dropped = waiting.result()
        assert dropped.status_code == 503
        assert "stopping" in dropped.json()["error"]
        assert daemon.process.wait(20) == 0


BAD = {
    "empty": (b"", {}, "not JSON"),
    "list": (b"[]", {}, "not a list"),
    "deep": (b"[" * 10_000 + b"]" * 10_000, {}, "not JSON"),
    "deep objects": (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, {}, "not JSON"),
    "NaN": (b'{"inputs": [NaN]}', {}, "the request is not JSON"),
    "binary": (b"\xff\xfe\xfd", {}, "UTF-8"),
    "long number": (b'{"id": ' + b"9" * 5000 + b"}", {}, "not JSON"),
    "header beyond": (b"{}", {HEADER: "3"}, "the request has 2 bytes"),
    "header of nothing": (b"{}", {HEADER: "0"}, "not JSON"),
    "header negative": (b"{}", {HEADER: "-1"}, "a whole number of bytes"),
    "header huge": (b"{}", {HEADER: "9" * 4000}, "a whole number of bytes"),
    "header cuts": (b'{"inputs": []}', {HEADER: "5"}, "not JSON"),
    "nothing given": (b'{"inputs": []}', {}, "exactly one of text, pixels"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_request_is_400(one, name):
    body, headers, expected = BAD[name]
    response = one.post(ECHO, content=body, headers=headers)
    assert response.status_code == 400
    assert expected in response.json()["error"]
    assert "\n" not in response.json()["error"]


def test_two_header_lengths_are_400(one):
    response = one.post(ECHO, content=b"{}", headers=[(HEADER, "2"), (HEADER, "1")])
    assert response.status_code == 400
    assert "given once" in response.json()["error"]


def pixels(shape, data, **more):
    return {"inputs": [{"name": "pixels", "datatype": "FP32", "shape": shape, "data": data, **more}]}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (pixels([1, 3], [1, 2, 3]), "expected 'pixels' FP32 [-1, 2]"),
        (pixels([2], [1, 2]), "expected 'pixels' FP32 [-1, 2]"),
        (pixels([1, 2], [1, 2], datatype="FP64"), "expected 'pixels' FP32 [-1, 2]"),
        (pixels([1, 2], [1, True]), "element 1 is True"),
        (pixels([0, 2], []), "a batch of 1 to 8, not 0"),
        (pixels([1, 0], []), "expected 'pixels' FP32 [-1, 2]"),
        (pixels([9, 2], [1] * 18), "a batch of 1 to 8, not 9"),
        (pixels([1, 2], [1, 1e300]), "outside FP32's range"),
        (pixels([1 << 62, 1 << 62], []), "whole numbers"),
        ({**pixels([1, 2], [1, 2]), "outputs": [{"name": "label"}]}, "no output 'label'; it has text"),
        ({**pixels([1, 2], [1, 2]), "parameters": {"sequence_id": 1}}, "'sequence_id' is not taken"),
    ],
)
def test_tensors_that_do_not_fit_are_400(one, document, expected):
    response = one.post(ECHO, json=document)
    assert response.status_code == 400
    assert expected in response.json()["error"]


def test_numbers_that_are_not_finite_go_through_in_binary_and_by_name(one):
    numbers = struct.pack("<4d", float("nan"), float("inf"), float("-inf"), -0.0)
    tensor = {"name": "real", "datatype": "FP64", "shape": [4], "parameters": {"binary_data_size": 32}}
    header = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    sent = {HEADER: str(len(header))}
    response = one.post("/v2/models/mirror/infer", content=header + numbers, headers=sent)
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.content[int(response.headers[HEADER]) :] == numbers
    header = json.dumps({"inputs": [tensor]}).encode()
    sent = {HEADER: str(len(header))}
    response = one.post("/v2/models/mirror/infer", content=header + numbers, headers=sent)
    assert HEADER not in response.headers
    assert response.json()["outputs"][0]["data"] == ["NaN", "Infinity", "-Infinity", 0.0]


def test_a_compressed_request_is_415(one):
    response = one.post(ECHO, content=b"{}", headers={"Content-Encoding": "gzip"})
    assert response.status_code == 415
    assert "'gzip' is not taken" in response.json()["error"]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_request_over_the_limit_is_413(one, chunked):
    body = b" " * ((8 << 20) + 1)
    response = one.post(ECHO, content=iter([body]) if chunked else body)
    assert response.status_code == 413


def test_two_gigabytes_are_refused_before_they_are_sent(one):
    host, port = one.base_url.host, one.base_url.port
    with socket.create_connection((host, port), timeout=10) as sock:
        sock.sendall(
            b"POST /v2/models/echo/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2147483648\r\n\r\n{"
        )
        assert sock.recv(100).startswith(b"HTTP/1.1 413 ")
    assert infer(one, "after").status_code == 200
