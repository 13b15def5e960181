"""What the service manager is told, over real sockets."""

import asyncio
import os
import secrets
import socket

import pytest

from sluice_scheduler.errors import QueueError
from sluice_scheduler.notify import Notifier
from sluice_scheduler.vigil import keep_vigil


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    """Give a manager's socket and the variable that names it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        name = str(tmp_path / "notify") if request.param == "path" else f"@sluice-{secrets.token_hex(8)}"
        sock.bind(name if name[0] == "/" else f"\0{name[1:]}")
        sock.settimeout(10)
        yield sock, {"NOTIFY_SOCKET": name}


def told(sock):
    return sock.recv(4096).decode().splitlines()


def test_ready_reloading_and_stopping(manager):
    sock, environ = manager
    notifier = Notifier(environ, monotonic_ns=lambda: 5_000_900)
    notifier.ready("two\nlines")
    assert told(sock) == ["READY=1", "STATUS=two lines"]
    notifier.reloading()
    assert told(sock) == ["RELOADING=1", "MONOTONIC_USEC=5000"]
    notifier.stopping("finishing")
    assert told(sock) == ["STOPPING=1", "STATUS=finishing"]
    notifier.alive()
    assert told(sock) == ["WATCHDOG=1"]


def test_a_status_is_told_when_it_changes(manager):
    sock, environ = manager
    notifier = Notifier(environ)
    for text in ("a", "a", "b" * 1000):
        notifier.status(text)
    assert told(sock) == ["STATUS=a"]
    assert told(sock) == [f"STATUS={'b' * 200}"]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_how_often_it_wants_a_sign_of_life(more, expected):
    assert Notifier({"NOTIFY_SOCKET": "/x", **more}).watchdog == expected


def test_without_a_manager_nothing_is_told(caplog):
    for environ in ({}, {"NOTIFY_SOCKET": "relative"}, {"WATCHDOG_USEC": "1"}):
        notifier = Notifier(environ)
        notifier.ready("x")
        assert notifier.watchdog is None
    assert not caplog.text


def test_a_manager_that_is_gone_is_a_log_line(tmp_path, caplog):
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).ready("x")
    assert "cannot be told READY=1: No such file" in caplog.text


class Told:
    """A notifier that keeps what it is told."""

    watchdog = 0.06  # seconds

    def __init__(self):
        self.lines = []

    def status(self, text):
        self.lines.append(text)

    def alive(self):
        self.lines.append("alive")


def vigil(look, rounds):
    notifier, left = Told(), list(range(rounds - 1))

    async def sleep(seconds):
        assert seconds == pytest.approx(0.02)
        if not left:
            raise asyncio.CancelledError
        left.pop()

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(keep_vigil(notifier, look, sleep=sleep))
    return notifier.lines


def test_signs_of_life_while_the_queue_answers():
    async def look():
        return "ready"

    assert vigil(look, 2) == ["ready", "alive", "ready", "alive"]


def test_a_queue_that_says_it_fails_has_answered():
    async def look():
        raise QueueError("the disk is full")

    assert vigil(look, 1) == ["the queue fails: the disk is full", "alive"]


def test_a_queue_that_says_nothing_gives_no_sign(caplog):
    async def look():
        await asyncio.Event().wait()

    assert vigil(look, 2) == []
    assert "the queue has not answered for 0.02 s" in caplog.text
