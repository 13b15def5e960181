"""The process around a service: its state folder, its address, its signals, and the service manager.

SIGTERM or SIGINT: no more tasks are taken or started, the running ones finish, the queued ones stay in the
queue. A second one, or `drain_seconds` after the first, ends at once; a task that was running then is run again by the
next daemon. SIGHUP: the configuration is read again.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import shutil
import signal
import socket
import stat
import sys
from collections.abc import Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sluice import atomic
from sluice.errors import SluiceError
from sluice_scheduler import runfile
from sluice_scheduler.channel import PublishedLock
from sluice_scheduler.configuration import Source
from sluice_scheduler.errors import DaemonError
from sluice_scheduler.listening import Server, address, listen
from sluice_scheduler.loops import Loop
from sluice_scheduler.notify import Notifier
from sluice_scheduler.queues.opening import open_queue
from sluice_scheduler.service import Service
from sluice_scheduler.settings import Settings
from sluice_scheduler.vigil import keep_vigil

if TYPE_CHECKING:
    from sluice_scheduler.api.rpc.server import RpcServer

log: Final = logging.getLogger(__name__)

T = TypeVar("T")

YOUNG: Final = 20_000  # objects made since the last collection that begin one; a request makes some hundred
LOCK: Final = "lock"
KEPT: Final = "locks"  # a folder that every scheduler has made in its state folder


class Daemon:
    """One scheduler over one state folder."""

    def __init__(self, source: Source, notifier: Notifier | None = None) -> None:
        """Read the settings.

        Raises:
            SettingsError: one is missing or wrong.

        """
        self._source = source
        self._settings = source.load()
        self._notifier = notifier or Notifier({})
        self._service: Service | None = None  # once it answers
        self._reloading: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._hurrying = asyncio.Event()

    async def run(self) -> None:
        """Serve until a signal asks to stop.

        Raises:
            SluiceError: it cannot start; nothing of it is left running.

        """
        state = self._settings.state
        # First of all: where nobody hears it, a hang-up ends the process.
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._hung_up)
        with _state_folder(state), listen(self._settings.host, self._settings.port) as sock:
            rpc = _rpc_server(self._settings)
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, self._signalled)
            queue = await open_queue(self._settings)
            try:
                service = Service(self._settings, queue, self._source.load, self._notifier)
                published = await self._unless_stopped(service.fetch_locks())
                if published is not None:
                    await self._serve(service, published, sock, rpc)
            finally:
                if rpc:
                    await rpc.stop()
                await queue.close()
                runfile.remove(state)

    async def _unless_stopped(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Return the work's result, or None as soon as a signal asks to stop."""
        working = asyncio.create_task(work)
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if working.done():
            return working.result()
        working.cancel()
        return None

    async def _serve(
        self, service: Service, published: list[PublishedLock], sock: socket.socket, rpc: RpcServer | None
    ) -> None:
        await service.recover()
        server = Server(service.app)
        serving = asyncio.create_task(server.serve(sockets=[sock]))
        if rpc:
            await service.answer_rpc(rpc)
            log.info("listening at %s for gRPC", rpc.address)
        self._service = service
        vigil = Loop("the vigil", partial(keep_vigil, self._notifier, service.status))
        service.loops.add(vigil)
        keeping = asyncio.create_task(service.loops.run())
        stopping = asyncio.create_task(self._stopping.wait())
        raising = asyncio.create_task(self._bring_up(service, published, address(sock)))
        watched = {serving, keeping, stopping, raising}
        try:
            while watched >= {serving, stopping}:
                done, watched = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()  # raises what kept it from coming up, or from going on
            await self._drain(service)
        finally:
            for task in (raising, keeping, stopping):
                task.cancel()
            await asyncio.gather(raising, keeping, stopping, return_exceptions=True)
            await service.stop()
            server.should_exit = True
            await serving
        log.info("stopped")

    async def _bring_up(self, service: Service, published: list[PublishedLock], url: str) -> None:
        runfile.RunFile(url, os.getpid()).write(self._settings.state)
        log.info("listening at %s", url)
        await service.bring_up(published)
        # What was loaded stays: the collector need not go through it again and again while requests wait.
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG)
        self._notifier.ready(await service.status())
        sys.stdout.write(f"ready {url}\n")
        sys.stdout.flush()

    async def _drain(self, service: Service) -> None:
        log.info("stopping: finishing the running tasks; a second signal ends them")
        self._notifier.stopping("finishing the running tasks")
        seconds = service.settings.drain_seconds
        draining = asyncio.create_task(service.drain())
        hurrying = asyncio.create_task(self._hurrying.wait())
        try:
            done, _ = await asyncio.wait(
                (draining, hurrying), timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                log.warning("the running tasks did not finish in %g s and are ended", seconds)
        finally:
            hurrying.cancel()
            draining.cancel()
            await asyncio.gather(draining, hurrying, return_exceptions=True)

    def _signalled(self) -> None:
        (self._hurrying if self._stopping.is_set() else self._stopping).set()

    def _hung_up(self) -> None:
        if self._service is None:
            log.error(
                "reload: the scheduler is still coming up; reload once it is ready. Nothing was changed"
            )
        elif self._reloading is None or self._reloading.done():
            self._reloading = asyncio.create_task(_reload(self._service))


async def _reload(service: Service) -> None:
    try:
        await service.reload()
    except SluiceError as error:
        log.error("reload: %s", error)  # noqa: TRY400 - the line says it all


def _rpc_server(settings: Settings) -> RpcServer | None:
    """Take gRPC's address where there is to be one; only then are its libraries loaded."""
    if settings.grpc_port is None:
        return None
    try:
        from sluice_scheduler.api.rpc.server import RpcServer  # noqa: PLC0415 - they are large
    except ImportError as error:
        raise DaemonError(
            f"--grpc-port needs the packages grpcio and protobuf beside sluice-scheduler: {error}"
        ) from None
    return RpcServer.bind(settings.host, settings.grpc_port, settings.max_request_bytes)


@contextlib.contextmanager
def _state_folder(state: Path) -> Iterator[None]:
    """Hold the state folder alone, with what it needs inside."""
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        with atomic.exclusive(state / LOCK, wait=False):
            _make_private(state)
            shutil.rmtree(state / "tmp", ignore_errors=True)  # of a daemon that was killed
            for name in ("tmp", "logs", KEPT):
                (state / name).mkdir(mode=0o700, exist_ok=True)
            yield
    except BlockingIOError:
        raise DaemonError(
            f"another scheduler runs in {state}; stop it or choose another folder with --state"
        ) from None
    except (NotADirectoryError, FileExistsError, PermissionError) as error:
        raise DaemonError(f"cannot use the state folder {state}: {error.strerror}") from None


def _make_private(state: Path) -> None:
    """Close a folder that was there before to other users, if it is a scheduler's."""
    if not state.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return
    if (state / KEPT).exists() or {path.name for path in state.iterdir()} <= {LOCK}:
        state.chmod(0o700)
    else:
        log.warning("%s is open to other users and has files of others in it; `chmod 700` it", state)
