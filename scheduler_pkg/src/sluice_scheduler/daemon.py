"""The composition root: everything a running scheduler is made of, and the signals that end it.

SIGTERM or SIGINT: no more tasks are taken or started, the running ones finish, the queued ones stay in the
queue. A second one ends at once; a task that was running then is run again by the next daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import uvicorn

from sluice import atomic
from sluice.progress import Progress
from sluice.settings import Settings as CoreSettings
from sluice_scheduler import background, rooted, runfile
from sluice_scheduler.api.app import create_app
from sluice_scheduler.channel import PublishedLock, fetch_lock
from sluice_scheduler.deployments import Realise, deploy, realiser
from sluice_scheduler.dispatcher import Dispatcher
from sluice_scheduler.errors import DaemonError
from sluice_scheduler.fleet import Fleet
from sluice_scheduler.intake import Intake
from sluice_scheduler.job import State
from sluice_scheduler.keys import Keys
from sluice_scheduler.narration import Narration
from sluice_scheduler.profile import NumericProfile
from sluice_scheduler.queues.sqlite import SqliteQueue
from sluice_scheduler.receipts import Issuer, identity
from sluice_scheduler.settings import Settings

log: Final = logging.getLogger(__name__)

T = TypeVar("T")

BACKLOG: Final = 1024  # connections waiting to be accepted
LINGER_SECONDS: Final = 5  # for answers that are being written when the daemon stops
"""Makes the realiser of one environment, given its name and progress."""
RealiserFor = Callable[[str, Progress], Realise]


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the daemon has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Daemon:
    """One scheduler over one state folder."""

    def __init__(self, settings: Settings, realiser_for: RealiserFor | None = None) -> None:
        self._settings = settings
        self._realiser_for = realiser_for or self._realiser
        self._profile = NumericProfile(threads=settings.threads, deterministic=settings.deterministic)
        self._stopping = asyncio.Event()
        self._hurrying = asyncio.Event()

    async def run(self) -> None:
        """Serve until a signal asks to stop.

        Raises:
            SluiceError: it cannot start; nothing of it is left running.

        """
        state = self._settings.state
        with _state_folder(state), listen(self._settings.host, self._settings.port) as sock:
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, self._signalled)
            published = await self._unless_stopped(self._fetch_locks())
            if published is None:
                return
            queue = SqliteQueue(state / "queue.sqlite")
            try:
                await self._serve(queue, published, sock)
            finally:
                await queue.close()
                runfile.remove(state)

    def _realiser(self, environment: str, progress: Progress) -> Realise:
        settings = self._settings
        return realiser(
            settings.prefix_root,
            progress,
            root=rooted.name(settings.state, environment),
            mirrors=CoreSettings.load().mirrors,
        )

    async def _fetch_locks(self) -> list[PublishedLock]:
        settings = self._settings
        return [await background.run(partial(fetch_lock, settings.channel, name)) for name in settings.env]

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

    async def _serve(self, queue: SqliteQueue, published: list[PublishedLock], sock: socket.socket) -> None:
        settings = self._settings
        await self._recover(queue)
        try:
            for gone in rooted.drop_others(settings.prefix_root, settings.state, settings.env):
                log.info("root %s is dropped: its environment is not served any more", gone)
        except OSError as error:
            log.warning("a root of an environment that is not served any more stays: %s", error)
        fleet = Fleet(
            settings.env,
            instances=settings.instances,
            tmp=settings.state / "tmp",
            logs=settings.state / "logs",
        )
        keys = Keys(settings.state)
        dispatcher = Dispatcher(
            queue,
            Issuer(keys, identity()),
            task_seconds=settings.task_seconds,
            batch_wait=settings.batch_wait,
        )
        intake = Intake(fleet, queue, dispatcher, ageing=settings.ageing)
        app = create_app(
            fleet=fleet,
            queue=queue,
            dispatcher=dispatcher,
            intake=intake,
            keys=keys,
            ageing=settings.ageing,
            max_request_bytes=settings.max_request_bytes,
        )
        server = _Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=LINGER_SECONDS,
            )
        )
        serving = asyncio.create_task(server.serve(sockets=[sock]))
        keeping = asyncio.create_task(dispatcher.keep_house())
        stopping = asyncio.create_task(self._stopping.wait())
        raising = asyncio.create_task(self._bring_up(fleet, dispatcher, published, sock))
        try:
            await asyncio.wait((serving, stopping, raising), return_when=asyncio.FIRST_COMPLETED)
            if raising.done():
                raising.result()  # raises what kept it from coming up
                await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
            await self._drain(dispatcher)
        finally:
            for task in (raising, keeping, stopping):
                task.cancel()
            await asyncio.gather(raising, keeping, stopping, return_exceptions=True)
            await fleet.stop()
            server.should_exit = True
            await serving
        log.info("stopped")

    async def _bring_up(
        self, fleet: Fleet, dispatcher: Dispatcher, published: list[PublishedLock], sock: socket.socket
    ) -> None:
        url = address(sock)
        runfile.RunFile(url, os.getpid()).write(self._settings.state)
        log.info("listening at %s", url)
        for lock in published:
            member = fleet.members[lock.environment]

            def remember(text: str, member_doing: Callable[[str], None] = member.now_doing) -> None:
                member_doing(f"being realised: {text}")

            log.info("%s: lock %s, realising", lock.environment, lock.digest.short)
            began = time.monotonic()
            making = partial(
                deploy,
                lock,
                locks_folder=self._settings.state / "locks",
                realise=self._realiser_for(lock.environment, Narration(lock.environment, remember)),
                profile=self._profile,
                max_batch=self._settings.max_batch,
            )
            deployment = await background.run(making)
            dispatcher.serve(await fleet.start(deployment))
            names = ", ".join(f"{model.name} {model.model.version}" for model in deployment.models)
            log.info("%s: up after %.1f s: %s", lock.environment, time.monotonic() - began, names)
        sys.stdout.write(f"ready {url}\n")
        sys.stdout.flush()

    async def _recover(self, queue: SqliteQueue) -> None:
        """Take back what a daemon that was killed had leased: no other can hold a lease of this queue."""
        for job in await queue.sweep(now=time.time(), abandoned=True):
            log.warning("task %s was running when the last daemon ended; it is %s", job.id, job.state)
        counts = await queue.counts()
        for (lane, state), number in sorted(counts.items()):
            if state is State.QUEUED:
                served = "" if lane in self._settings.env else "; that environment is not served, they wait"
                log.info("%s: %d tasks wait%s", lane, number, served)

    async def _drain(self, dispatcher: Dispatcher) -> None:
        log.info("stopping: finishing the running tasks; a second signal ends them")
        draining = asyncio.create_task(dispatcher.drain())
        hurrying = asyncio.create_task(self._hurrying.wait())
        try:
            await asyncio.wait((draining, hurrying), return_when=asyncio.FIRST_COMPLETED)
        finally:
            hurrying.cancel()
            draining.cancel()
            await asyncio.gather(draining, hurrying, return_exceptions=True)

    def _signalled(self) -> None:
        (self._hurrying if self._stopping.is_set() else self._stopping).set()


@contextlib.contextmanager
def _state_folder(state: Path) -> Iterator[None]:
    """Hold the state folder alone, with what it needs inside."""
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        with atomic.exclusive(state / "lock", wait=False):
            shutil.rmtree(state / "tmp", ignore_errors=True)  # of a daemon that was killed
            for name in ("tmp", "logs", "locks"):
                (state / name).mkdir(exist_ok=True)
            yield
    except BlockingIOError:
        raise DaemonError(
            f"another scheduler runs in {state}; stop it or choose another folder with --state"
        ) from None
    except (NotADirectoryError, FileExistsError, PermissionError) as error:
        raise DaemonError(f"cannot use the state folder {state}: {error.strerror}") from None


@contextlib.contextmanager
def listen(host: str, port: int) -> Iterator[socket.socket]:
    """Take an address before anything else is done.

    Raises:
        DaemonError: it is in use, or is not this machine's.

    """
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        raise DaemonError(f"no such host: {host}: {error.strerror or error}") from None
    with sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(where)
            sock.listen(BACKLOG)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise DaemonError(f"port {port} of {host} is in use; choose another with --port") from None
            raise DaemonError(f"cannot listen at {host} port {port}: {error.strerror or error}") from None
        sock.setblocking(False)
        yield sock


def address(sock: socket.socket) -> str:
    """Name the URL that a listening socket answers at."""
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
