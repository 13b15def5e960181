import os
import signal
import socket
import struct
import sys
from pathlib import Path

import pytest

from sluice_scheduler import worker
from sluice_scheduler.profile import NumericProfile
from sluice_scheduler.tensors import Tensor
from sluice_scheduler.testing import alive, eventually
from sluice_scheduler.worker import frames


def text(*words):
    return Tensor.of_bytes("text", [word.encode() for word in words])


def test_instances_answer(client, package, ask):
    zygote = client()
    loaded = zygote.load(package())
    assert (loaded["op"], loaded["torch"], loaded["models"]) == ("loaded", None, [{"name": "echo"}])
    assert loaded["python"].startswith("3.")
    sock, pid = zygote.fork()
    assert pid != zygote.process.pid
    header, outputs = ask(sock, [text("a", "b")])
    assert (header["op"], header["id"]) == ("result", "t1")
    assert header["seconds"] >= 0
    assert bytes(outputs[0].data) == b"\x01\0\0\0a\x01\0\0\0b"


def test_numbers_without_torch_are_views_of_their_own_type(client, package, ask):
    zygote = client()
    zygote.load(package())
    sock, _ = zygote.fork()
    sent = [
        Tensor("f", "FP32", (2, 1), struct.pack("<2f", 1, 2)),
        Tensor("i", "INT64", (1,), struct.pack("<q", -1)),
        Tensor("b", "BOOL", (2,), b"\x01\x00"),
        Tensor("none", "FP32", (0,), b""),
    ]
    _, outputs = ask(sock, sent)
    expected = {f"{t.name}_out": (t.datatype, t.shape, t.data) for t in sent}
    assert {t.name: (t.datatype, t.shape, bytes(t.data)) for t in outputs} == expected


@pytest.mark.parametrize(
    ("word", "kind", "message"),
    [
        ("raise", "model", "RuntimeError: broken model"),
        ("refuse", "input", "no such word"),
        ("sysexit", "model", "SystemExit: 3"),
        ("deep", "model", "RecursionError: "),
        ("wrong", "model", "output 'y' is a object"),
        ("list", "model", "predict returned list"),
        ("big", "model", "its answer is too large"),
    ],
)
def test_an_instance_outlives_a_models_failure(client, package, ask, word, kind, message):
    zygote = client()
    zygote.load(package())
    sock, _ = zygote.fork()
    header, _ = ask(sock, [text(word)])
    assert (header["op"], header["kind"]) == ("error", kind)
    assert message in header["message"]
    assert "\n" not in header["message"]
    assert ask(sock, [text("again")])[0]["op"] == "result"


def test_an_instance_refuses_what_it_cannot_do(client, package, ask):
    zygote = client()
    zygote.load(package())
    sock, _ = zygote.fork()
    assert ask(sock, [], model="other")[0]["kind"] == "input"
    frames.send(sock, {"op": "infer", "id": 1, "model": "echo", "tensors": [{"name": "x"}]})
    assert frames.receive(sock).header["kind"] == "input"
    bad = {"name": "x", "datatype": "FP32", "shape": [3], "size": 4}
    frames.send(sock, {"op": "infer", "id": 2, "model": "echo", "tensors": [bad]}, [b"1234"])
    assert "does not fit its shape" in frames.receive(sock).header["message"]
    assert ask(sock, [text("a")])[0]["op"] == "result"


def test_every_request_starts_from_one_state_and_every_process_from_one_hash_seed(client, package, ask):
    model = package()
    answers = set()
    for _ in range(2):
        zygote = client()
        zygote.load(model)
        for name in ("i1", "i2"):
            sock, _ = zygote.fork(name)
            answers |= {
                tuple(bytes(ask(sock, [text(word)])[1][0].data) for word in ("random", "hash", "random"))
            }
    assert len(answers) == 1


def test_what_a_model_prints_goes_to_stderr(client, package, ask):
    zygote = client()
    zygote.load(package())
    sock, pid = zygote.fork()
    ask(sock, [text("raise")])
    sock.close()
    eventually(lambda: not alive(pid))
    output, errors = zygote.close()
    assert output == b""
    assert b"a loader may print too" in errors
    assert b"a model may print" in errors
    assert b"RuntimeError: broken" in errors


@pytest.mark.parametrize(
    ("code", "loader", "error"),
    [
        ("raise OSError('no\\nfile')", None, "OSError: no file"),
        ("import sys; sys.exit(4)", None, "SystemExit: 4"),
        ("def load(:", None, "SyntaxError"),
        ("import nothing_of_that_name", None, "ModuleNotFoundError"),
        ("x = 1", None, "has no callable 'load'"),
        ("load = dict", None, "TypeError: "),
        ("def load(directory): return 3", None, "without predict()"),
        ("", "json:loads", "is hidden by"),
        ("", "not a loader", "no line `loader"),
        (
            (
                "import threading, time\nclass M:\n  def predict(self, i): return i\ndef load(d):\n"
                "  threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n  return M()"
            ),
            None,
            "started 1 threads",
        ),
    ],
)
def test_a_model_that_cannot_be_loaded_is_one_line_and_a_traceback(client, package, code, loader, error):
    zygote = client()
    answer = zygote.load(package(code, "bad", loader))
    assert answer["op"] == "failed"
    assert error in answer["error"]
    assert "\n" not in answer["error"]
    assert "Traceback" in answer["traceback"]
    assert zygote.ask({"op": "fork", "instance": "i1"})["op"] == "failed"


def test_the_zygote_says_when_a_child_ends_and_forks_another(client, package, ask):
    zygote = client()
    zygote.load(package())
    first, pid = zygote.fork("i1")
    frames.send(
        first,
        {"op": "infer", "id": 1, "model": "echo", "tensors": frames.describe([text("exit")])},
        [text("exit").data],
    )
    assert frames.receive(first) is None
    assert zygote.event() == {"op": "exited", "instance": "i1", "pid": pid, "status": 7}
    _, pid = zygote.fork("i2")
    os.kill(pid, signal.SIGKILL)
    assert zygote.event() == {"op": "exited", "instance": "i2", "pid": pid, "status": -9}
    third, pid = zygote.fork("i3")
    third.close()
    assert zygote.event() == {"op": "exited", "instance": "i3", "pid": pid, "status": 0}
    fourth, _ = zygote.fork("i4")
    assert ask(fourth, [text("a")])[0]["op"] == "result"


def test_an_instance_that_hears_nonsense_ends_alone(client, package, ask):
    zygote = client()
    zygote.load(package())
    sock, pid = zygote.fork("i1")
    sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert zygote.event() == {"op": "exited", "instance": "i1", "pid": pid, "status": 1}
    assert ask(zygote.fork("i2")[0], [text("a")])[0]["op"] == "result"


def test_all_end_with_the_control_socket(client, package):
    zygote = client()
    zygote.load(package())
    pids = [zygote.fork(name)[1] for name in ("i1", "i2")]
    zygote.control.close()
    assert zygote.process.wait(20) == 0
    eventually(lambda: not any(map(alive, pids)))


def test_instances_end_with_a_killed_zygote(client, package):
    zygote = client()
    zygote.load(package())
    pids = [zygote.fork(name)[1] for name in ("i1", "i2")]
    zygote.process.kill()
    eventually(lambda: not any(map(alive, pids)))


def test_an_instance_is_confined_and_inherits_nothing(client, package, ask):
    zygote = client(environment={"SECRET": "x", "PYTHONPATH": "/nowhere", "PYTHONHASHSEED": "0"})
    zygote.load(package())
    sock, _ = zygote.fork("i1")
    other, _ = zygote.fork("i2")
    status = bytes(ask(sock, [text("status")])[1][0].data)
    assert b"NoNewPrivs:\t1" in status
    assert b"Name:\tsluice-i1" in status
    assert b"PYTHONPATH" not in bytes(ask(sock, [text("environment")])[1][0].data)
    for one in (sock, other):  # its own socket and no other
        assert bytes(ask(one, [text("fds")])[1][0].data).count(b"socket:") == 1
    modules = bytes(ask(sock, [text("modules")])[1][0].data)
    assert b"sluice_worker.zygote" in modules
    assert b"sluice_scheduler" not in modules


def test_nothing_is_written_beside_the_model(client, package):
    model = package()
    before = sorted(Path(model["directory"]).iterdir())
    assert client().load(model)["op"] == "loaded"
    assert sorted(Path(model["directory"]).iterdir()) == before


def test_operations_out_of_turn_are_refused(client, package):
    zygote = client()
    assert zygote.ask({"op": "dance"})["op"] == "failed"
    assert zygote.load(package())["op"] == "loaded"
    assert zygote.load()["op"] == "failed"
    failed = zygote.ask({"op": "fork", "instance": "i1"})
    assert (failed["op"], failed["instance"]) == ("failed", "i1")


def test_nonsense_on_the_control_socket_ends_the_zygote(client):
    zygote = client()
    zygote.control.sendall(b"\xff" * 12)
    assert zygote.process.wait(20) == 2
    assert zygote.close()[1].startswith(b"worker: a frame's header of")


def test_any_python_from_3_8_runs_it_confined_as_this_one_and_with_large_tensors(
    client, package, ask, pythons, tmp_path
):
    if not pythons:
        pytest.skip("no other Python on this machine")
    model = package()
    held = []
    for python in (sys.executable, *pythons):
        folder = tmp_path / Path(python).name
        folder.mkdir()
        wanted = {
            "read": [model["directory"], worker.DIRECTORY],
            "write": [str(folder)],
            "network": False,
            "memory": None,
        }
        environment = {**NumericProfile().environment(), "TMPDIR": str(folder)}
        zygote = client(python, environment, confine=wanted)
        loaded = zygote.load(model, activation=["/usr", "name"])
        assert loaded["op"] == "loaded", (python, loaded)
        held.append(loaded["confinement"])
        sock, _ = zygote.fork()
        _, outputs = ask(sock, [Tensor("x", "INT32", (2, 1), struct.pack("<2i", 1, 2)), text("a")])
        assert [tensor.name for tensor in outputs] == ["y"]
        large = Tensor("x", "UINT8", (1, 1 << 20), os.urandom(1 << 20))
        header, (answer,) = ask(sock, [large])
        assert (header[frames.SEALED], bytes(answer.data)) == (1 << 20, large.data)
        words = b"".join(
            struct.pack("<I", len(word)) + word for word in (b"sh", b"-c", b"echo $CONDA_PREFIX")
        )
        frames.send(
            sock,
            {"op": "script", "id": "s", "tensors": frames.describe([Tensor("argv", "BYTES", (1, 3), words)])},
            [words],
        )
        done = frames.receive(sock)
        assert done.header["op"] == "result", done.header
        outputs = {tensor.name: bytes(tensor.data) for tensor in frames.tensors_of(done.header, done.body)}
        assert outputs["stdout"] == struct.pack("<I", 5) + b"/usr\n"
    assert all(one == held[0] for one in held), held


def test_a_descriptor_that_is_no_socket_is_refused():
    import subprocess

    done = subprocess.run(
        worker.command(sys.executable, 99), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert "descriptor 99 is no socket" in done.stderr


def test_ctrl_c_is_the_daemons(client, package, ask):
    zygote = client()
    zygote.load(package())
    sock, pid = zygote.fork()
    os.kill(zygote.process.pid, signal.SIGINT)
    os.kill(pid, signal.SIGINT)
    assert ask(sock, [text("a")])[0]["op"] == "result"
    assert isinstance(zygote.fork("i2")[0], socket.socket)
