"""What the scheduler asks of a channel, over HTTP."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final

import httpx

from sluice.digest import Digest, DigestError
from sluice.mirrors import NO_MIRRORS, Mirrors
from sluice_scheduler.errors import ChannelError

MAX_LOCK: Final = 64 << 20  # bytes
TIMEOUT: Final = httpx.Timeout(30.0, connect=10.0)  # seconds
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,126}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class PublishedLock:
    """An environment's lock as the channel serves it."""

    environment: str
    url: str
    content: bytes

    @property
    def digest(self) -> Digest:
        """The sha256 of its text: the environment's name for ever."""
        return Digest.of(self.content)


def lock_url(channel: str, environment: str) -> str:
    """Name the address of an environment's lock.

    Raises:
        ChannelError: the environment's name is none.

    """
    if not _NAME.fullmatch(environment):
        raise ChannelError(
            f"not an environment name: {environment[:80]!r}; "
            "expected {project}-{model}-{torch}-{device} in lower case, as in vision-digits-pt213-cpu"
        )
    return f"{channel.rstrip('/')}/envs/{environment}/pixi.lock"


def fetch_lock(channel: str, environment: str) -> PublishedLock:
    """Fetch an environment's lock.

    Raises:
        ChannelError: the channel is down, does not know the environment, or sends too much.

    """
    url = lock_url(channel, environment)
    content = _get(url, environment)
    # The address to remember is the one that gives this lock also when the environment has a newer one.
    kept = f"{url.rpartition('/')[0]}/{Digest.of(content)}.lock"
    return PublishedLock(environment, kept, content)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a channel had when it was last looked at."""

    lock: Digest | None = None  # of the environment's newest lock
    etag: str | None = None  # of what was answered
    documents: bool = True  # whether the channel has a document of the environment beside its lock


async def look(http: httpx.AsyncClient, channel: str, environment: str, seen: Seen, wait: int) -> Seen:
    """Ask which lock is the newest; a channel that can wait answers when there is another, or after `wait` seconds.

    Any other channel, a plain folder behind a web server included, answers at once: ask it again after a while.

    Raises:
        ChannelError: as `fetch_lock`.

    """
    url = lock_url(channel, environment)
    if seen.documents:
        document = url.rpartition("/")[0]
        status, etag, content = await _asked(http, document, seen.etag, {"wait": wait})
        if status == httpx.codes.NOT_MODIFIED:
            return seen
        if status == httpx.codes.OK and (lock := _named(content)):
            return Seen(lock, etag)
        seen = Seen(seen.lock, None, documents=False)
    status, etag, content = await _asked(http, url, seen.etag, {})
    if status == httpx.codes.NOT_MODIFIED:
        return seen
    if status != httpx.codes.OK:
        raise ChannelError(f"the channel answers {status} at {url}")
    return Seen(Digest.of(content), etag, documents=False)


def _named(content: bytes) -> Digest | None:
    """Read the newest lock's digest out of an environment's document, None where it is no such document."""
    try:
        document = json.loads(content)
        return Digest(document["lock_sha256"])
    except (ValueError, KeyError, TypeError, DigestError, RecursionError):
        return None


async def _asked(
    http: httpx.AsyncClient, url: str, etag: str | None, query: dict[str, int]
) -> tuple[int, str | None, bytes]:
    headers = {"Accept": "application/json, */*"} | ({"If-None-Match": etag} if etag else {})
    timeout = httpx.Timeout(30.0 + query.get("wait", 0), connect=10.0)
    try:
        async with http.stream("GET", url, params=query, headers=headers, timeout=timeout) as response:
            content = bytearray()
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > MAX_LOCK:
                    raise ChannelError(f"what is at {url} is larger than {MAX_LOCK} bytes")
            return response.status_code, response.headers.get("ETag"), bytes(content)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = str(error) or type(error).__name__
        raise ChannelError(f"the channel does not answer at {url}: {reason}; is it running?") from None


def fetch_lock_at(url: str, environment: str, mirrors: Mirrors = NO_MIRRORS) -> PublishedLock:
    """Fetch a lock by the address a record names, or from a mirror of it.

    Raises:
        ChannelError: as `fetch_lock`.

    """
    return PublishedLock(environment, url, _get(mirrors.url(url), environment))


def _get(url: str, environment: str) -> bytes:
    try:
        with httpx.stream("GET", url, timeout=TIMEOUT, follow_redirects=True) as response:
            if response.status_code == httpx.codes.NOT_FOUND:
                raise ChannelError(
                    f"the channel has no environment {environment} ({url} answers 404); "
                    "its environments are listed at the folder above"
                )
            if response.status_code != httpx.codes.OK:
                raise ChannelError(f"the channel answers {response.status_code} at {url}")
            content = bytearray()
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > MAX_LOCK:
                    raise ChannelError(f"the lock at {url} is larger than {MAX_LOCK} bytes")
    except httpx.InvalidURL as error:
        raise ChannelError(f"not a channel's address: {url}: {error}") from None
    except httpx.UnsupportedProtocol:
        raise ChannelError(f"not a channel's address: {url}; it begins with http:// or https://") from None
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise ChannelError(f"the channel does not answer at {url}: {reason}; is it running?") from None
    return bytes(content)
