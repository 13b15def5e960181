"""A Redis server that keeps the queue: getting in, what it must promise, and one scheduler at a time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from importlib import resources
from typing import Any, Final, Self

from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import AuthenticationError, ConnectionError, RedisError, TimeoutError  # noqa: A004

from sluice_scheduler.errors import QueueError
from sluice_scheduler.queues.redis_address import RedisAddress

log: Final = logging.getLogger(__name__)

FORMAT: Final = 1  # of the keys; another is not read
CONNECTIONS: Final = 32
ANSWER_SECONDS: Final = 5.0  # of a server that is slow or hangs
CONNECT_SECONDS: Final = 3.0
TRIES_AGAIN: Final = 3  # of one that refuses or hangs up
HOLD_SECONDS: Final = 30.0  # after these another scheduler may take the queue of one that is gone
RENEW_SECONDS: Final = 5.0
SHOWN: Final = 200  # characters of an error of the server
_TAKEN: Final = "TAKEN"

Part = str | bytes


def _script(*names: str) -> bytes:
    files = resources.files(__package__ or "")
    return b"\n".join(files.joinpath(f"redis_{name}.lua").read_bytes() for name in names)


READS: Final = {
    "depths": _script("keys", "depths"),
    "due": _script("keys", "due"),
    "get": _script("keys", "get"),
    "list": _script("keys", "list"),
    "standing": _script("keys", "standing"),
    "waiting": _script("keys", "ranked", "waiting"),
    "window": _script("keys", "ranked", "window"),
    "hold": _script("keys", "hold"),
    "release": _script("keys", "release"),
}
WRITES: Final = {
    "forget": _script("keys", "alone", "forget"),
    "lease": _script("keys", "alone", "ranked", "lease"),
    "move": _script("keys", "alone", "move"),
    "put": _script("keys", "alone", "put"),
}


class RedisServer:
    """Runs the queue's scripts under one prefix of one server, as long as no other scheduler does.

    Every script says the same when it is said again, so one whose answer got lost is; at most `TRIES_AGAIN` times.
    """

    def __init__(self, address: RedisAddress, prefix: str, holder: str) -> None:
        """`holder` names the scheduler; who comes back under its name goes on at once."""
        self._address = address
        self._prefix = prefix
        self._holder = holder
        self._redis = Redis.from_pool(_pool(address))
        self._scripts = {name: self._redis.register_script(text) for name, text in (READS | WRITES).items()}
        self._holding: asyncio.Task[None] | None = None
        self.name = ""  # of the queue, whatever the address it is reached at

    @classmethod
    async def open(cls, address: RedisAddress, prefix: str, holder: str) -> Self:
        """Connect, look at what the server promises, and hold the queue.

        Raises:
            QueueError: it cannot be reached, does not keep what it is told, or another scheduler holds the queue.

        """
        server = cls(address, prefix, holder)
        try:
            await server._look()
            await server._hold()
        except BaseException:
            await server._redis.aclose()
            raise
        server._holding = asyncio.create_task(server._keep_holding())
        return server

    async def run(self, name: str, *arguments: Part) -> Any:  # noqa: ANN401 - what the script says it gives
        """Run a script.

        Raises:
            QueueError: the server did not do it.

        """
        alone = (self._holder, _milliseconds(HOLD_SECONDS)) if name in WRITES else ()
        try:
            return await self._scripts[name](keys=[self._prefix], args=[*alone, *arguments])
        except (RedisError, OSError) as error:
            raise self._told(error) from None

    async def read(self, command: str, key: str, *arguments: Part) -> Any:  # noqa: ANN401 - as the command
        """Run a command of Redis on a key of the queue.

        Raises:
            QueueError: the server did not do it.

        """
        try:
            return await self._redis.execute_command(  # type: ignore[no-untyped-call]
                command, self._prefix + key, *arguments
            )
        except (RedisError, OSError) as error:
            raise self._told(error) from None

    async def close(self) -> None:
        """Let the queue and the connections go."""
        if self._holding is not None:
            self._holding.cancel()
            await asyncio.gather(self._holding, return_exceptions=True)
        with contextlib.suppress(QueueError):  # it lets go by itself
            await self.run("release", self._holder)
        await self._redis.aclose()

    async def _look(self) -> None:
        try:
            persistence = await self._redis.info("persistence")
            memory = await self._redis.info("memory")
        except (RedisError, OSError) as error:
            raise self._told(error) from None
        if not persistence.get("aof_enabled"):
            raise QueueError(
                f"the Redis at {self._address} would forget tasks when it stops; "
                "start it with `appendonly yes`, best with `appendfsync always`"
            )
        policy = memory.get("maxmemory_policy", "noeviction")
        if policy != "noeviction" and memory.get("maxmemory"):
            raise QueueError(
                f"the Redis at {self._address} would drop tasks when its memory is full (maxmemory-policy {policy}); "
                "set `maxmemory-policy noeviction`"
            )
        try:
            answer = await self._redis.config_get("appendfsync")
            (sync,) = map(_text, answer.values())
        except (RedisError, OSError):  # an account that may not ask
            sync = "unknown"
        if sync == "no":
            raise QueueError(
                f"the Redis at {self._address} leaves it to the system when tasks reach the disk (appendfsync no); "
                "set `appendfsync always` or at least `everysec`"
            )
        if sync != "always":
            log.warning(
                "the Redis at %s has appendfsync %s: a power cut of its machine may lose what was accepted in the "
                "last seconds before; with `appendfsync always` it does not",
                self._address,
                sync,
            )

    async def _hold(self) -> None:
        new = secrets.token_hex(8)
        answer = await self.run("hold", self._holder, _milliseconds(HOLD_SECONDS), str(FORMAT), new)
        found, left, self.name = int(answer[0]), int(answer[1]), _text(answer[2])
        if found != FORMAT:
            raise QueueError(
                f"the queue {self._prefix!r} at {self._address} has format {found}, this Sluice reads {FORMAT}; "
                "use the version that wrote it or another queue_prefix"
            )
        if left:
            raise QueueError(
                f"another scheduler serves the queue {self._prefix!r} at {self._address}; stop it, choose another "
                f"queue_prefix, or try again in {left / 1000:.0f} s if it is gone"
            )

    async def _keep_holding(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                await self._hold()
            except QueueError as error:
                log.error("%s", error)  # noqa: TRY400 - the line says it all

    def _told(self, error: Exception) -> QueueError:
        text = " ".join(str(error).split())[:SHOWN]
        if text.startswith(_TAKEN):
            return QueueError(f"another scheduler took over the queue {self._prefix!r} at {self._address}")
        if isinstance(error, AuthenticationError):
            return QueueError(f"the Redis at {self._address} does not let us in: {text}")
        if not isinstance(error, ConnectionError | TimeoutError | OSError):
            return QueueError(f"the Redis at {self._address} did not do what was asked: {text}")
        return QueueError(
            f"the Redis at {self._address} does not answer: {text}; what was accepted is kept, try again later"
        )


def _pool(address: RedisAddress) -> BlockingConnectionPool:
    options: dict[str, Any] = {
        "host": address.host,
        "port": address.port,
        "db": address.database,
        "username": address.username,
        "password": address.password,
        "socket_timeout": ANSWER_SECONDS,
        "socket_connect_timeout": CONNECT_SECONDS,
        "retry": Retry(ExponentialBackoff(cap=0.2, base=0.05), TRIES_AGAIN, (ConnectionError,)),
        "protocol": 2,
        "driver_info": None,  # a command that Redis 7.0 does not know yet
        "connection_class": SSLConnection if address.tls else Connection,
    }
    if address.tls:
        options["ssl_ca_certs"] = str(address.ca) if address.ca else None
    return BlockingConnectionPool(max_connections=CONNECTIONS, timeout=ANSWER_SECONDS, **options)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))
