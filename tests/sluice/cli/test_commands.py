"""The command as a user meets it: a process of its own, its status, its two streams."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SPEC = "name: x\nchannels: [main]\ndependencies: [tool]\n"


@pytest.fixture
def sluice(channel, tmp_path, tmp_path_factory):
    """Run `sluice` with settings of the test's own."""
    environment = os.environ | {
        "SLUICE_CONFIG": str(tmp_path / "none.toml"),
        "SLUICE_CHANNELS": f"main={channel[1]}",
        "SLUICE_PREFIXES": str(tmp_path_factory.mktemp("p")),
    }

    def run(*arguments, status=0):
        done = subprocess.run(
            [sys.executable, "-m", "sluice", *map(str, arguments)],
            capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        if status:
            assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "x.yml"
    path.write_text(SPEC)
    return path


def test_lock_realise_verify(sluice, spec, tmp_path):
    lock = tmp_path / "x.lock"
    locked = json.loads(sluice("lock", spec, "-o", lock, "--json").stdout)
    assert locked["packages"] == {"linux-64": 2}
    made = json.loads(sluice("realise", lock, "--json").stdout)
    assert made["lock"] == locked["sha256"]
    prefix = sluice("realise", lock).stdout.strip()
    assert prefix == made["prefix"]
    assert "intact" in sluice("verify", prefix, "--lock", lock).stdout

    changed = Path(prefix) / "share/tool"
    changed.unlink()
    changed.write_text("Hello")
    said = sluice("verify", prefix, status=1)
    assert "share/tool: content: expected" in said.stdout
    assert "(tool-1.0-0)" in said.stdout
    document = json.loads(sluice("verify", prefix, "--json", status=1).stdout)
    assert not document["intact"]
    assert [item["path"] for item in document["differences"]] == ["share/tool"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("nlp-minilm-pt213", SPEC, "3 parts"),
        ("nlp-minilm-pt213-cpu", SPEC, "its name is 'x', its folder's 'nlp-minilm-pt213-cpu'"),
        ("nlp-minilm-pt213-cpu", SPEC.replace("name: x", "name: nlp-minilm-pt213-cpu"), "promises torch 2.13, the lock for linux-64 has no pytorch"),
        ("nlp-minilm-pt213-cpu", "name: [", "not YAML"),
    ],
)  # fmt: skip
def test_a_folder_must_keep_what_its_name_promises(sluice, tmp_path, name, text, said):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "environment.yml").write_text(text)
    done = sluice("lock", folder, status=1)
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (folder / "pixi.lock").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("lock", "nosuch"), "nosuch: No such file"),
        (("realise", "nosuch"), "nosuch: No such file or directory; make it with `sluice lock`"),
        (("verify", "nosuch"), "not realised by sluice"),
        (("lock", "x.yml", "-c", "main"), "expected NAME=URL"),
        (("lock", "x.yml", "-c", "main=http://127.0.0.1:9/main"), "cannot read the index"),
    ],
)
def test_wrong_input_gets_one_line(sluice, spec, arguments, said):
    done = sluice(*arguments, status=1)
    assert said in done.stderr
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""


def test_help_teaches(sluice):
    assert "realise" in sluice("--help").stdout
    assert "strict priority" in sluice("lock", "--help").stdout
    assert sluice("--version").stdout.startswith("sluice 0.")


def test_ctrl_c_ends_a_realise_with_130_and_leaves_nothing(channel, spec, tmp_path, tmp_path_factory, sluice):
    lock = tmp_path / "x.lock"
    sluice("lock", spec, "-o", lock)
    place = tmp_path_factory.mktemp("p")
    # A server that accepts and never answers holds the download open.
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        text = lock.read_text().replace(channel[1], f"http://127.0.0.1:{port}")
        lock.write_text(text)
        process = subprocess.Popen(
            [sys.executable, "-m", "sluice", "realise", str(lock), "--prefixes", str(place)],
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        silent.settimeout(60)
        connection, _ = silent.accept()
        with connection:
            time.sleep(0.2)
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert stderr.strip() == "interrupted"
    assert not list((place / "envs").iterdir())
