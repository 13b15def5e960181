"""Publish to a server from elsewhere: uploads go on where they stood, and every request may be repeated."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import httpx

from sluice.digest import CHUNK, Digest
from sluice_channel.errors import ChannelError

ATTEMPTS: Final = 8  # in a row without a byte of progress
_LONGEST_WAIT: Final = 20.0  # seconds between two of them
_TIMEOUT: Final = httpx.Timeout(
    600.0, connect=10.0, write=60.0
)  # a large package is verified before the answer
_PASSING: Final = frozenset(
    {
        HTTPStatus.CONFLICT,  # of an upload: another sender is at it
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
_LABELLED: Final = 3  # parts of CHANNEL/label/LABEL


@dataclass(frozen=True, slots=True)
class Address:
    """A channel on a server, as `http://HOST[/t/TOKEN]/CHANNEL[/label/LABEL]` names it."""

    server: str
    channel: str  # with its label
    token: str | None = None

    @classmethod
    def parse(cls, url: str, token: str | None = None) -> Self:
        """Read a channel's URL.

        Raises:
            ChannelError: it is none.

        """
        parts = urlsplit(url)
        path = [unquote(part) for part in parts.path.split("/") if part]
        length = _LABELLED if len(path) >= _LABELLED and path[-2] == "label" else 1
        if parts.scheme not in {"http", "https"} or not parts.hostname or not path:
            raise ChannelError(f"not a channel's URL (http://HOST:PORT/CHANNEL): {url[:200]!r}")
        channel, before = "/".join(path[-length:]), path[:-length]
        if before[-2:-1] == ["t"]:
            token, before = token or before[-1], before[:-2]
        server = urlunsplit((parts.scheme, parts.netloc, "/".join(["", *map(quote, before)]), "", ""))
        return cls(server, channel, token)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a change."""

    generation: int
    changed: bool


class Client:
    """Changes one channel of a server. To be closed, or used with `with`."""

    def __init__(
        self,
        address: Address,
        *,
        sleep: Callable[[float], None] = time.sleep,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {address.token}"} if address.token else {}
        self._sleep = sleep
        self._base = f"{address.server}/api/v1/channels/{quote(address.channel)}"
        self._http = httpx.Client(headers=headers, timeout=_TIMEOUT, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def publish(self, path: Path, on_bytes: Callable[[int], None] = lambda _: None) -> Answer:
        """Upload a package where it is not on the server yet, and publish it; `on_bytes` is told of progress.

        Raises:
            ChannelError: the server refuses, or cannot be reached for a while.
            OSError: the file cannot be read.

        """
        digest, size = Digest.of_file(path), path.stat().st_size
        upload = f"{self._base}/uploads/{digest}"
        told = 0
        failures = 0
        while True:
            try:
                standing = self._standing(upload, size)
                if standing > told:
                    on_bytes(standing - told)
                    told, failures = standing, 0
                if standing == size:
                    return self._announce(path.name, digest)
                self._send(upload, path, standing)
            except _PassingError as error:
                failures += 1
                if failures >= ATTEMPTS:
                    raise ChannelError(
                        f"{path.name} was not published: {error}; run it again to go on"
                    ) from error
                self._sleep(min(0.25 * 2**failures, _LONGEST_WAIT))

    def yank(self, subdir: str, filename: str, reason: str) -> Answer:
        """Hide a package from the index."""
        return self._change(f"packages/{quote(subdir)}/{quote(filename)}/yank", {"reason": reason})

    def unyank(self, subdir: str, filename: str) -> Answer:
        """Show a yanked package again."""
        return self._change(f"packages/{quote(subdir)}/{quote(filename)}/unyank", None)

    def remove(self, subdir: str, filename: str) -> Answer:
        """Take a yanked package out of the channel."""
        path = f"packages/{quote(subdir)}/{quote(filename)}"
        return self._answer(self._request("DELETE", f"{self._base}/{path}", final=True))

    def promote(self, source: str, keys: Sequence[tuple[str, str]], generation: int | None) -> Answer:
        """Show packages of another channel of the server, all or none."""
        packages = [{"subdir": subdir, "filename": filename} for subdir, filename in keys]
        body: dict[str, Any] = {"source": source, "packages": packages}
        return self._change("promote", body | ({"generation": generation} if generation is not None else {}))

    def _standing(self, upload: str, size: int) -> int:
        response = self._request("HEAD", upload)
        if response.headers.get("Upload-Complete") == "?1":
            return size
        standing = _number(response.headers.get("Upload-Offset"))
        if standing > size:
            self._request("DELETE", upload)  # what is there cannot be the beginning of this file
            return 0
        return standing

    def _send(self, upload: str, path: Path, start: int) -> None:
        length = path.stat().st_size - start
        headers = {
            "Upload-Offset": str(start),
            "Content-Length": str(length),
            "Content-Type": "application/partial-upload",
        }
        self._request("PATCH", upload, content=_pieces(path, start), headers=headers)

    def _announce(self, filename: str, digest: Digest) -> Answer:
        document = {"sha256": digest.hex, "filename": filename}
        return self._answer(self._request("POST", f"{self._base}/packages", json=document, final=True))

    def _change(self, path: str, document: Mapping[str, Any] | None) -> Answer:
        try:
            return self._answer(self._request("POST", f"{self._base}/{path}", json=document, final=True))
        except _PassingError as error:
            raise ChannelError(str(error)) from error

    def _answer(self, response: httpx.Response) -> Answer:
        try:
            document = response.json()
            return Answer(int(document["generation"]), bool(document["changed"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ChannelError(f"{self._base} does not answer as a Sluice server does") from error

    def _request(self, method: str, url: str, *, final: bool = False, **options: Any) -> httpx.Response:  # noqa: ANN401
        """Send a request; with `final` a conflict stays one."""
        try:
            response = self._http.request(method, url, **options)
        except httpx.TransportError as error:
            raise _PassingError(f"{self._base} does not answer ({error or type(error).__name__})") from error
        except httpx.InvalidURL as error:
            raise ChannelError(f"not a URL: {url[:200]!r}") from error
        if response.is_success:
            return response
        reason = self._reason(method, url, response)
        if response.status_code in _PASSING and not (final and response.status_code == HTTPStatus.CONFLICT):
            raise _PassingError(reason)
        raise ChannelError(reason)

    def _reason(self, method: str, url: str, response: httpx.Response) -> str:
        if method == "HEAD":  # has no body to say why
            try:
                response = self._http.patch(url, headers={"Upload-Offset": "0"})
            except httpx.TransportError:
                return f"{response.status_code} {response.reason_phrase}"
        try:
            said = response.json()["error"]
        except (ValueError, KeyError, TypeError):
            said = None
        return str(said)[:500] if said else f"{self._base}: {response.status_code} {response.reason_phrase}"


class _PassingError(ChannelError):
    """It may work when it is tried again."""


def _pieces(path: Path, start: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        while chunk := file.read(CHUNK):
            yield chunk


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() else 0
