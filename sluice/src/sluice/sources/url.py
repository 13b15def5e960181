"""Fetch a file over HTTP."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import httpx

from sluice.progress import Step
from sluice.sources.source import SourceError, Url

TIMEOUT = httpx.Timeout(60, connect=10)  # seconds without a byte, and to connect
MAX_BYTES = 8 << 30  # the largest wheels are about 3 GB
CHUNK = 1 << 18  # bytes


def download(way: Url, directory: Path, step: Step, stop: Event, *, max_bytes: int = MAX_BYTES) -> Path:
    """Write what an URL gives into a directory.

    Raises:
        SourceError: it could not be had, or is larger than `max_bytes`.

    """
    target = directory / "download"
    size = 0
    try:
        with (
            httpx.Client(timeout=TIMEOUT, follow_redirects=True, max_redirects=5) as client,
            client.stream("GET", way.url, headers={"Accept-Encoding": "identity"}) as answer,
            target.open("xb") as file,
        ):
            if answer.status_code != httpx.codes.OK:
                raise SourceError(f"{way}: HTTP {answer.status_code}")
            for chunk in answer.iter_raw(CHUNK):
                size += len(chunk)
                if size > max_bytes:
                    raise SourceError(f"{way}: larger than {max_bytes} bytes")
                file.write(chunk)
                step.advance(len(chunk))
                if stop.is_set():
                    raise SourceError(f"{way}: stopped")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise SourceError(f"{way}: {str(error) or type(error).__name__}") from error
    return target
