"""Newer locks replace what a real daemon serves, whole or not at all."""

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
from typer.testing import CliRunner

from sluice.errors import SluiceError
from sluice.receipt import Receipt, published
from sluice_scheduler.cli import app
from sluice_scheduler.testing import eventually

ENVIRONMENT = "test-turn-pt213-cpu"
FLIPS = int(os.environ.get("SLUICE_TEST_FLIPS", "10"))
CLIENTS = 4


def scheduler(*arguments, status=0):
    """Run a command in this process; returns what it wrote, or the message it failed with."""
    done = CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "250"})
    assert done.exit_code == status, (done.output, done.exception)
    return str(done.exception) if isinstance(done.exception, SluiceError) else done.output


def test_a_newer_lock_is_served_and_rolled_back_and_does_not_come_back_by_itself(follow, packed):
    first = packed.publish("one")
    with follow() as daemon:
        assert daemon.tag() == "one"
        second = packed.publish("two")
        one = daemon.until(lambda one: one["lock"] == second)
        assert (daemon.tag(), one["generation"], one["refused"]) == ("two", 2, None)
        assert daemon.order("rollback").json() == {
            "environment": ENVIRONMENT,
            "outcome": "rolled back",
            "generation": 1,
            "reason": "",
        }
        assert daemon.tag() == "one"
        looks = packed.looks()
        eventually(lambda: packed.looks() >= looks + 4)  # at the channel, which has the second still
        assert daemon.environment()["lock"] == first
        third = packed.publish("three")
        daemon.until(lambda one: one["lock"] == third)
        assert daemon.order("rollback", to=1).json()["outcome"] == "rolled back"
        assert daemon.order("deploy").json() == {
            "environment": ENVIRONMENT,
            "outcome": "deployed",
            "generation": 4,
            "reason": "",
        }
        assert daemon.order("deploy").json()["outcome"] == "unchanged"
        assert daemon.tag() == "three"
        told = [(one["generation"], one["outcome"], one["who"]) for one in daemon.versions()]
        assert told == [
            *((4, "deployed", "operator"), (1, "rolled back", "operator"), (3, "deployed", "channel")),
            *((1, "rolled back", "operator"), (2, "deployed", "channel"), (1, "deployed", "channel")),
        ]
        assert daemon.http.get("/v1/versions/verify").json()["lines"] == 6
        assert daemon.order("rollback", to=9).status_code == 409
        assert daemon.http.post("/v1/environments/none/deploy").status_code == 404


REFUSED = {
    "unloadable": "these weights are no good",
    "differing": "its package promises ffffffffffff",
    "incompatible": "its signature is not compatible: model 'turn': output 'text' is gone",
}


def test_what_cannot_stand_in_is_refused_and_says_why(follow, packed):
    packed.publish("one")
    with follow() as daemon:
        for name, reason in REFUSED.items():
            digest = packed.publish(name)
            one = daemon.until(lambda one, reason=reason: reason in (one["refused"] or ""))
            assert (daemon.tag(), one["generation"], one["ready"]) == ("one", 1, True)
            assert reason in daemon.daemon.log()
            (entry, *_) = daemon.versions()
            assert (entry["outcome"], entry["lock"]) == ("refused", digest)
            assert reason in entry["reason"]
        answer = daemon.order("deploy")
        assert (answer.status_code, answer.json()["outcome"]) == (409, "refused")
        assert daemon.order("deploy", any_signature=True).json()["outcome"] == "deployed"
        assert daemon.environment()["refused"] is None
        assert daemon.ask()["outputs"][0]["name"] == "words"
        assert daemon.order("rollback").json()["outcome"] == "rolled back"
        assert daemon.tag() == "one"


class Load:
    """Clients that ask without a pause and keep what they were answered."""

    def __init__(self, url):
        self.url = url
        self.answers, self.wrong = [], []
        self._stop = threading.Event()

    def __enter__(self):
        self._pool = ThreadPoolExecutor(CLIENTS)
        self._clients = [self._pool.submit(self._ask, number) for number in range(CLIENTS)]
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._pool.shutdown()
        for client in self._clients:
            client.result()

    def _ask(self, number):
        with httpx.Client(base_url=self.url, trust_env=False, timeout=60) as http:
            while not self._stop.is_set():
                text = f"{number} {len(self.answers)}"
                body = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": [text]}]}
                response = http.post("/v2/models/turn/infer", json=body)
                if response.status_code == 200:
                    self.answers.append((text, response.json()))
                else:
                    self.wrong.append(response.text)


def test_flips_under_load_fail_nothing_and_mix_nothing(follow, packed):
    names = ("one", "two", "three")
    tag_of = {packed.publish(name): name for name in reversed(names)}
    with follow("--instances", "2") as daemon, Load(str(daemon.http.base_url)) as load:
        for flip in range(1, FLIPS + 1):
            lock = packed.publish(names[flip % 3])
            daemon.until(lambda one, lock=lock: one["lock"] == lock)
            enough = len(load.answers) + CLIENTS
            eventually(lambda enough=enough: len(load.answers) >= enough)
        keys = published.parse(daemon.http.get("/v1/keys").content, "keys")
        generations = {}
        for text, answer in list(load.answers):
            receipt = Receipt.parse(daemon.http.get(answer["parameters"]["receipt"]).content)
            assert receipt.verify(keys)
            told = receipt.answer
            tag = tag_of[told.lock.hex]
            assert answer["outputs"][0]["data"] == [f"{tag}: {text}"]
            assert answer["model_version"] == tag
            assert told.package == f"turn-1.0-{tag}_0.conda"
            links = (told.tree.hex, told.package_digest.hex, told.lock_url)
            assert generations.setdefault(told.lock.hex, links) == links
        assert load.wrong == []
        assert set(generations) == set(tag_of)
        assert len({links[:2] for links in generations.values()}) == len(names)
        assert daemon.environment()["generation"] == FLIPS + 1
        assert daemon.http.get("/v1/versions/verify").json()["lines"] == FLIPS + 1


def test_the_old_generation_finishes_its_work_and_is_gone(follow, packed, tmp_path):
    packed.publish("one")
    with follow() as daemon:
        held = daemon.http.post(
            "/v1/tasks",
            json={
                "model": "turn",
                "inputs": [
                    {"name": "text", "datatype": "BYTES", "shape": [1], "data": [f"hold {tmp_path}/go"]}
                ],
            },
        ).json()["id"]
        daemon.daemon.running(held)
        second = packed.publish("two")
        daemon.until(lambda one: one["lock"] == second)
        assert daemon.tag() == "two"
        both = len(daemon.processes())
        named = "/v2/models/turn/versions/two/infer"
        body = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["x"]}]}
        assert daemon.http.post(named, json=body).json()["model_version"] == "two"
        assert daemon.http.post(named.replace("two", "one"), json=body).status_code == 404
        (tmp_path / "go").touch()
        assert daemon.daemon.task(held)["outputs"][0]["data"] == [f"one: hold {tmp_path}/go"]
        eventually(lambda: len(daemon.processes()) != both)


def test_a_channel_that_is_gone_does_not_matter_also_at_the_start(packed, store, daemons, serving, tmp_path):
    packed.publish("one")
    state = tmp_path / "state"
    with serving(packed.root) as url, daemons(url, store, state, environments=(ENVIRONMENT,)) as daemon:
        assert daemon.wait_ready().http.get("/v1/environments").json()[0]["generation"] == 1
    with daemons(url, store, state, "--watch-seconds", "0.05", environments=(ENVIRONMENT,)) as daemon:
        daemon.wait_ready()
        eventually(lambda: "what is served goes on being served" in daemon.log(), told=daemon.log)
        assert daemon.answer("x", model="turn")["outputs"][0]["data"] == ["one: x"]


def test_the_command_line(follow, packed):
    packed.publish("one")
    with follow("--watch-seconds", "0") as daemon:
        state = ("--state", daemon.state)
        packed.publish("two")
        assert scheduler("deploy", ENVIRONMENT, *state) == f"{ENVIRONMENT}: generation 2 deployed\n"
        assert "generation 1 rolled back" in scheduler("rollback", ENVIRONMENT, *state)
        shown = json.loads(scheduler("deployments", *state, "--json"))
        assert [(one["current"], len(one["generations"])) for one in shown] == [(1, 2)]
        packed.publish("differing")
        told = scheduler("deploy", ENVIRONMENT, *state, status=1)
        assert told.startswith(f"{ENVIRONMENT}: refused: ")
        assert "rolled back" in scheduler("log", ENVIRONMENT, *state)
    assert scheduler("log", "--verify", *state).startswith("4 lines, digest ")
    log = daemon.state / "versions.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"operator"', b'"nobody"', 1))
    assert "line 3 of the version log" in scheduler("log", "--verify", *state, status=1)


def measured(one):
    """Say whether its memory is known by more than its files' sizes."""
    return (one["memory_bytes"] or 0) > 1 << 20


def test_where_memory_is_short_it_is_refused_or_replaced_in_place(follow, packed):
    packed.publish("one")
    with follow("--watch-seconds", "0") as daemon:
        one = daemon.until(measured)
        budget = str(int(one["memory_bytes"] * 1.6))
    packed.publish("two")
    with follow("--watch-seconds", "0", "--budget-bytes", budget) as daemon:
        daemon.until(measured)
        refused = daemon.order("deploy")
        assert refused.status_code == 409
        assert "there is no memory for two generations" in refused.json()["error"]
        assert daemon.tag() == "one"
    with follow("--watch-seconds", "0", "--budget-bytes", budget, "--replace-in-place") as daemon:
        daemon.until(measured)
        with Load(str(daemon.http.base_url)) as load:
            assert daemon.order("deploy").json()["outcome"] == "deployed"
            assert daemon.tag() == "two"
            packed.publish("unloadable")
            assert daemon.order("deploy").json()["outcome"] == "refused"
            assert daemon.tag() == "two"
        assert load.wrong == []
        assert daemon.environment()["ready"]
