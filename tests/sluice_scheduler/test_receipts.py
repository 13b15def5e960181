"""Receipts of a real daemon's answers, and what is needed to check them."""

import asyncio
import base64
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from sluice.digest import Digest
from sluice.receipt import Receipt, UntrustedError, published
from sluice_scheduler.batching import Room
from sluice_scheduler.job import Provenance, State, Submission
from sluice_scheduler.queues.sqlite import SqliteQueue
from sluice_scheduler.receipts import Identity, identity

ENVIRONMENT = "test-echo-pt213-cpu"
SLUICE = str(Path(sys.executable).parent / "sluice")


def sluice(*arguments, status=0):
    done = subprocess.run(
        [SLUICE, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == status, done.stderr
    return done.stdout if status == 0 else done.stderr


def served_keys(daemon):
    return published.parse(daemon.http.get("/v1/keys").content, "keys")


def test_every_link_of_an_answer_is_in_its_receipt(daemon):
    task = daemon.answer("hello", environment=ENVIRONMENT)
    response = daemon.http.get(f"/v1/tasks/{task['id']}/receipt")
    assert response.headers["content-type"] == "application/vnd.dsse.envelope.v1+json"
    receipt = Receipt.parse(response.content)
    assert receipt.verify(served_keys(daemon))
    answer, digests = receipt.answer, task["digests"]
    assert (answer.task, answer.model, answer.environment) == (task["id"], "echo", ENVIRONMENT)
    assert (answer.lock.hex, answer.tree.hex) == (digests["environment"], digests["tree"])
    assert (answer.package_digest.hex, answer.profile.hex) == (digests["model"], digests["profile"])
    assert (answer.input.hex, answer.output.hex) == (digests["input"], digests["output"])
    (model,) = [m for m in daemon.http.get("/v1/models").json() if m["environment"] == ENVIRONMENT]
    assert answer.package == model["package"]
    assert answer.lock_url.endswith(f"{answer.lock}.lock")
    assert answer.deterministic
    times = (answer.enqueued, answer.started, answer.finished)
    told = (task["enqueued_at"], task["started_at"], task["finished_at"])
    assert [time.timestamp() for time in times] == pytest.approx(told, abs=1e-6)
    assert (answer.scheduler, answer.scheduler_version) == ("sluice-scheduler", "0.1.0")


def test_a_receipt_is_the_same_bytes_every_time_and_after_a_restart_and_a_rotation(start, tmp_path):
    with start() as daemon:
        task = daemon.wait_ready().answer("hello")["id"]
        first = daemon.http.get(f"/v1/tasks/{task}/receipt").content
        assert daemon.http.get(f"/v1/tasks/{task}/receipt").content == first
        (before,) = served_keys(daemon)
        rotated = json.loads(sluice("scheduler", "rotate-key", "--state", daemon.state, "--json"))
        assert rotated["old"]["keyid"] == before.key.keyid
        again = daemon.answer("hello")["id"]
        second = Receipt.parse(daemon.http.get(f"/v1/tasks/{again}/receipt").content)
        old, new = served_keys(daemon)
        assert old.key == before.key
        assert second.verify([new])
        with pytest.raises(UntrustedError):
            second.verify([old])
        private = json.loads((daemon.state / "keys.json").read_text())["private_key"]
    with start("--no-deterministic") as daemon:
        daemon.wait_ready()
        kept = daemon.http.get(f"/v1/tasks/{task}/receipt").content
        assert kept == first
        assert Receipt.parse(kept).verify(served_keys(daemon)) == old
        plain = daemon.answer("hello")["id"]
        assert not Receipt.parse(daemon.http.get(f"/v1/tasks/{plain}/receipt").content).answer.deterministic
        said = daemon.log()
    assert private not in said
    assert base64.b64decode(private).hex() not in said


def test_what_is_no_answer_has_no_receipt(daemon):
    failed = daemon.answer("refuse:", environment=ENVIRONMENT)
    response = daemon.http.get(f"/v1/tasks/{failed['id']}/receipt")
    assert (response.status_code, failed["state"]) == (409, "failed")
    assert "only one that succeeded" in response.json()["error"]
    assert daemon.http.get("/v1/tasks/nothing/receipt").status_code == 404


def test_it_is_downloaded_and_checked_offline(daemon, tmp_path):
    url = str(daemon.http.base_url)
    task = daemon.answer("hello", environment=ENVIRONMENT)["id"]
    file = tmp_path / "r.json"
    sluice("scheduler", "receipt", task, "--url", url, "-o", file)
    assert sluice("scheduler", "receipt", task, "--url", url).encode() == file.read_bytes()
    assert "holds" in sluice("receipt", "verify", file, "--key", f"{url}/v1/keys")
    (tmp_path / "keys.json").write_bytes(daemon.http.get("/v1/keys").content)
    assert "holds" in sluice("receipt", "verify", file, "--key", tmp_path / "keys.json")
    assert "no task has the id" in sluice("scheduler", "receipt", "nothing", "--url", url, status=1)


def test_a_scheduler_from_a_conda_package_names_it(tmp_path):
    meta = tmp_path / "conda-meta"
    meta.mkdir()
    assert identity(tmp_path) == Identity("0.1.0", None)
    (meta / "sluice-scheduler-0.0.9-old.json").write_text("damaged")
    record = {"name": "sluice-scheduler", "version": "0.1.0", "sha256": "a" * 64}
    (meta / "sluice-scheduler-0.1.0-h0_0.json").write_text(json.dumps(record))
    assert identity(tmp_path).package == Digest("a" * 64)
    (meta / "sluice-scheduler-0.1.0-h0_0.json").write_text(json.dumps({**record, "sha256": None}))
    assert identity(tmp_path).package is None


def test_a_receipt_is_on_disk_with_its_answer_and_an_older_answer_has_none(tmp_path):
    digest = Digest("0" * 64)
    provenance = Provenance(digest, digest, digest, digest, "http://c/l", {}, digest)
    path = tmp_path / "q"

    async def work():
        queue = SqliteQueue(path)
        for name in ("a", "b"):
            await queue.put(Submission(name, "lane", "m", 5, 1.0, 1.0, digest, b"in"))
        (job,) = await queue.lease("lane", now=1.0, seconds=9.0)
        await queue.ack(job.id, 1, now=2.0, outputs=b"out", provenance=provenance)
        await queue.close()
        with closing(sqlite3.connect(path)) as db:  # as an answer that was made before there were buckets
            db.execute("UPDATE task SET provenance = json_remove(provenance, '$.bucket', '$.deterministic')")
            db.commit()
        queue = SqliteQueue(path)
        assert (await queue.get("a")).state is State.SUCCEEDED
        assert await queue.receipt("a") is None
        assert (await queue.get("a")).provenance == replace(provenance, deterministic=False)
        (job,) = await queue.lease("lane", now=3.0, seconds=9.0, room=Room({"m": 8}))
        assert (job.id, job.rows, job.batch) == ("b", 1, "")
        for receipt in (b"signed", b"said again"):
            await queue.ack(job.id, 1, now=4.0, outputs=b"out", provenance=provenance, receipt=receipt)
        with closing(sqlite3.connect(path)) as other:  # another reader sees only what is committed
            assert other.execute("SELECT envelope FROM task_receipt").fetchall() == [(b"signed",)]
        assert await queue.receipt("b") == b"signed"
        await queue.close()

    asyncio.run(work())
