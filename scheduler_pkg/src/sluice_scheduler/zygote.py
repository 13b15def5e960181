"""One zygote process of one deployment: what it is started with, what it says, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

from sluice_scheduler import worker
from sluice_scheduler.confinement import Confined
from sluice_scheduler.deployment import Deployment
from sluice_scheduler.errors import WorkerError
from sluice_scheduler.instance import Instance
from sluice_scheduler.wire import FrameSocket, encode

log: Final = logging.getLogger(__name__)

LOAD_SECONDS: Final = 600.0
FORK_SECONDS: Final = 60.0
DESTROY_SECONDS: Final = 5.0  # for its keeper to end every process
MAX_LOG: Final = 16 << 20  # bytes of what workers said; a zygote that finds more begins anew


class Zygote:
    """A process that has loaded a deployment's models and forks instances of itself.

    It runs in a process group of its own, with the numeric profile's variables and nothing of the daemon's
    environment, in a temporary folder of its own, confined as its deployment says. It ends when this process does: its
    control socket closes, and its keeper ends whatever it and its instances had started.
    """

    def __init__(self, process: subprocess.Popen[bytes], frames: FrameSocket, folder: Path) -> None:
        self._process = process  # the keeper
        self._frames = frames
        self._folder = folder
        self._forking: dict[str, asyncio.Future[int]] = {}
        self.loaded: dict[str, Any] = {}  # what it said of itself: python, torch, seconds, pid
        self.confined: Confined | None = None  # once it has loaded

    @classmethod
    async def start(cls, deployment: Deployment, *, tmp: Path, log: Path) -> Self:
        """Spawn it and have it load the models.

        Raises:
            WorkerError: it cannot be started or cannot load a model; the message is one line, `log` has the rest.

        """
        folder = Path(tempfile.mkdtemp(prefix="zygote-", dir=tmp))
        ours, theirs = socket.socketpair()
        try:
            with theirs, log.open(_log_mode(log)) as output:
                process = _spawn(deployment, theirs, folder, output.fileno())
        except OSError as error:
            ours.close()
            shutil.rmtree(folder, ignore_errors=True)
            raise WorkerError(
                f"cannot start {deployment.prefix}/bin/python: {error.strerror or error}"
            ) from None
        zygote = cls(process, FrameSocket(ours), folder)
        try:
            async with asyncio.timeout(LOAD_SECONDS):
                await zygote._load(deployment)
        except (WorkerError, TimeoutError) as error:
            await zygote.destroy()
            reason = f"not loaded within {LOAD_SECONDS:.0f} s" if isinstance(error, TimeoutError) else error
            raise WorkerError(f"environment {deployment.environment}: {reason}; see {log}") from None
        except BaseException:
            await zygote.destroy()
            raise
        return zygote

    async def _load(self, deployment: Deployment) -> None:
        header: dict[str, Any] = {
            "op": "load",
            "models": [{"name": m.name, "directory": str(m.directory)} for m in deployment.loaded],
            "profile": deployment.profile.document(),
        }
        if deployment.script_seconds is not None:
            header["activation"] = [str(deployment.prefix), deployment.environment]
        await self._frames.send((header, b""))
        answer = await self._told()
        if answer.get("op") != "loaded":
            raise WorkerError(str(answer.get("error") or "the worker did not load the models")[:2000])
        self.loaded = answer
        self.confined = Confined.parse(answer.get("confinement"))
        for refused in self.confined.refused:
            log.warning("%s: its workers are less confined: %s", deployment.environment, refused)

    @property
    def pid(self) -> int | None:
        """The process that holds the models, once they are loaded."""
        pid = self.loaded.get("pid")
        return pid if type(pid) is int and pid > 0 else None

    async def fork(self, slot: str) -> Instance:
        """Fork an instance; `watch` must be running.

        Raises:
            WorkerError: the zygote is gone or does not answer.

        """
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        self._forking[slot] = loop.create_future()
        try:
            with theirs:
                frame = encode({"op": "fork", "instance": slot})
                socket.send_fds(self._frames.socket, [frame], [theirs.fileno()])
            async with asyncio.timeout(FORK_SECONDS):
                pid = await self._forking[slot]
        except (OSError, TimeoutError):
            ours.close()
            raise WorkerError(f"the zygote did not fork instance {slot}") from None
        except BaseException:
            ours.close()
            raise
        finally:
            self._forking.pop(slot, None)
        return Instance(slot, pid, FrameSocket(ours))

    async def watch(self, on_exit: Callable[[str, int, int], None]) -> None:
        """Listen to the zygote until it is gone; tells of every instance that ended: slot, pid, status."""
        try:
            while True:
                said = await self._told()
                slot = str(said.get("instance"))
                pid = said.get("pid")
                asked = self._forking.get(slot)
                if said.get("op") == "failed" and asked and not asked.done():
                    asked.set_exception(WorkerError(str(said.get("error"))[:2000]))
                if type(pid) is not int:
                    continue
                if said.get("op") == "forked" and asked and not asked.done():
                    asked.set_result(pid)
                elif said.get("op") == "exited":
                    on_exit(slot, pid, int(said.get("status") or 0))
        except WorkerError:
            return
        finally:
            for future in self._forking.values():
                if not future.done():
                    future.set_exception(WorkerError("the zygote is gone"))

    async def _told(self) -> dict[str, Any]:
        said, body = await self._frames.receive()
        body.close()
        return said

    async def destroy(self) -> None:
        """End every process of it and clear its folder. May be called again."""
        self._frames.close()  # its keeper ends all of them, those of other groups too
        try:
            await asyncio.to_thread(self._process.wait, DESTROY_SECONDS)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await asyncio.to_thread(self._process.wait)
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)


def _log_mode(log: Path) -> str:
    return "ab" if log.exists() and log.stat().st_size < MAX_LOG else "wb"


def _spawn(
    deployment: Deployment, control: socket.socket, folder: Path, output: int
) -> subprocess.Popen[bytes]:
    prefix = deployment.prefix
    variables = {
        "PATH": f"{prefix}/bin:/usr/bin:/bin",
        "HOME": str(folder),
        "TMPDIR": str(folder),
        **deployment.profile.environment(),
    }
    readable = (prefix, Path(worker.DIRECTORY), *(served.directory for served in deployment.loaded))
    command = worker.command(
        f"{prefix}/bin/python", control.fileno(), deployment.confinement.document(readable, folder)
    )
    return subprocess.Popen(
        command,
        pass_fds=(control.fileno(),),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=variables,
        cwd=folder,
        umask=0o077,
        start_new_session=True,  # a group of its own: deaf to the terminal's Ctrl-C
    )
