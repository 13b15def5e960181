"""The whole road on the real packages: from pinned sources to answers that replay byte for byte."""

import base64
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from sluice.digest import Digest

ROOT = Path(__file__).resolve().parents[2]
# The first test waits for the walk, which compiles CPython where no cache has it.
pytestmark = [pytest.mark.road, pytest.mark.timeout(2400)]
NLP, VISION = "nlp-minilm-pt213-cpu", "vision-digits-pt213-cpu"


@pytest.fixture
def api(road):
    with httpx.Client(base_url=road.scheduler, timeout=60) as client:
        yield client


def text_task(text, **more):
    return {
        "model": "minilm",
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": [text]}],
        **more,
    }


def test_every_answer_came_and_priorities_were_kept(road):
    answers = road.report["run_batch"]
    assert {answer["state"] for answer in answers} == {"succeeded"}
    assert {answer["priority"] for answer in answers} == {1, 5, 9}
    waited = [answer for answer in answers if answer["model"] == "minilm"][1:]
    started = sorted(waited, key=lambda answer: answer["start_order"])
    assert [answer["priority"] for answer in started] == [1, 1, 5, 5, 9, 9]
    assert [answer["priority"] for answer in waited] == [9, 9, 5, 5, 1, 1]  # as they were submitted
    busy = answers[0]
    assert all(answer["started_at"] >= busy["finished_at"] - 0.05 for answer in waited)


def test_each_link_of_an_answer_is_the_sha256_of_real_bytes(road):
    for answer in road.report["run_batch"]:
        digests = answer["digests"]
        lock = httpx.get(f"{road.channel}/envs/{answer['environment']}/pixi.lock").raise_for_status()
        assert Digest.of(lock.content).hex == digests["environment"]
        (package,) = (road.home / "channel").glob(f"*/{answer['model']}-*.conda")
        assert Digest.of_file(package).hex == digests["model"]
    embedding = road.report["run_batch"][1]
    (output,) = embedding["outputs"]
    raw = struct.pack(f"<{len(output['data'])}f", *output["data"])
    header = b"embedding\0FP32\0" + b"1,384\0" + struct.pack("<Q", len(raw))
    assert Digest.of(header + raw).hex == embedding["digests"]["output"]


def test_a_realise_elsewhere_gives_the_tree_the_answers_name(road):
    lock = road.home.parent / "envs" / VISION / "pixi.lock"
    made = json.loads(road.sluice("realise", lock, "--json").stdout)
    answer = next(item for item in road.report["run_batch"] if item["environment"] == VISION)
    assert made["tree"] == answer["digests"]["tree"]
    shutil.rmtree(made["prefix"])


def test_serving_left_the_environments_untouched(road):
    for name in (NLP, VISION):
        said = road.sluice("verify", road.prefix(name), "--deep").stdout
        assert "intact" in said
        assert not list(road.prefix(name).rglob("sluice_scheduler*"))


def test_the_daemon_holds_nothing_of_the_checkout(road):
    checkout, venv = str(ROOT), str(Path(sys.prefix))
    family = [road.pid("scheduler"), *descendants(road.pid("scheduler"))]
    assert len(family) >= 5  # the daemon, two zygotes, an instance of each
    for pid in family:
        process = Path(f"/proc/{pid}")
        seen = (
            (process / "maps").read_text()
            + (process / "environ").read_text()
            + (process / "cmdline").read_text()
        )
        links = [process / "cwd", process / "exe", *(process / "fd").iterdir()]
        seen += "".join(str(link.readlink()) for link in links)
        assert checkout not in seen
        assert venv not in seen


def descendants(pid):
    children = Path(f"/proc/{pid}/task").glob("*/children")
    direct = [int(child) for path in children for child in path.read_text().split()]
    return direct + [below for child in direct for below in descendants(child)]


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_report_of_replay_and_tampering(road, api):
    assert len(road.report["replay"]["tasks"]) == 3
    assert road.report["output"].count("equal") >= 3
    assert road.report["tamper"]["named"] == ["share/sluice/models/minilm/minilm_model.py"]
    assert f"{road.scheduler}/v1/environments" in road.report["output"]
    assert api.get("/v1/environments").status_code == 200
    assert "make stop" in road.report["output"]


def test_the_same_request_gives_the_same_bytes_among_other_neighbours(api):
    tasks = [
        api.post("/v1/tasks", json=text_task(text)).json()["id"]
        for text in ("one", "other words", "one", "one")
    ]
    answers = [api.get(f"/v1/tasks/{task}", params={"wait": 60}).json() for task in tasks]
    outputs = [answer["digests"]["output"] for answer in answers]
    assert outputs[0] == outputs[2] == outputs[3] != outputs[1]


def test_a_ready_tensor_answers_as_well_as_a_picture(api):
    pixels = [0.0] * 64
    task = {
        "model": "digits",
        "inputs": [{"name": "pixels", "datatype": "FP32", "shape": [1, 1, 8, 8], "data": pixels}],
    }
    answer = api.get(f"/v1/tasks/{api.post('/v1/tasks', json=task).json()['id']}", params={"wait": 60}).json()
    assert answer["state"] == "succeeded"
    shapes = {output["name"]: output["shape"] for output in answer["outputs"]}
    assert shapes == {"label": [1], "probabilities": [1, 10]}


def tensor(name, datatype, shape, data, **more):
    return {"name": name, "datatype": datatype, "shape": shape, "data": data, **more}


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ({"model": "nosuch", "inputs": []}, "nosuch"),
        (text_task("x", environment="nosuch"), "nosuch"),
        (text_task("x", priority=10), "priority"),
        (text_task("x", priority=-1), "priority"),
        (text_task("x", priority="high"), "priority"),
        ({"model": "minilm", "inputs": [tensor("words", "BYTES", [1], ["x"])]}, "text"),
        ({"model": "minilm", "inputs": [tensor("text", "FP32", [1], [1.0])]}, "BYTES"),
        ({"model": "minilm", "inputs": []}, "text"),
        ({"model": "digits", "inputs": [tensor("pixels", "FP32", [1, 64], [0.0] * 64)]}, "[-1,1,8,8]"),
        ({"model": "digits", "inputs": [tensor("pixels", "FP32", [1, 1, 8, 8], [0.0] * 63)]}, "pixels"),
        ({"model": "digits", "inputs": [tensor("pixels", "FP32", [9, 1, 8, 8], [0.0] * 576)]}, "8"),
    ],
)
def test_a_wrong_task_is_refused_and_says_what_was_expected(api, task, said):
    answer = api.post("/v1/tasks", json=task)
    assert 400 <= answer.status_code < 500
    error = answer.json()["error"]
    assert said in error.replace(", ", ",") or said in error
    assert "\n" not in error


def test_a_picture_that_is_none_fails_alone(api):
    for data in (b"not a picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 40):
        inputs = [
            tensor(
                "image",
                "BYTES",
                [1],
                [base64.b64encode(data).decode()],
                parameters={"content_type": "base64"},
            )
        ]
        task = api.post("/v1/tasks", json={"model": "digits", "inputs": inputs}).json()["id"]
        answer = api.get(f"/v1/tasks/{task}", params={"wait": 60}).json()
        assert answer["state"] == "failed"
        assert "PNG or JPEG" in answer["error"]


def test_an_answer_survives_kill_9_of_the_daemon(road, api):
    task = api.post("/v1/tasks", json=text_task("durable")).json()["id"]
    before = api.get(f"/v1/tasks/{task}", params={"wait": 60}).json()
    note = json.loads((road.home / "run" / "scheduler.json").read_text())
    os.kill(note["pid"], signal.SIGKILL)
    status, output = road.run()
    assert status == 0, output
    after = api.get(f"/v1/tasks/{task}").json()
    assert after["outputs"] == before["outputs"]
    scheduler = note["command"][0]
    replayed = road.sluice(
        "replay",
        task,
        "--url",
        road.scheduler,
        "--json",
        "--root",
        road.home / "r",
        program=scheduler,
    )
    assert json.loads(replayed.stdout)


def test_the_readme_environment_works_as_it_is_written(road, tmp_path):
    section = (ROOT / "README.md").read_text().split("## An environment of your own")[1]
    block = section.split("```console\n")[1].split("```")[0]
    lines = [line.removeprefix("$ ") for line in block.splitlines()]
    (tmp_path / ".venv").symlink_to(sys.prefix)
    done = subprocess.run(
        ["bash", "-e", "-c", "\n".join(lines)], cwd=tmp_path, env=road.variables, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "2.13.0" in done.stdout
    assert "intact" in done.stdout


def test_two_quickstarts_at_once_do_not_mix(road):
    first = road.start()
    assert any("1. build" in line for line in first.stdout)  # from here on it holds the folder
    status, output = road.run()
    assert status == 1
    assert "another quickstart is running" in output
    assert len(output.strip().splitlines()) == 1
    output, _ = first.communicate(timeout=300)
    assert first.returncode == 0, output


@pytest.mark.parametrize("after", [0.3, 2.5, 4.0, 6.0, 9.0, 16.0])
def test_ctrl_c_at_any_moment_leaves_a_road_that_can_be_walked_again(road, after):
    process = road.start()
    time.sleep(after)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the whole foreground group
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    if "1. build" in output:  # before that the services of the last walk are left alone
        assert not list((road.home / "run").iterdir())


def test_a_walk_after_interrupts_is_whole(road):
    status, output = road.run()
    assert status == 0, output
    assert "done." in output


def test_a_port_in_use_is_named_with_what_to_do(road):
    road.run("--stop")
    port = int(road.variables["SLUICE_QUICKSTART_CHANNEL_PORT"])
    with socket.create_server(("127.0.0.1", port)):
        status, output = road.run()
    assert status == 1
    assert output.strip().splitlines()[-1] == (
        f"error: port {port} is in use by another program; choose one with SLUICE_QUICKSTART_CHANNEL_PORT=PORT make quickstart"
    )


def test_stop_ends_what_runs(road):
    status, output = road.run()
    assert status == 0, output
    pids = [road.pid("channel"), road.pid("scheduler")]
    pids += descendants(pids[1])
    status, output = road.run("--stop")
    assert (status, "stopped scheduler, channel" in output) == (0, True)
    assert not [pid for pid in pids if running(pid)]
    assert road.run("--stop")[1].strip() == "nothing to stop"
