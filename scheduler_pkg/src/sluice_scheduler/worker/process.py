"""What a worker asks of the kernel for itself."""

# ruff: noqa: PTH123, PTH208 - of files in /proc, and with descriptors

from __future__ import annotations

import contextlib
import os
import signal

from . import kernel

_PR_SET_PDEATHSIG = 1


class ThreadsError(Exception):
    """A process that must fork has threads."""


def quiet() -> None:
    """Keep models away from the daemon's terminal: no input, and what they print goes to stderr."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the daemon's to handle


def die_with(parent: int) -> None:
    """Ask to be killed when the parent ends; ends at once if that has happened already."""
    with contextlib.suppress(kernel.KernelError):  # the sockets' end still ends every process
        kernel.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(1)


def call(name: str) -> None:
    """Set the name that `ps` and `top` show, 15 bytes."""
    try:
        with open("/proc/self/comm", "wb", buffering=0) as file:
            file.write(name.encode()[:15])
    except OSError:
        pass  # a name is a courtesy


def check_single_thread() -> None:
    """Make sure that this process may fork.

    Raises:
        ThreadsError: it has other threads, which a child would lack together with the locks they hold.

    """
    count = len(os.listdir("/proc/self/task"))
    if count > 1:
        raise ThreadsError(
            f"loading started {count - 1} threads; a model may start threads in predict() only"
        )
