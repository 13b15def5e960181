"""The tasks API of a real daemon: many at once, keys, lists, events, cancelling, trying again."""

import json
import socket
import threading
from contextlib import ExitStack, contextmanager

import httpx
import pytest

from sluice_scheduler.happenings import MOST_FOLLOWERS

ENVIRONMENT = "test-echo-pt213-cpu"
OTHER = "test-other-pt213-cpu"


def named(text, **more):
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [text]}
    return {"model": "echo", "environment": ENVIRONMENT, "inputs": [tensor], **more}


def post(daemon, document, **headers):
    return daemon.http.post("/v1/tasks", json=document, headers=headers)


def events(lines):
    """Read server-sent events: (id, name, data)."""
    event = {}
    for line in lines:
        if not line and event:
            yield event.get("id"), event.get("event"), json.loads(event["data"])
            event = {}
        elif line and not line.startswith(":"):
            key, _, value = line.partition(": ")
            event[key] = value


@contextmanager
def followed(daemon, path="/v1/tasks/events", **options):
    with daemon.http.stream("GET", path, timeout=20, **options) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = response.iter_lines()
        assert next(lines) == ":"  # it follows from here on
        yield events(lines)


@contextmanager
def held(daemon, tmp_path):
    """Let the one instance be busy for as long as the block lasts."""
    task = daemon.submit(f"hold:{tmp_path}/go", environment=ENVIRONMENT, priority=1)
    daemon.running(task)
    try:
        yield task
    finally:
        (tmp_path / "go").touch()
        daemon.task(task)


def test_many_are_queued_in_their_order_and_answered(daemon):
    response = post(daemon, {"tasks": [named(text) for text in ("one", "two", "three")]})
    assert response.status_code == 202
    tasks = [daemon.task(task["id"]) for task in response.json()["tasks"]]
    assert [task["outputs"][0]["data"] for task in tasks] == [["ONE"], ["TWO"], ["THREE"]]


def test_one_bad_task_of_many_queues_none(daemon):
    before = daemon.http.get("/v1/tasks", params={"limit": 1}).json()
    response = post(daemon, {"tasks": [named("good"), named("bad", model="nothing")]})
    assert response.status_code == 400
    assert response.json()["error"].startswith("tasks[1]: no model 'nothing'")
    assert daemon.http.get("/v1/tasks", params={"limit": 1}).json() == before


def test_a_key_gives_the_same_task_and_another_request_is_refused(daemon):
    first = post(daemon, named("once"), **{"Idempotency-Key": '"k1"'})
    task = daemon.task(first.json()["id"])
    again = post(daemon, named("once", idempotency_key="k1"))
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json() == {key: task[key] for key in again.json()}
    for changed in (named("twice"), named("once", priority=2), named("once", deadline_seconds=60)):
        response = post(daemon, changed, **{"Idempotency-Key": "k1"})
        assert response.status_code == 422
        assert task["id"] in response.json()["error"]
    assert post(daemon, named("once"), **{"Idempotency-Key": "k2"}).status_code == 202


def test_keys_of_many_find_those_that_are_there(daemon):
    one = {"tasks": [named("a", idempotency_key="many-a")]}
    (first,) = post(daemon, one).json()["tasks"]
    both = {"tasks": [named("b", idempotency_key="many-b"), *one["tasks"]]}
    second = post(daemon, both)
    assert second.status_code == 202
    assert second.json()["tasks"][1]["id"] == first["id"]
    third = post(daemon, both)
    assert third.status_code == 200
    assert [task["id"] for task in third.json()["tasks"]] == [task["id"] for task in second.json()["tasks"]]


def test_one_key_at_once_from_many_makes_one_task(daemon):
    found, ready = [], threading.Barrier(8)

    def submit():
        with httpx.Client(base_url=daemon.http.base_url, trust_env=False, timeout=20) as client:
            ready.wait()
            found.append(client.post("/v1/tasks", json=named("crowd", idempotency_key="crowd")))

    threads = [threading.Thread(target=submit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {response.status_code for response in found} <= {200, 202}
    assert len({response.json()["id"] for response in found}) == 1


def test_a_deadline_is_shown(daemon):
    task = daemon.answer("soon", environment=ENVIRONMENT, deadline_seconds=60)
    assert task["deadline"] == pytest.approx(task["enqueued_at"] + 60)


def test_lists_are_filtered_and_paged(daemon):
    ids = [daemon.submit(f"page {n}", environment=OTHER, priority=7) for n in range(5)]
    for task in ids:
        daemon.task(task)
    wanted = {"environment": OTHER, "priority": 7, "state": "succeeded", "model": "echo", "limit": 2}
    pages, url = [], httpx.URL("/v1/tasks", params=wanted)
    while url is not None:
        response = daemon.http.get(url)
        pages.append([task["id"] for task in response.json()])
        url = response.links["next"]["url"] if response.links else None
    assert pages == [ids[4:2:-1], ids[2:0:-1], ids[:1]]
    whole = daemon.http.get("/v1/tasks", params={**wanted, "limit": 5})
    assert not whole.links
    first = daemon.task(ids[0])["enqueued_at"]
    since = daemon.http.get("/v1/tasks", params={**wanted, "limit": 9, "since": first}).json()
    until = daemon.http.get("/v1/tasks", params={**wanted, "until": first}).json()
    assert ([task["id"] for task in since], until) == (ids[::-1], [])
    assert daemon.http.get("/v1/tasks", params={"model": "nothing"}).json() == []


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("state=over", 400),
        ("limit=0", 400),
        ("limit=1001", 400),
        ("priority=0", 400),
        ("since=nan", 400),
        ("since=-1", 400),
        ("model=", 400),
        ("after=nothing", 404),
        (f"after={'x' * 65}", 400),
    ],
)
def test_filters_that_are_none_are_refused(daemon, query, status):
    response = daemon.http.get(f"/v1/tasks?{query}")
    assert response.status_code == status
    assert response.json()["error"]


def test_every_state_can_be_cancelled_but_the_end(daemon, tmp_path):
    with held(daemon, tmp_path) as running:
        queued = daemon.submit("never", environment=ENVIRONMENT)
        assert daemon.http.delete(f"/v1/tasks/{queued}").json()["state"] == "cancelled"
        assert daemon.http.delete(f"/v1/tasks/{running}").json()["state"] == "cancelled"
    assert daemon.http.delete(f"/v1/tasks/{queued}").json()["state"] == "cancelled"
    done = daemon.answer("done", environment=ENVIRONMENT)
    refused = daemon.http.delete(f"/v1/tasks/{done['id']}")
    assert refused.status_code == 409
    assert daemon.http.delete("/v1/tasks/nothing").status_code == 404


def test_a_failed_task_is_tried_again(daemon):
    failed = daemon.answer("refuse", environment=ENVIRONMENT)
    again = daemon.http.post(f"/v1/tasks/{failed['id']}/retry")
    assert again.status_code == 202
    assert (again.json()["id"], again.json()["state"]) == (failed["id"], "queued")
    task = daemon.task(failed["id"])
    assert (task["state"], task["attempts"]) == ("failed", 2)
    done = daemon.answer("fine", environment=ENVIRONMENT)
    assert daemon.http.post(f"/v1/tasks/{done['id']}/retry").status_code == 409
    assert daemon.http.post("/v1/tasks/nothing/retry").status_code == 404


def test_dead_letters_of_a_filter_are_tried_again(daemon):
    dead = [daemon.answer("refuse", environment=OTHER, priority=3)["id"] for _ in range(3)]
    wanted = {"environment": OTHER, "priority": 3}
    assert [
        task["id"] for task in daemon.http.get("/v1/tasks", params={"state": "failed", **wanted}).json()
    ] == dead[::-1]
    some = daemon.http.post("/v1/tasks/retry", params={**wanted, "limit": 2})
    assert some.status_code == 202
    assert [task["id"] for task in some.json()] == dead[:0:-1]
    assert [daemon.task(task)["attempts"] for task in dead] == [1, 2, 2]
    assert daemon.http.post("/v1/tasks/retry", params={"state": "queued"}).status_code == 400


def test_events_of_a_task_tell_its_states_and_end(daemon, tmp_path):
    with held(daemon, tmp_path):
        task = daemon.submit("told", environment=ENVIRONMENT)
        with followed(daemon, f"/v1/tasks/{task}/events") as told:
            heard = [next(told)]
            (tmp_path / "go").touch()
            heard += told
    assert [name for _, name, _ in heard] == ["queued", "running", "succeeded"]
    assert {data["id"] for *_, data in heard} == {task}
    assert "outputs" not in heard[-1][2]
    last = {"Last-Event-ID": heard[-1][0]}
    assert daemon.http.get(f"/v1/tasks/{task}/events", headers=last).status_code == 204
    with followed(daemon, f"/v1/tasks/{task}/events", headers={"Last-Event-ID": heard[0][0]}) as told:
        assert [name for _, name, _ in told] == ["succeeded"]


def test_events_of_a_filter_begin_now_and_go_on_after_a_break(daemon):
    wanted = {"environment": OTHER, "priority": 8}
    with followed(daemon, params=wanted) as told:
        daemon.answer("not heard", environment=OTHER, priority=2)
        task = daemon.answer("heard", environment=OTHER, priority=8)
        heard = [next(told) for _ in range(3)]
    assert [(data["id"], name) for _, name, data in heard] == [
        (task["id"], state) for state in ("queued", "running", "succeeded")
    ]
    missed = daemon.answer("missed", environment=OTHER, priority=8)["id"]
    with followed(daemon, params=wanted, headers={"Last-Event-ID": heard[1][0]}) as told:
        again = [next(told) for _ in range(4)]
    assert again[0] == heard[2]
    assert [data["id"] for *_, data in again[1:]] == [missed] * 3
    with followed(daemon, params=wanted, headers={"Last-Event-ID": "0-1"}) as told:
        assert next(told)[1] == "gap"


def test_events_of_nothing_are_404(daemon):
    response = daemon.http.get("/v1/tasks/nothing/events")
    assert response.status_code == 404
    assert "nothing" in response.json()["error"]


def test_one_follower_too_many_is_told_and_others_are_answered(daemon):
    limits = httpx.Limits(max_connections=MOST_FOLLOWERS + 1)
    with httpx.Client(base_url=daemon.http.base_url, trust_env=False, timeout=30, limits=limits) as client:
        asked = client.build_request("GET", "/v1/tasks/events")
        streams = [client.send(asked, stream=True) for _ in range(MOST_FOLLOWERS)]
        assert {stream.status_code for stream in streams} == {200}
        response = client.get("/v1/tasks/events")
        assert response.status_code == 503
        assert "Retry-After" in response.headers
        assert daemon.answer("still", environment=ENVIRONMENT)["state"] == "succeeded"
        for stream in streams:
            stream.close()


def test_events_end_when_the_scheduler_stops(start):
    with start() as daemon:
        daemon.wait_ready()
        with followed(daemon) as told:
            daemon.process.terminate()
            assert list(told) == []
        assert daemon.process.wait(10) == 0


def infer(text):
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [text]}
    content = json.dumps({"inputs": [tensor]}).encode()
    head = f"POST /v2/models/echo/infer?environment={ENVIRONMENT} HTTP/1.1\r\nHost: localhost\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


def latest(told, state):
    return next(data["id"] for _, name, data in told if name == state)


@pytest.mark.parametrize("state", ["queued", "running"])
def test_an_inference_whose_caller_hangs_up_is_cancelled(daemon, tmp_path, state):
    address = (daemon.http.base_url.host, daemon.http.base_url.port)
    with followed(daemon) as told, ExitStack() as holding:
        if state == "queued":
            holding.enter_context(held(daemon, tmp_path))
        with socket.create_connection(address) as client:
            client.sendall(infer(f"hold:{tmp_path}/never"))
            task = latest((event for event in told if event[2]["priority"] == 5), state)
        assert latest(told, "cancelled") == task
    assert daemon.answer("after", environment=ENVIRONMENT)["state"] == "succeeded"
