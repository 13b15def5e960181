"""kill -9 of a daemon under load, again and again: every accepted task ends exactly once, every answer stays.

SLUICE_KILLS says how often (5 of each store where it is not set).
"""

import os
import random
import signal
import socket
import threading
import time
from contextlib import suppress

import httpx
import pytest

KILLS = int(os.environ.get("SLUICE_KILLS", "5"))
CLIENTS = 6
ASKERS = 2  # more clients, who wait for an answer and are promised nothing before it
ASKED = 5  # their priority, and nobody else's
FIELDS = ("id", "state", "start_order", "finished_at", "outputs", "error")


class Client(threading.Thread):
    """Submits tasks one after the other, each until it is accepted, and waits for each until it has ended."""

    def __init__(self, number, url, enough):
        super().__init__(daemon=True)
        self.number = number
        self.url = url
        self.enough = enough  # begin nothing more
        self.late = float("inf")  # when to give up
        self.ended = {}  # by the task's id: text, and the answer as it was first seen
        self.asked_again = 0
        self.error = None

    def run(self):
        try:
            with httpx.Client(base_url=self.url, trust_env=False, timeout=10) as http:
                count = 0
                while not self.enough.is_set():
                    self.one(http, f"{self.number}.{count}", count)
                    count += 1
        except (AssertionError, TimeoutError, ValueError, LookupError) as error:
            self.error = error

    def one(self, http, key, count):
        text = "sleep:0.02" if count % 5 == 0 else key
        tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [text]}
        priority = [1, 2, 3, 4, 6, 7, 8, 9][count % 8]
        body = {"model": "echo", "inputs": [tensor], "priority": priority, "idempotency_key": key}
        task = self.until(lambda: http.post("/v1/tasks", json=body), (200, 202))["id"]
        while (answer := self.until(lambda: http.get(f"/v1/tasks/{task}?wait=5"), (200,)))["state"] in (
            "queued",
            "running",
        ):
            pass
        assert task not in self.ended, "one id for two keys"
        self.ended[task] = text, {name: answer.get(name) for name in FIELDS}

    def until(self, ask, fine):
        """Ask until there is an answer; a daemon that is down or starting is asked again."""
        while time.monotonic() < self.late:
            with suppress(httpx.TransportError):
                response = ask()
                if response.status_code in fine:
                    return response.json()
                assert response.status_code == 503, response.text
                assert response.headers["retry-after"]
            self.asked_again += 1
            time.sleep(0.15)
        raise TimeoutError("the task did not end")


class Asker(Client):
    """Infers, and does not come back for what it was not answered."""

    def one(self, http, key, count):
        text = f"asked {key} {count}"
        tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [text]}
        body = {"inputs": [tensor], "parameters": {"priority": ASKED}}
        answer = self.until(lambda: http.post("/v2/models/echo/infer", json=body), (200,))
        task = answer["parameters"]["task"]
        assert task not in self.ended, "one id for two answers"
        self.ended[task] = text, {"id": task, "state": "succeeded", "outputs": answer["outputs"]}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def end(clients, enough, seconds):
    enough.set()
    for client in clients:
        client.late = time.monotonic() + seconds
    for client in clients:
        client.join(seconds + 15)


def all_tasks(http):
    tasks = []
    while page := http.get(
        "/v1/tasks", params={"limit": 500, **({"after": tasks[-1]["id"]} if tasks else {})}
    ).json():
        tasks += page
    return tasks


@pytest.mark.timeout(60 + 20 * KILLS)
@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_every_accepted_task_ends_exactly_once(start, store, request):
    port, enough, chance = free_port(), threading.Event(), random.Random(KILLS)
    options = ["--port", str(port), "--instances", "2"]
    if store == "redis":
        options += ["--queue", request.getfixturevalue("start_redis")().url]
    kinds = [*[Client] * CLIENTS, *[Asker] * ASKERS]
    clients = [kind(number, f"http://127.0.0.1:{port}", enough) for number, kind in enumerate(kinds)]
    began = time.monotonic()
    for client in clients:
        client.start()
    try:
        for kill in range(KILLS):
            with start(*options) as daemon:
                if kill % 5 == 4:  # while it starts
                    time.sleep(chance.uniform(0, 2))
                else:
                    daemon.wait_ready()
                    time.sleep(chance.uniform(0, 0.6))
                assert daemon.end(signal.SIGKILL) == -signal.SIGKILL
            assert [client.error for client in clients] == [None] * len(clients)
        with start(*options) as daemon:
            daemon.wait_ready()
            end(clients, enough, 60)
            took = time.monotonic() - began
            assert [client.error for client in clients] == [None] * len(clients)
            ended = {task: seen for client in clients for task, seen in client.ended.items()}
            tasks = {task["id"]: task for task in all_tasks(daemon.http)}
            assert tasks.keys() >= ended.keys()  # none lost
            unheard = tasks.keys() - ended.keys()  # ended, and whoever asked was gone
            assert {tasks[task]["priority"] for task in unheard} <= {ASKED}
            answered = sum(tasks[task]["priority"] == ASKED for task in ended)
            orders = [task["start_order"] for task in tasks.values()]
            assert len({*orders}) == len(orders)
            failed = 0
            for task, (text, seen) in ended.items():
                now = daemon.task(task, wait=0)
                assert {name: now.get(name) for name in seen} == seen  # nothing was answered anew
                receipt = daemon.http.get(f"/v1/tasks/{task}/receipt")
                if seen["state"] == "succeeded":
                    assert seen["outputs"][0]["data"] == [text.upper()]
                    assert receipt.status_code == 200
                else:
                    assert (seen["state"], receipt.status_code) == ("failed", 409)
                    assert "3 times" in seen["error"]
                    failed += 1
            again = sum(task["attempts"] > 1 for task in tasks.values())
    finally:
        end(clients, enough, 0)
    print(  # noqa: T201 - shown with -s
        f"{store}: {KILLS} kills in {took:.0f} s; {len(ended) - answered} tasks accepted, as many ended, {answered} "
        f"inferences answered, {len(unheard)} more ended unheard; {again} begun "
        f"again, {failed} given up after 3 attempts; clients asked again {sum(c.asked_again for c in clients)} times"
    )
    assert len(ended) - answered > KILLS
    assert answered > KILLS
