"""A real daemon over a real channel: its answers, and what it says of bad requests."""

import base64
import json
import os
import time

import pytest

from sluice.digest import Digest

ENVIRONMENT = "test-echo-pt213-cpu"
OTHER = "test-other-pt213-cpu"


def text(*values):
    return {"name": "text", "datatype": "BYTES", "shape": [len(values)], "data": list(values)}


def post(daemon, document):
    return daemon.http.post("/v1/tasks", json={"environment": ENVIRONMENT, **document})


def test_a_task_is_answered_with_every_digest(daemon, channel):
    lock = daemon.http.get(f"{channel}/envs/{ENVIRONMENT}/pixi.lock").content
    task = daemon.answer("hello", environment=ENVIRONMENT)
    assert task["state"] == "succeeded"
    assert task["outputs"] == [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["HELLO"]}]
    assert task["digests"]["environment"] == Digest.of(lock).hex
    assert all(len(task["digests"][link]) == 64 for link in ("tree", "model", "profile", "input", "output"))
    assert task["priority"] == 5
    assert task["enqueued_at"] <= task["started_at"] <= task["finished_at"]
    assert task["queue_seconds"] >= 0
    assert task["run_seconds"] >= 0


def test_the_model_digest_is_of_its_package(daemon, channel):
    task = daemon.answer("x", environment=ENVIRONMENT)
    package = daemon.http.get(f"{channel}/noarch/echo-1.0-0.conda").content
    assert task["digests"]["model"] == Digest.of(package).hex


def test_equal_requests_give_equal_digests(daemon):
    first, second = (daemon.answer("same", environment=ENVIRONMENT)["digests"] for _ in range(2))
    assert first == second
    assert daemon.answer("else", environment=ENVIRONMENT)["digests"]["output"] != first["output"]


def test_accepted_says_where_to_look(daemon):
    response = post(daemon, {"model": "echo", "inputs": [text("x")]})
    assert response.status_code == 202
    assert response.json()["state"] in ("queued", "running", "succeeded")
    assert response.headers["location"] == f"/v1/tasks/{response.json()['id']}"


def test_nested_numbers_are_taken(daemon):
    pixels = {"name": "pixels", "datatype": "FP32", "shape": [2, 2], "data": [[1, 2], [3, 4.5]]}
    task = daemon.task(post(daemon, {"model": "echo", "inputs": [pixels]}).json()["id"])
    assert task["outputs"][0]["data"] == ["[1.0, 2.0]", "[3.0, 4.5]"]


def test_the_worker_gets_none_of_the_daemons_surroundings(daemon):
    told = json.loads(daemon.answer("surroundings", environment=ENVIRONMENT)["outputs"][0]["data"][0])
    assert "SLUICE_TEST_SECRET" not in told["env"]
    assert told["env"]["OMP_NUM_THREADS"] == "1"
    assert told["cwd"] == told["tmp"]
    assert told["cwd"].startswith(str(daemon.state / "tmp"))


@pytest.mark.parametrize("priority", [0, 1, 5, 9, None])
def test_priorities_that_are_taken(daemon, priority):
    response = post(daemon, {"model": "echo", "inputs": [text("x")], "priority": priority})
    assert response.status_code == 202
    assert response.json()["priority"] == (priority or 5)


BAD = {
    "priority too large": ({"priority": 10}, "priority is a whole number from 1"),
    "priority negative": ({"priority": -1}, "from 1 (most urgent) to 9"),
    "priority text": ({"priority": "5"}, "priority is a whole number"),
    "priority boolean": ({"priority": True}, "priority is a whole number"),
    "priority broken": ({"priority": 1.5}, "priority is a whole number"),
    "unknown model": ({"model": "nothing"}, "no model 'nothing' is served here; served: echo"),
    "no model": ({"model": None}, "model is the name"),
    "unknown environment": ({"environment": "nowhere"}, "no environment 'nowhere' is served here"),
    "unknown key": ({"prioritty": 1}, "unknown key 'prioritty'"),
    "no inputs": ({"inputs": None}, "inputs is a list of tensors, not null"),
    "empty inputs": ({"inputs": []}, "exactly one of text, pixels"),
    "wrong name": ({"inputs": [{**text("x"), "name": "txt"}]}, "no input 'txt'; expected 'text' BYTES [-1]"),
    "wrong type": (
        {"inputs": [{"name": "pixels", "datatype": "FP64", "shape": [1, 2], "data": [1, 2]}]},
        "tensor 'pixels' is FP64 [1, 2]; expected 'pixels' FP32 [-1, 2]",
    ),
    "wrong shape": (
        {"inputs": [{"name": "pixels", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]},
        "expected 'pixels' FP32 [-1, 2]",
    ),
    "data too short": (
        {"inputs": [{"name": "pixels", "datatype": "FP32", "shape": [1, 2], "data": [1]}]},
        "needs 2 elements, found 1",
    ),
    "batch too large": ({"inputs": [text(*["x"] * 9)]}, "batch of 1 to 8"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_requests_are_told_what_was_expected(daemon, name):
    change, expected = BAD[name]
    response = post(daemon, {"model": "echo", "inputs": [text("x")], **change})
    assert response.status_code == 400
    assert expected in response.json()["error"]
    assert "\n" not in response.json()["error"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"model": NaN}',
        b'{"model": ' + b"9" * 5000 + b"}",
    ],
    ids=["empty", "text", "list", "binary", "deep", "NaN", "digits"],
)
def test_what_is_no_request_is_refused(daemon, body):
    response = daemon.http.post("/v1/tasks", content=body)
    assert response.status_code == 400
    assert response.json()["error"]


def test_a_model_of_two_environments_needs_one_named(daemon):
    response = daemon.http.post("/v1/tasks", json={"model": "echo", "inputs": [text("x")]})
    assert response.status_code == 400
    assert f"{ENVIRONMENT}, {OTHER}" in response.json()["error"]


def test_the_named_environment_answers(daemon):
    one, other = (daemon.answer("x", environment=name) for name in (ENVIRONMENT, OTHER))
    assert one["digests"]["environment"] != other["digests"]["environment"]
    assert one["digests"]["model"] == other["digests"]["model"]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_request_over_the_limit_is_refused(daemon, chunked):
    body = b" " * ((8 << 20) + 1)
    content = iter([body]) if chunked else body
    response = daemon.http.post("/v1/tasks", content=content)
    assert response.status_code == 413
    assert "8388608 bytes" in response.json()["error"]


def test_a_large_request_is_answered(daemon):
    task = daemon.answer("a" * 4_000_000, environment=ENVIRONMENT)
    assert task["outputs"][0]["data"] == ["A" * 4_000_000]


def test_a_refused_input_fails_with_the_models_words(daemon):
    task = daemon.answer("refuse", environment=ENVIRONMENT)
    assert (task["state"], task["outputs"]) == ("failed", None)
    assert "cannot read this text" in task["error"]
    assert task["digests"]["environment"]


def test_an_answer_that_is_none_fails(daemon):
    task = daemon.answer("wrong", environment=ENVIRONMENT)
    assert task["state"] == "failed"
    assert "bytes" in task["error"]


def test_a_task_that_kills_its_worker_is_given_up_and_others_go_on(daemon):
    task = daemon.answer("die", environment=ENVIRONMENT)
    assert (task["state"], task["attempts"]) == ("failed", 3)
    assert "the worker is gone, 3 times" in task["error"]
    assert daemon.answer("after", environment=ENVIRONMENT)["state"] == "succeeded"


def test_unknown_tasks_and_paths_are_404(daemon):
    for path in ("/v1/tasks/nothing", "/v1/tasks/nothing/record", "/v2/nothing"):
        response = daemon.http.get(path)
        assert response.status_code == 404
        assert set(response.json()) == {"error"}
    assert daemon.http.delete("/v1/tasks/nothing").status_code == 404


@pytest.mark.parametrize("wait", ["-1", "nan", "inf", "x", "1e9"])
def test_a_wait_that_is_none_is_400(daemon, wait):
    response = daemon.http.get("/v1/tasks/x", params={"wait": wait})
    assert response.status_code == 400
    assert "wait" in response.json()["error"]


def test_waiting_ends_with_its_time(daemon, tmp_path):
    task = daemon.submit(f"hold:{tmp_path}/go", environment=ENVIRONMENT)
    began = time.monotonic()
    assert daemon.task(task, wait=0.3)["state"] == "running"
    assert 0.25 < time.monotonic() - began < 5
    (tmp_path / "go").touch()
    assert daemon.task(task)["state"] == "succeeded"


def test_models_and_environments_are_listed(daemon):
    models = daemon.http.get("/v1/models").json()
    assert [(model["name"], model["environment"]) for model in models] == [
        ("echo", ENVIRONMENT),
        ("echo", OTHER),
    ]
    assert models[0]["package"] == "echo-1.0-0.conda"
    assert models[0]["inputs"][1] == {
        "name": "pixels",
        "datatype": "FP32",
        "shape": [-1, 2],
        "optional": True,
    }
    environments = daemon.http.get("/v1/environments").json()
    assert [item["name"] for item in environments] == [ENVIRONMENT, OTHER]
    assert environments[0]["ready"]
    listed = daemon.http.get("/v1/tasks", params={"limit": 3}).json()
    assert len(listed) == 3
    assert listed[0]["enqueued_at"] >= listed[1]["enqueued_at"]
    assert daemon.http.get("/health/live").json() == {"live": True}


def test_a_record_holds_inputs_outputs_and_every_link(daemon, channel):
    task = daemon.answer("kept", environment=ENVIRONMENT)
    record = daemon.http.get(f"/v1/tasks/{task['id']}/record").json()
    assert record["digests"] == task["digests"]
    assert record["lock_url"] == f"{channel}/envs/{ENVIRONMENT}/{record['digests']['environment']}.lock"
    assert base64.b64decode(record["inputs"][0]["base64"]) == b"\4\0\0\0kept"
    assert base64.b64decode(record["outputs"][0]["base64"]) == b"\4\0\0\0KEPT"
    assert record["profile"]["threads"] == 1


def test_a_task_without_an_answer_has_no_record(daemon):
    task = daemon.answer("refuse", environment=ENVIRONMENT)
    response = daemon.http.get(f"/v1/tasks/{task['id']}/record")
    assert response.status_code == 409


def test_nothing_is_written_into_the_environment(daemon):
    daemon.answer("x", environment=ENVIRONMENT)
    (prefix,) = {
        item["prefix"] for item in daemon.http.get("/v1/environments").json() if item["name"] == ENVIRONMENT
    }
    assert not [name for _, _, files in os.walk(prefix) for name in files if name.endswith(".pyc")]
