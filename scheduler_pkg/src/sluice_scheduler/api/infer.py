"""`POST /v2/models/MODEL/infer`: a task that its caller waits for.

https://github.com/kserve/open-inference-protocol, "Inference". Statuses are Triton's: 400 for an invalid argument and for
what was cancelled, 404 for an unknown model, 503 for what is unavailable or out of time, 500 for a model that failed.

This is the one route whose own cost shows in every answer, so it speaks ASGI itself, and `Front` answers it before the
application looks for a route. What it takes and gives is described in `described`.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from sluice.errors import SluiceError
from sluice_scheduler.api import bodies, outcome
from sluice_scheduler.api.identity import CALLER
from sluice_scheduler.api.problems import broken, problem, refusal
from sluice_scheduler.dispatcher import Dispatcher
from sluice_scheduler.ending import Ending
from sluice_scheduler.errors import RequestError, TransitionError, UnknownModelError, UnknownTaskError
from sluice_scheduler.inference import HEADER_LENGTH, header_length
from sluice_scheduler.intake import SMALL, Admitted, Intake

PATHS: Final = ("/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}/infer")
BINARY: Final = b"application/octet-stream"
PATIENCE: Final = 0.05  # seconds; whoever waits longer than that is looked after
_PATH: Final = re.compile(r"/v2/models/(?P<model>[^/]+)(?:/versions/(?P<version>[^/]+))?/infer")
_HEADER_LENGTH: Final = HEADER_LENGTH.lower().encode()


def routes(endpoint: Infer) -> list[Route]:
    """Make the routes that infer, for what `Front` lets pass: other methods."""
    return [Route(path, endpoint, methods=["POST"]) for path in PATHS]


class Front:
    """Answers what infers, and passes all else on."""

    def __init__(self, app: ASGIApp, infer: Infer) -> None:
        self._app = app
        self._infer = infer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        found = _PATH.fullmatch(scope["path"]) if scope.get("method") == "POST" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        scope["endpoint"], scope["path_params"] = self._infer, found.groupdict()
        try:
            await self._infer(scope, receive, send)
        except (SluiceError, ClientDisconnect) as error:
            await refusal(error)(scope, receive, send)
        except Exception:  # a bug: it goes on into the log
            await broken()(scope, receive, send)
            raise


class Infer:
    """Queues a task, waits for its answer and gives it; an ASGI application."""

    path_format = PATHS[0]  # what it is counted as

    def __init__(self, intake: Intake, dispatcher: Dispatcher, max_request_bytes: Callable[[], int]) -> None:
        self._intake = intake
        self._dispatcher = dispatcher
        self._max_request_bytes = max_request_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        lengths: list[str] = []
        for name, value in scope["headers"]:
            if name == _HEADER_LENGTH:
                lengths.append(value.decode("latin-1"))
            elif name == b"content-encoding" and value != b"identity":
                told = (
                    f"Content-Encoding {value[:40].decode('latin-1')!r} is not taken here; send it as it is"
                )
                await problem(415, told)(scope, receive, send)
                return
        body = await bodies.receive(scope, receive, self._max_request_bytes())
        path = scope["path_params"]
        try:
            admitted = await self._intake.admit(
                body,
                header_length(lengths, len(body)),
                model=path["model"],
                version=path.get("version"),
                environment=_environment(scope["query_string"]),
                caller=scope[CALLER],
            )
        except UnknownModelError as error:
            await problem(404, str(error))(scope, receive, send)
            return
        ending = await self._ended(admitted, receive)
        if failed := outcome.failure(admitted, ending, path.get("version")):
            await problem(*failed)(scope, receive, send)
            return
        if sum(len(tensor.data) for tensor in ending.outputs) <= SMALL:
            headers, content = _answer(admitted, ending)
        else:
            headers, content = await asyncio.to_thread(_answer, admitted, ending)
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _ended(self, admitted: Admitted, receive: Receive) -> Ending:
        """Wait for an inference's end; it is cancelled if its caller hangs up before."""
        watching: list[asyncio.Task[None]] = []

        def watch() -> None:
            watching.append(asyncio.ensure_future(self._look_after(admitted.submission.id, receive)))

        patience = asyncio.get_running_loop().call_later(PATIENCE, watch)
        try:
            return await self._intake.answer(admitted)
        finally:
            patience.cancel()
            for task in watching:
                task.cancel()

    async def _look_after(self, task: str, receive: Receive) -> None:
        """Cancel a task once the one who waits for it has hung up."""
        while (await receive())["type"] != "http.disconnect":
            pass
        while True:
            with contextlib.suppress(TransitionError):  # it has ended
                try:
                    await self._dispatcher.cancel(task)
                except UnknownTaskError:  # it is being kept just now
                    await asyncio.sleep(PATIENCE)
                    continue
            return


def _environment(query: bytes) -> str | None:
    if not query:
        return None
    given = [value for name, value in parse_qsl(query.decode("latin-1")) if name == "environment"]
    if len(given) > 1:
        raise RequestError(f"environment is given {len(given)} times; give it once")
    return given[0] if given else None


def _answer(admitted: Admitted, ending: Ending) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Write the headers and the body of an answer."""
    job = ending.job
    body, length = admitted.inference.respond(
        ending.outputs,
        model=job.model,
        version=ending.version or admitted.version,
        parameters=outcome.parameters(job),
    )
    headers = [(b"content-length", b"%d" % len(body))]
    if length is None:
        return [*headers, (b"content-type", b"application/json")], body
    return [*headers, (b"content-type", BINARY), (_HEADER_LENGTH, b"%d" % length)], body
