"""What a real daemon keeps of large payloads, and for how long."""

from sluice_scheduler.testing import eventually

LARGE = "x" * 200_000


def test_a_large_task_is_kept_over_a_kill_until_it_is_forgotten_with_its_files(start):
    with start() as daemon:
        daemon.wait_ready()
        task = daemon.submit(LARGE)
        done = daemon.task(task)
        assert done["state"] == "succeeded", done
        blobs = daemon.state / "blobs"
        assert len(list(blobs.iterdir())) == 2  # the text and its answer
        daemon.process.kill()
        daemon.process.wait(20)
    with start("--result-seconds", "1") as daemon:
        daemon.wait_ready()
        eventually(lambda: not list(blobs.iterdir()))
        assert daemon.http.get(f"/v1/tasks/{task}").status_code == 404
        assert daemon.http.get(f"/v1/tasks/{task}/receipt").status_code == 404
