"""Speaks to a running scheduler: what the command line is built on."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote, urlsplit

import httpx

from sluice_scheduler.errors import ClientError

TIMEOUT: Final = httpx.Timeout(30.0, connect=5.0)  # seconds
WAIT_AT_A_TIME: Final = 20.0  # seconds, of one request that waits for a task
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
MAX_INPUT_FILE: Final = 64 << 20  # bytes


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

    def submit(
        self,
        model: str,
        inputs: list[dict[str, Any]],
        *,
        priority: int | None = None,
        environment: str | None = None,
    ) -> dict[str, Any]:
        """Submit a task; returns it as queued.

        Raises:
            ClientError: as `get`.

        """
        request: dict[str, Any] = {"model": model, "inputs": inputs}
        if priority is not None:
            request["priority"] = priority
        if environment is not None:
            request["environment"] = environment
        task: dict[str, Any] = self._ask("POST", "/v1/tasks", json=request)
        return task

    def wait(self, task: str, seconds: float) -> dict[str, Any]:
        """Return a task once it has ended, or as it is after so many seconds.

        Raises:
            ClientError: as `get`.

        """
        left = seconds
        while True:
            document: dict[str, Any] = self.get(
                f"/v1/tasks/{quote(task, safe='')}", wait=min(left, WAIT_AT_A_TIME)
            )
            left -= WAIT_AT_A_TIME
            if document.get("finished_at") is not None or left <= 0:
                return document

    def cancel(self, task: str) -> dict[str, Any]:
        """Cancel a task.

        Raises:
            ClientError: as `get`.

        """
        document: dict[str, Any] = self._ask("DELETE", f"/v1/tasks/{quote(task, safe='')}")
        return document

    def record(self, task: str) -> Any:  # noqa: ANN401 - JSON, checked by whoever reads it
        """Fetch an answer's record.

        Raises:
            ClientError: as `get`.

        """
        return self.get(f"/v1/tasks/{quote(task, safe='')}/record")

    def receipt(self, task: str) -> bytes:
        """Fetch an answer's receipt as it is.

        Raises:
            ClientError: as `get`.

        """
        return self._send("GET", f"/v1/tasks/{quote(task, safe='')}/receipt").content

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

    def health(self) -> dict[str, Any]:
        """Say whether it is ready, and if not what it is doing.

        Raises:
            ClientError: it does not answer.

        """
        document: dict[str, Any] = self._ask("GET", "/health/ready", also=503)
        return document

    def _ask(self, method: str, path: str, *, also: int = 200, **options: Any) -> Any:  # noqa: ANN401 - httpx's
        return self._send(method, path, also=also, **options).json()

    def _send(self, method: str, path: str, *, also: int = 200, **options: Any) -> httpx.Response:  # noqa: ANN401
        try:
            response = self._http.request(method, path, **options)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            raise ClientError(
                f"no scheduler answers at {self._url}: {reason}; start one with `sluice scheduler serve`"
            ) from None
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


def parse_input(text: str) -> dict[str, Any]:
    """Read `NAME=TEXT` or `NAME=@FILE` as one BYTES element.

    Raises:
        ClientError: it is neither, or the file cannot be read.

    """
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ClientError(f"an input is NAME=TEXT or NAME=@FILE, not {text[:80]!r}")
    if not value.startswith("@"):
        return {"name": name, "datatype": "BYTES", "shape": [1], "data": [value]}
    content = _read(Path(value[1:]))
    return {
        "name": name,
        "datatype": "BYTES",
        "shape": [1],
        "parameters": {"content_type": "base64"},
        "data": [base64.b64encode(content).decode("ascii")],
    }


def read_inputs(path: Path) -> list[dict[str, Any]]:
    """Read a JSON file that is an Open Inference Protocol request, or its `inputs` list.

    Raises:
        ClientError: it cannot be read or is neither.

    """
    try:
        document = json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise ClientError(f"{path}: it is not JSON: {error}") from None
    inputs = document.get("inputs") if isinstance(document, dict) else document
    if not isinstance(inputs, list):
        raise ClientError(f"{path}: expected a list of tensors, or an object with such a list as inputs")
    return inputs


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_INPUT_FILE:
            raise ClientError(f"{path}: it is larger than {MAX_INPUT_FILE} bytes")
        return path.read_bytes()
    except OSError as error:
        raise ClientError(f"{path}: {error.strerror or error}") from None
