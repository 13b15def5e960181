"""The address at which gRPC is answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Self

import grpc

from sluice_scheduler.api.measuring import Requests
from sluice_scheduler.api.rpc import looking
from sluice_scheduler.api.rpc.calls import INFERRING, Calls
from sluice_scheduler.api.rpc.inferring import Inferring
from sluice_scheduler.dispatcher import Dispatcher
from sluice_scheduler.entrance import Entrance
from sluice_scheduler.errors import DaemonError
from sluice_scheduler.fleet import Fleet
from sluice_scheduler.intake import Intake
from sluice_scheduler.listening import LINGER_SECONDS
from sluice_scheduler.repository import Repository

MOST_STREAMS: Final = 1024  # calls of one connection at a time
_UNCOMPRESSED: Final = 1  # of grpc_compression_algorithm, as a set of bits


class RpcServer:
    """An address that is taken, and answers once it is told how."""

    def __init__(self, server: grpc.aio.Server, address: str) -> None:
        self._server = server
        self._inferring: Inferring | None = None
        self.address = address  # HOST:PORT

    @classmethod
    def bind(cls, host: str, port: int, max_request_bytes: int) -> Self:
        """Take an address; port 0 takes a free one.

        Raises:
            DaemonError: it is in use, or is not this machine's.

        """
        server = grpc.aio.server(
            options=(
                ("grpc.so_reuseport", 0),  # or two schedulers would share a port
                ("grpc.max_receive_message_length", max_request_bytes),
                ("grpc.max_concurrent_streams", MOST_STREAMS),
                # As over HTTP: what is unpacked may be a thousand times what came.
                ("grpc.compression_enabled_algorithms_bitset", _UNCOMPRESSED),
            )
        )
        where = f"[{host}]" if ":" in host else host
        try:
            bound = server.add_insecure_port(f"{where}:{port}")
        except RuntimeError as error:
            raise DaemonError(
                f"cannot listen at {host} port {port} for gRPC: {error}; choose another with --grpc-port"
            ) from None
        return cls(server, f"{where}:{bound}")

    async def serve(
        self,
        *,
        fleet: Fleet,
        dispatcher: Dispatcher,
        intake: Intake,
        repository: Repository,
        entrance: Entrance,
        requests: Requests,
        max_request_bytes: Callable[[], int],
    ) -> None:
        """Begin to answer."""
        methods = looking.methods(fleet, dispatcher, repository)
        methods[INFERRING] = self._inferring = Inferring(intake, dispatcher)
        calls = Calls(methods, entrance=entrance, requests=requests, max_request_bytes=max_request_bytes)
        self._server.add_generic_rpc_handlers((calls,))
        await self._server.start()

    async def stop(self) -> None:
        """Take no more calls, and end those that are still under way after a while."""
        if self._inferring:
            self._inferring.stopping = True
        await self._server.stop(LINGER_SECONDS)
