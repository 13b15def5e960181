"""Tasks that run together on a real daemon: whose fault a failure is, and what receipts say of it."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sluice.receipt import Receipt
from sluice.receipt.key import PrivateKey

BATCH = "test-batch-pt213-cpu"  # its model runs in batches of 4 rows
PLAIN = "test-echo-pt213-cpu"
UNSTEADY = "test-unsteady-pt213-cpu"
SLUICE = str(Path(sys.executable).parent / "sluice")
KEY = PrivateKey(bytes(32))


@pytest.fixture
def batching(start):
    """Start a daemon whose model batches."""
    return lambda *more: start(*more, environments=(BATCH,))


class Busy:
    """A worker that is held until what waits is in the queue."""

    def __init__(self, daemon, file):
        self.daemon, self.file = daemon, file
        self.task = daemon.submit(f"hold:{file}")
        daemon.running(self.task)

    def submit(self, *texts, **more):
        return [self.daemon.submit(text, **more) for text in texts]

    def release(self, *tasks):
        self.file.touch()
        return [self.daemon.task(task) for task in tasks]


def receipt(daemon, task):
    return Receipt.parse(daemon.http.get(f"/v1/tasks/{task}/receipt").content)


def test_what_waits_runs_together_in_the_order_of_rank_and_is_padded(batching, tmp_path):
    with batching() as daemon:
        busy = Busy(daemon.wait_ready(), tmp_path / "go")
        late = busy.submit("company:1", "company:2", priority=9)
        (long,) = busy.submit("x" * 100, priority=9)  # past the longest of its model.toml: by itself
        early = busy.submit("company:3", "company:4", "company:5", priority=1)
        answers = busy.release(*early, *late, long)
    company = [answer["outputs"][0]["data"] for answer in answers]
    together = "company:3 company:4 company:5 company:1"
    assert company == [[together]] * 4 + [[" ".join(["company:2"] * 4)], ["X" * 100]]
    assert [answer["start_order"] for answer in answers] == [2, 3, 4, 5, 6, 7]
    assert len({answer["started_at"] for answer in answers[:4]}) == 1
    assert {answer["attempts"] for answer in answers} == {1}


def test_a_larger_request_is_cut_into_buckets_and_told_as_one(batching):
    texts = [f"t{number}" for number in range(6)]
    tensor = {"name": "text", "datatype": "BYTES", "shape": [6], "data": texts}
    with batching() as daemon:
        daemon.wait_ready()
        task = daemon.http.post("/v1/tasks", json={"model": "echo", "inputs": [tensor]}).json()["id"]
        (output,) = daemon.task(task)["outputs"]
    assert (output["shape"], output["data"]) == ([6], [text.upper() for text in texts])


def test_an_input_that_is_refused_fails_alone(batching, tmp_path):
    with batching() as daemon:
        busy = Busy(daemon.wait_ready(), tmp_path / "go")
        answers = busy.release(*busy.submit("a", "refuse", "wrong", "b"))
    assert [answer["state"] for answer in answers] == ["succeeded", "failed", "failed", "succeeded"]
    assert "cannot read this text" in answers[1]["error"]
    assert "is a list of other things than bytes" in answers[2]["error"]
    assert {answer["attempts"] for answer in answers} == {1}


def test_one_that_kills_its_worker_takes_no_other_down_twice(batching, tmp_path):
    with batching() as daemon:
        busy = Busy(daemon.wait_ready(), tmp_path / "go")
        answers = busy.release(*busy.submit("a", "die", "b", "c"))
        assert daemon.answer("after")["state"] == "succeeded"
    told = [(answer["state"], answer["attempts"]) for answer in answers]
    assert told == [("succeeded", 2), ("failed", 3), ("succeeded", 2), ("succeeded", 2)]


def test_one_over_its_time_does_not_fail_those_it_ran_with(batching, tmp_path):
    with batching("--task-seconds", "1.5") as daemon:
        busy = Busy(daemon.wait_ready(), tmp_path / "go")
        answers = busy.release(*busy.submit("a", "sleep:60", "b"))
    told = [(answer["state"], answer["attempts"]) for answer in answers]
    assert told == [("succeeded", 2), ("failed", 2), ("succeeded", 2)]
    assert "ran longer than 1.5 s" in answers[1]["error"]


def test_cancelling_one_of_a_batch_leaves_the_others(batching, tmp_path):
    with batching() as daemon:
        busy = Busy(daemon.wait_ready(), tmp_path / "go")
        held = tmp_path / "held"
        cancelled, kept = busy.submit(f"hold:{held}", "kept")
        busy.file.touch()
        daemon.running(kept)
        assert daemon.http.delete(f"/v1/tasks/{cancelled}").json()["state"] == "cancelled"
        held.touch()
        answer = daemon.task(kept)
        assert (answer["state"], answer["attempts"]) == ("succeeded", 1)
        assert daemon.task(cancelled)["state"] == "cancelled"
        assert daemon.http.get(f"/v1/tasks/{cancelled}/receipt").status_code == 409


def test_cancelling_all_of_a_batch_ends_its_worker(batching, tmp_path):
    with batching() as daemon:
        busy = Busy(daemon.wait_ready(), tmp_path / "go")
        tasks = busy.submit(f"hold:{tmp_path}/never", "a", "b")
        busy.file.touch()
        daemon.running(tasks[2])
        for task in tasks:
            assert daemon.http.delete(f"/v1/tasks/{task}").json()["state"] == "cancelled"
        assert daemon.answer("after")["state"] == "succeeded"
        assert [daemon.task(task)["state"] for task in tasks] == ["cancelled"] * 3


def test_an_idle_worker_waits_for_company_only_where_it_is_told_to(batching):
    with batching("--batch-wait", "1") as daemon:
        daemon.wait_ready()
        tasks = [daemon.submit(f"company:{number}") for number in range(2)]
        answers = [daemon.task(task)["outputs"][0]["data"] for task in tasks]
    assert answers == [["company:0 company:1 company:0 company:0"]] * 2


def test_a_receipt_names_the_bucket_and_an_answer_is_replayed_in_it(start, tmp_path):
    with start("--max-batch", "2", environments=(BATCH, PLAIN)) as daemon:
        daemon.wait_ready()
        url = str(daemon.http.base_url)
        buckets = {model["environment"]: model["bucket"] for model in daemon.http.get("/v1/models").json()}
        assert buckets == {BATCH: "rows=2", PLAIN: "request"}
        tasks = {name: daemon.answer("company:a", environment=name)["id"] for name in (BATCH, PLAIN)}
        receipts = {name: receipt(daemon, task) for name, task in tasks.items()}
        assert {name: one.answer.bucket for name, one in receipts.items()} == buckets
        assert all(one.answer.deterministic for one in receipts.values())
        statement = json.loads(receipts[BATCH].envelope.payload)
        assert statement["predicate"]["deployment"]["bucket"] == "rows=2"
        record = daemon.http.get(f"/v1/tasks/{tasks[BATCH]}/record").json()
        assert (record["bucket"], record["deterministic"]) == ("rows=2", True)

        def replay(*more):
            command = [SLUICE, "replay", "--root", str(tmp_path / "r"), "--json", *map(str, more)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            return json.loads(done.stdout)

        # This model tells its company: only the same bucket gives the same bytes.
        assert [one["equal"] for one in replay(*tasks.values(), "--url", url)] == [True, True]
        tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["company:a"]}
        (tmp_path / "input.json").write_text(json.dumps([tensor]))
        (tmp_path / "key.pem").write_text(KEY.public.pem)
        for name, bucket, link in (
            (BATCH, "rows=4", "output"),
            (BATCH, "rows=8", "bucket"),
            (BATCH, "request", "bucket"),
            (PLAIN, "rows=2", "bucket"),
            (BATCH, None, "output"),
            (PLAIN, None, None),
        ):
            forged = Receipt.sign(replace(receipts[name].answer, bucket=bucket), KEY)
            (tmp_path / "r.json").write_bytes(forged.to_bytes())
            arguments = ("--input", tmp_path / "input.json", "--key", tmp_path / "key.pem")
            (verdict,) = replay(tmp_path / "r.json", *arguments)
            assert verdict["link"] == link, (name, bucket)
            if link == "bucket":
                found = {BATCH: "rows=4", PLAIN: "request"}[name]
                assert (verdict["expected"], verdict["found"]) == (bucket, found)


def test_a_model_whose_canary_has_two_answers_promises_nothing(start):
    with start(environments=(UNSTEADY,)) as daemon:
        daemon.wait_ready()
        assert "gave its canary two answers" in daemon.log()
        task = daemon.answer("hello")["id"]
        assert not receipt(daemon, task).answer.deterministic
        assert daemon.http.get(f"/v1/tasks/{task}/record").json()["deterministic"] is False


@pytest.mark.parametrize(
    ("flag", "value"), [("--max-batch", "3"), ("--max-batch", "0"), ("--batch-wait", "-1")]
)
def test_bad_settings_of_batches_are_one_line(start, flag, value):
    with start(flag, value) as daemon:
        assert daemon.process.wait(20) == 1
        (line,) = daemon.log().strip().splitlines()
        assert flag.removeprefix("--").replace("-", "_") in line
