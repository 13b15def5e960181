"""Speaks to a running scheduler: what the command line is built on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Self
from urllib.parse import quote, urlsplit

import httpx

from sluice_scheduler.errors import ClientError
from sluice_scheduler.sse import Event, parse

TIMEOUT: Final = httpx.Timeout(30.0, connect=5.0)  # seconds
WAIT_AT_A_TIME: Final = 20.0  # seconds, of one request that waits for a task
MOST_AT_ONCE: Final = 1000  # tasks of one request
BYTES_AT_ONCE: Final = 1 << 20  # of one request with several tasks
ENDED: Final = frozenset({"succeeded", "failed", "cancelled"})
_FOLLOWING: Final = httpx.Timeout(60.0, connect=5.0)  # seconds; a follower hears something every 15
_TASKS: Final = "/v1/tasks"
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


class Client:
    """A connection to one scheduler; a context manager."""

    def __init__(self, url: str, key: str | None = None) -> None:
        """Speak to the scheduler at a URL, with an API key where it wants one."""
        self._url = url.rstrip("/")
        proxies = urlsplit(self._url).hostname not in LOOPBACK
        try:
            headers = {"X-API-Key": key} if key else {}
            self._http = httpx.Client(base_url=self._url, timeout=TIMEOUT, trust_env=proxies, headers=headers)
        except (httpx.InvalidURL, UnicodeError) as error:
            raise ClientError(f"not a scheduler's address: {url[:200]}: {error}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, **query: str | float) -> Any:  # noqa: ANN401 - JSON
        """GET a JSON document.

        Raises:
            ClientError: the scheduler does not answer, or answers with an error: the message is its own.

        """
        return self._ask("GET", path, params=query)

    def submit(self, task: dict[str, Any], *, key: str | None = None) -> dict[str, Any]:
        """Submit a task, under an idempotency key if one is given; returns it as the scheduler has it.

        Raises:
            ClientError: as `get`.

        """
        headers = {} if key is None else {"Idempotency-Key": key}
        answer: dict[str, Any] = self._ask("POST", _TASKS, json=task, headers=headers)
        return answer

    def submit_many(self, tasks: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Submit tasks in their order, some hundred kilobytes at a time, each part whole or not at all.

        Raises:
            ClientError: as `get`; the parts before are submitted.

        """
        part: list[str] = []
        size = 0
        for text in map(json.dumps, tasks):
            if part and (len(part) == MOST_AT_ONCE or size + len(text) > BYTES_AT_ONCE):
                yield from self._submit_part(part)
                part, size = [], 0
            part.append(text)
            size += len(text)
        if part:
            yield from self._submit_part(part)

    def tasks(self, limit: int, **filters: str | float) -> Iterator[dict[str, Any]]:
        """List the tasks that a filter means, the latest first, page by page.

        Raises:
            ClientError: as `get`.

        """
        path, query = _TASKS, {**filters, "limit": min(limit, MOST_AT_ONCE)}
        while True:
            response = self._send("GET", path, params=query)
            yield from response.json()[:limit]
            limit -= len(response.json())
            if limit <= 0 or "next" not in response.links:
                return
            path, query = response.links["next"]["url"], {}

    def retry(self, task: str) -> dict[str, Any]:
        """Have a failed task tried again.

        Raises:
            ClientError: as `get`.

        """
        document: dict[str, Any] = self._ask("POST", f"{_path(task)}/retry")
        return document

    def retry_all(self, limit: int, **filters: str | float) -> Iterable[dict[str, Any]]:
        """Have the failed tasks that a filter means tried again.

        Raises:
            ClientError: as `get`.

        """
        documents: Iterable[dict[str, Any]] = self._ask(
            "POST", f"{_TASKS}/retry", params={**filters, "limit": limit}
        )
        return documents

    def events(self, task: str | None = None, **filters: str | float) -> Iterator[Event]:
        """Follow a task until it has ended, or all that a filter means until the scheduler stops.

        Raises:
            ClientError: as `get`.

        """
        path = f"{_TASKS if task is None else _path(task)}/events"
        with self._failing(), self._http.stream("GET", path, params=filters, timeout=_FOLLOWING) as response:
            if not response.is_success:
                response.read()
                self._checked(response, path)
            yield from parse(response.iter_lines())

    def wait(self, task: str, seconds: float) -> dict[str, Any]:
        """Return a task once it has ended, or as it is after so many seconds.

        Raises:
            ClientError: as `get`.

        """
        left = seconds
        while True:
            document: dict[str, Any] = self.get(_path(task), wait=min(left, WAIT_AT_A_TIME))
            left -= WAIT_AT_A_TIME
            if document.get("state") in ENDED or left <= 0:
                return document

    def cancel(self, task: str) -> dict[str, Any]:
        """Cancel a task.

        Raises:
            ClientError: as `get`.

        """
        document: dict[str, Any] = self._ask("DELETE", _path(task))
        return document

    def record(self, task: str) -> Any:  # noqa: ANN401 - JSON, checked by whoever reads it
        """Fetch an answer's record.

        Raises:
            ClientError: as `get`.

        """
        return self.get(f"{_path(task)}/record")

    def receipt(self, task: str) -> bytes:
        """Fetch an answer's receipt as it is.

        Raises:
            ClientError: as `get`.

        """
        return self._send("GET", f"{_path(task)}/receipt").content

    def keys(self) -> bytes:
        """Fetch the scheduler's public keys as they are.

        Raises:
            ClientError: as `get`.

        """
        return self._send("GET", "/v1/keys").content

    def reload(self) -> list[str]:
        """Have the scheduler read its configuration again; returns the names of the settings that changed.

        Raises:
            ClientError: as `get`.

        """
        changed: list[str] = self._ask("POST", "/v1/reload")["changed"]
        return changed

    def reset_breaker(self, environment: str) -> dict[str, Any]:
        """Have the failures of an environment, its name quoted, forgotten; returns the environment.

        Raises:
            ClientError: as `get`.

        """
        shown: dict[str, Any] = self._ask("POST", f"/v1/environments/{environment}/breaker/reset")
        return shown

    def order(self, path: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Give an order about a deployment; returns what became of it, or that it goes on.

        Raises:
            ClientError: as `get`; a candidate that was refused is told in what is returned.

        """
        document: dict[str, Any] = self._ask("POST", path, also=409, json=asked)
        if "outcome" not in document:
            raise ClientError(str(document.get("error")))
        return document

    def health(self) -> dict[str, Any]:
        """Say whether it is ready, and if not what it is doing.

        Raises:
            ClientError: it does not answer.

        """
        document: dict[str, Any] = self._ask("GET", "/health/ready", also=503)
        return document

    def _ask(self, method: str, path: str, *, also: int = 200, **options: Any) -> Any:  # noqa: ANN401 - httpx's
        return self._send(method, path, also=also, **options).json()

    def _submit_part(self, part: list[str]) -> Iterator[dict[str, Any]]:
        content = f'{{"tasks": [{",".join(part)}]}}'
        headers = {"Content-Type": "application/json"}
        yield from self._ask("POST", _TASKS, content=content, headers=headers)["tasks"]

    def _send(self, method: str, path: str, *, also: int = 200, **options: Any) -> httpx.Response:  # noqa: ANN401
        with self._failing():
            response = self._http.request(method, path, **options)
        return self._checked(response, path, also)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            raise ClientError(
                f"no scheduler answers at {self._url}: {reason}; start one with `sluice scheduler serve`"
            ) from None

    def _checked(self, response: httpx.Response, path: str, also: int = 200) -> httpx.Response:
        try:
            document = response.json()
        except ValueError:
            raise ClientError(
                f"what answers at {self._url} is no Sluice scheduler ({response.status_code})"
            ) from None
        if not response.is_success and response.status_code != also:
            told = document.get("error") if isinstance(document, dict) else None
            raise ClientError(str(told or f"{self._url}{path} answers {response.status_code}"))
        return response


def _path(task: str) -> str:
    return f"{_TASKS}/{quote(task, safe='')}"
