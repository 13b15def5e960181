"""The zygote: imports torch and loads the models once, then forks instances that share its pages."""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import selectors
import signal
import socket
import sys
import time
import traceback
from typing import Any

from . import confine, frames, instance, keeper, loading, process

_MAX_TRACEBACK = 20_000  # characters


class Zygote:
    """Does what the control socket says, reaps its children, and ends when the socket closes."""

    def __init__(self, control: socket.socket, confined: dict[str, Any] | None = None) -> None:
        """Speak over `control`; `confined` is what holds of the process's confinement."""
        self._control = control
        self._confined = confined
        self._children: dict[int, str] = {}
        self._models: dict[str, Any] | None = None
        self._torch: Any = None
        self._profile: dict[str, Any] = {}
        self._activation: tuple[str, ...] = ()
        self._wake, self._wakeup = socket.socketpair()
        self._selector = selectors.DefaultSelector()

    def run(self) -> None:
        """Serve until the control socket closes, then kill the instances.

        Raises:
            FrameError: the other end does not speak in frames.

        """
        self._wake.setblocking(False)
        self._wakeup.setblocking(False)
        signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        self._selector.register(self._control, selectors.EVENT_READ)
        self._selector.register(self._wake, selectors.EVENT_READ)
        try:
            while self._turn():
                pass
        finally:
            self._kill()

    def _turn(self) -> bool:
        ready = [key.fileobj for key, _ in self._selector.select()]
        if self._wake in ready:
            self._wake.recv(4096)
            self._reap()
        if self._control not in ready:
            return True
        frame = frames.receive(self._control)
        if frame is None:
            return False
        try:
            self._obey(frame)
        finally:
            for fd in frame.fds:
                os.close(fd)
        return True

    def _obey(self, frame: frames.Frame) -> None:
        operation = frame.header.get("op")
        if operation == "load" and self._models is None:
            self._load(frame.header)
        elif operation == "fork" and self._models is not None and len(frame.fds) == 1:
            self._fork(str(frame.header.get("instance")), frame.fds[0])
        else:
            reason = f"cannot do {operation!r:.80} now: first one load, then forks with one socket each"
            answer = {"op": "failed", "error": reason, "traceback": ""}
            if "instance" in frame.header:
                answer["instance"] = frame.header["instance"]
            frames.send(self._control, answer)

    def _load(self, header: dict[str, Any]) -> None:
        start = time.perf_counter()
        try:
            self._profile = dict(header.get("profile") or {})
            self._activation = tuple(map(str, header.get("activation") or ()))
            self._torch = loading.import_torch()
            models = loading.load_models(header["models"])
            process.check_single_thread()
        except BaseException as error:  # noqa: BLE001 - a model may raise anything, SystemExit included
            reason = f"{type(error).__name__}: {instance.one_line(error)}"
            if isinstance(error, (loading.LoadError, process.ThreadsError)):
                reason = instance.one_line(error)
            failed = {"op": "failed", "error": reason, "traceback": traceback.format_exc()[-_MAX_TRACEBACK:]}
            frames.send(self._control, failed)
            return
        self._models = models
        gc.collect()
        gc.freeze()  # the collector would write to every page and unshare it
        version = str(self._torch.__version__) if self._torch is not None else None
        loaded = {
            "op": "loaded",
            "python": platform.python_version(),
            "torch": version,
            "seconds": time.perf_counter() - start,
            "models": [{"name": name} for name in models],
            "pid": os.getpid(),
            "confinement": self._confined,
        }
        frames.send(self._control, loaded)

    def _fork(self, name: str, fd: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            reason = f"cannot fork: {error}"
            frames.send(self._control, {"op": "failed", "instance": name, "error": reason, "traceback": ""})
            return
        if not pid:
            self._become_instance(name, fd, parent)
        self._children[pid] = name
        frames.send(self._control, {"op": "forked", "instance": name, "pid": pid})

    def _become_instance(self, name: str, fd: int, parent: int) -> None:
        """Serve in the child and never return: the zygote's code must not run in it."""
        status = 1
        try:
            process.die_with(parent)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._selector.close()
            for inherited in (self._control, self._wake, self._wakeup):
                inherited.close()
            process.call("sluice-" + name)
            assert self._models is not None
            with socket.socket(fileno=fd) as sock:
                instance.serve(sock, self._models, self._torch, self._profile, self._activation)
            status = 0
        except BaseException:  # noqa: BLE001 - the daemon learns of it by the status
            traceback.print_exc(file=sys.stderr)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            name = self._children.pop(pid, None)
            if name is not None:
                code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
                keeper.end(self._children)  # what it had started
                gone = {"op": "exited", "instance": name, "pid": pid, "status": code}
                frames.send(self._control, gone)

    def _kill(self) -> None:
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
        for pid in self._children:
            os.waitpid(pid, 0)
        keeper.end()


def main(arguments: list[str]) -> int:
    """Run a zygote on the socket that was inherited."""
    parser = argparse.ArgumentParser(prog="worker", description=__doc__)
    parser.add_argument("--control-fd", type=int, required=True, help="an inherited unix stream socket")
    parser.add_argument("--confine", type=json.loads, help="what the processes may use; see `confine.apply`")
    options = parser.parse_args(arguments)
    fd = options.control_fd
    try:
        control = socket.socket(fileno=fd)
        control.set_inheritable(False)
    except OSError as error:
        sys.stderr.write(f"worker: descriptor {fd} is no socket: {error}\n")
        return 2
    process.quiet()
    confine.drop_privileges()
    keeper.part(control)
    keeper.adopt()
    process.call("sluice-zygote")
    confined = None if options.confine is None else confine.apply(options.confine)
    for key in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[key] = "1"  # libraries start their pools when imported; instances set torch's own number
    try:
        Zygote(control, confined).run()
    except (BrokenPipeError, ConnectionResetError):
        return 0  # the daemon is gone
    except frames.FrameError as error:
        sys.stderr.write(f"worker: {error}\n")
        return 2
    return 0
