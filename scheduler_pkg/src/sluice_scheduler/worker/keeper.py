"""The process between the daemon and a zygote: whatever the zygote's descendants do, none of them outlives it.

Processes whose parent has ended become children of the nearest ancestor that asked for them (`PR_SET_CHILD_SUBREAPER`,
prctl(2)): of the zygote, which ends them when an instance has ended, and of the keeper when the zygote itself is gone.
"""

# ruff: noqa: PTH123, PTH208 - of files in /proc

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys

from . import kernel, process

_PR_SET_CHILD_SUBREAPER = 36
_GRACE = 500  # milliseconds that a zygote has to end when the daemon has hung up
_ROUNDS = 1000  # of killing descendants that go on forking


def adopt() -> None:
    """Become the parent of descendants whose own parents end; one that cannot is none the worse for it."""
    with contextlib.suppress(kernel.KernelError):
        kernel.prctl(_PR_SET_CHILD_SUBREAPER, 1)


def children() -> list[int]:
    """List this process's children."""
    ours = str(os.getpid())
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue  # it has ended
            if fields[1].decode() == ours:
                found.append(int(name))
    return found


def end(known: dict[int, str] | None = None) -> None:
    """Kill and reap every child but the known ones, and what they leave behind."""
    for _ in range(_ROUNDS):
        strays = [pid for pid in children() if pid not in (known or {})]
        if not strays:
            return
        for pid in strays:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in strays:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def part(control: socket.socket) -> None:
    """Fork: the child returns, and ends with its parent; the parent stays as its keeper and never returns."""
    adopt()
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if not pid:
        process.die_with(parent)
        return
    status = 1
    try:
        process.call("sluice-keeper")
        status = _keep(pid, control)
    finally:
        end()
        os._exit(status)


def _keep(pid: int, control: socket.socket) -> int:
    """Wait for the zygote's end, and see to it once the daemon has hung up; returns the status to end with."""
    wake, wakeup = socket.socketpair()
    wakeup.setblocking(False)
    signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    poll = select.poll()
    poll.register(wake, select.POLLIN)
    poll.register(control, select.POLLRDHUP)
    patience = None
    while True:
        status = _reap(pid)
        if status is not None:
            return status
        ready = {fd for fd, _ in poll.poll(patience)}
        if wake.fileno() in ready:
            wake.recv(4096)
        elif not ready:
            os.kill(pid, signal.SIGKILL)
            patience = None
        if control.fileno() in ready:
            poll.unregister(control)
            patience = _GRACE


def _reap(pid: int) -> int | None:
    """Reap what has ended; the zygote's status once it has, as a shell has it."""
    while True:
        try:
            gone, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return 1
        if not gone:
            return None
        if gone == pid:
            return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
