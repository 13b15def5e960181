"""Read another channel: its shards where it has them, else its whole index; and its files."""

from __future__ import annotations

import bz2
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urljoin, urlsplit

import httpx
import msgpack
import zstandard

from sluice.digest import CHUNK, Digest
from sluice_channel.errors import MirrorError
from sluice_channel.mirror.plan import Record
from sluice_channel.mirror.rules import Rules

SHARDS: Final = "repodata_shards.msgpack.zst"
MAX_INDEX: Final = 512 << 20  # bytes, unpacked
MAX_SHARD: Final = 64 << 20
_TOGETHER: Final = 8  # shards fetched at once
_TIMEOUT: Final = httpx.Timeout(30, connect=5)  # seconds without a byte, and to connect
# In the order they are asked for; a monolith costs its whole size each time it changes.
_MONOLITHS: Final = ("repodata.json.zst", "repodata.json.bz2", "repodata.json")


@dataclass(frozen=True, slots=True)
class Seen:
    """What was last read of a subdir: to ask whether it changed, and which shards did."""

    document: str = ""  # its file name
    etag: str = ""
    names: Mapping[str, str] | None = None  # name -> digest of its shard; None for a monolith


@dataclass(frozen=True, slots=True)
class News:
    """What changed since: records by name and file name. A name without records is gone."""

    seen: Seen
    records: Iterator[tuple[str, dict[str, Record]]]
    whole: bool  # whether names that are not mentioned are gone


class Upstream:
    """Another channel, over HTTP or in a folder."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._base = rules.url.rstrip("/") + "/"
        # Public channels redirect to where their files lie; every byte is compared with a digest anyway.
        self._http = httpx.Client(timeout=_TIMEOUT, follow_redirects=True, max_redirects=3)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def news(self, subdir: str, seen: Seen) -> News | None:
        """Ask what changed in a subdir; None for nothing.

        Raises:
            MirrorError: upstream cannot be reached, or says what cannot be understood.

        """
        for document in (SHARDS, *_MONOLITHS):
            etag = seen.etag if seen.document == document else ""
            found = self._document(f"{subdir}/{document}", etag)
            if found is None:
                continue
            content, tag = found
            if content is None:
                return None
            if document == SHARDS:
                return self._sharded(subdir, content, tag, seen)
            return self._whole(content, document, tag)
        raise MirrorError(f"{self._base}{subdir}: there is no index")

    @contextmanager
    def open(self, subdir: str, filename: str, size: int) -> Iterator[Iterator[bytes]]:
        """Give a package's bytes, no more than `size`.

        Raises:
            MirrorError: it cannot be had, or is larger.

        """
        place = f"{subdir}/{filename}"
        if (path := self._local(place)) is not None:
            try:
                with path.open("rb") as file:
                    yield _bounded(iter(lambda: file.read(CHUNK), b""), size, place)
            except OSError as error:
                raise MirrorError(f"{place}: {error.strerror}") from error
            return
        try:
            with self._http.stream(
                "GET", self._base + place, headers={"Accept-Encoding": "identity"}
            ) as answer:
                if answer.status_code != httpx.codes.OK:
                    raise MirrorError(f"upstream answers {answer.status_code} for {place}")
                yield _bounded(answer.iter_raw(CHUNK), size, place)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise MirrorError(f"upstream cannot be reached: {type(error).__name__} for {place}") from error

    def _sharded(self, subdir: str, content: bytes, etag: str, seen: Seen) -> News:
        document = _unpacked(content, MAX_INDEX)
        try:
            names = {str(name): bytes(digest).hex() for name, digest in document["shards"].items()}
            base = str(document["info"].get("shards_base_url") or "")
        except (KeyError, TypeError, AttributeError) as error:
            raise MirrorError(f"{self._base}{subdir}/{SHARDS}: not an index of shards") from error
        names = {name: digest for name, digest in sorted(names.items()) if self._rules.takes(name)}
        before = seen.names or {}
        changed = [name for name, digest in names.items() if before.get(name) != digest]
        folder = urljoin(f"{subdir}/", base if base.endswith("/") or not base else f"{base}/")

        def records() -> Iterator[tuple[str, dict[str, Record]]]:
            for name in sorted(before.keys() - names.keys()):
                yield name, {}
            with ThreadPoolExecutor(_TOGETHER) as together:
                for start in range(0, len(changed), _TOGETHER * 8):
                    part = changed[start : start + _TOGETHER * 8]
                    yield from zip(
                        part, together.map(lambda name: self._shard(folder, names[name]), part), strict=True
                    )

        return News(Seen(SHARDS, etag, names), records(), whole=seen.names is None)

    def _shard(self, folder: str, digest: str) -> dict[str, Record]:
        place = f"{folder}{digest}.msgpack.zst"
        found = self._document(place, "", MAX_SHARD)
        content = found[0] if found else None
        if content is None or Digest.of(content).hex != digest:
            raise MirrorError(f"{place}: upstream's shard is missing or not what its index names")
        document = _unpacked(content, MAX_SHARD)
        records: dict[str, Record] = {}
        for section in ("packages", "packages.conda"):
            for filename, record in (document.get(section) or {}).items():
                records[str(filename)] = {
                    key: value.hex() if isinstance(value, bytes) else value for key, value in record.items()
                }
        return records

    def _whole(self, content: bytes, document: str, etag: str) -> News:
        try:
            parsed = json.loads(_expanded(content, document))
            by_name: dict[str, dict[str, Record]] = {}
            for section in ("packages", "packages.conda"):
                for filename, record in parsed.get(section, {}).items():
                    name = filename.rsplit("-", 2)[0]
                    if self._rules.takes(name):
                        by_name.setdefault(name, {})[filename] = record
        except (ValueError, AttributeError, RecursionError) as error:
            raise MirrorError(f"{self._base}{document}: not an index of packages") from error
        return News(Seen(document, etag), iter(sorted(by_name.items())), whole=True)

    def _document(self, place: str, etag: str, limit: int = MAX_INDEX) -> tuple[bytes | None, str] | None:
        """Return a document and its entity tag; no document where the tag still holds; None where there is none."""
        if (path := self._local(place)) is not None:
            return _read(path, etag, limit)
        try:
            headers = {"If-None-Match": etag} if etag else {}
            with self._http.stream("GET", urljoin(self._base, place), headers=headers) as answer:
                if answer.status_code == httpx.codes.NOT_MODIFIED:
                    return None if not etag else (None, etag)
                if answer.status_code == httpx.codes.NOT_FOUND:
                    return None
                if answer.status_code != httpx.codes.OK:
                    raise MirrorError(f"upstream answers {answer.status_code} for {place}")
                content = b"".join(_bounded(answer.iter_bytes(CHUNK), limit, place))
                return content, answer.headers.get("etag", "")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise MirrorError(f"upstream cannot be reached: {type(error).__name__} for {place}") from error

    def _local(self, place: str) -> Path | None:
        parts = urlsplit(self._base)
        return Path(unquote(parts.path)) / place if parts.scheme == "file" else None


def _read(path: Path, etag: str, limit: int) -> tuple[bytes | None, str] | None:
    try:
        status = path.stat()
        tag = f"{status.st_ino}-{status.st_mtime_ns}-{status.st_size}"
        if tag == etag:
            return None, etag
        with path.open("rb") as file:
            return b"".join(_bounded(iter(lambda: file.read(CHUNK), b""), limit, path.name)), tag
    except FileNotFoundError:
        return None
    except OSError as error:
        raise MirrorError(f"{path.name}: {error.strerror}") from error


def _bounded(chunks: Iterator[bytes], limit: int, place: str) -> Iterator[bytes]:
    left = limit
    for chunk in chunks:
        left -= len(chunk)
        if left < 0:
            raise MirrorError(f"{place}: larger than {limit} bytes")
        yield chunk


def _unpacked(content: bytes, limit: int) -> dict[str, Any]:
    try:
        # Its own word for its length is not believed, and some writers give none.
        with zstandard.ZstdDecompressor().stream_reader(content) as reader:
            plain = reader.read(limit + 1)
        if len(plain) > limit:
            raise MirrorError(f"an index of upstream is larger than {limit} bytes")
        document = msgpack.unpackb(plain, max_str_len=1 << 20, max_bin_len=1 << 20)
    except (zstandard.ZstdError, ValueError, msgpack.exceptions.UnpackException) as error:
        raise MirrorError("an index of upstream cannot be unpacked") from error
    if not isinstance(document, dict):
        raise MirrorError("an index of upstream is not a map")
    return document


def _expanded(content: bytes, document: str) -> bytes:
    try:
        if document.endswith(".zst"):
            with zstandard.ZstdDecompressor().stream_reader(content) as reader:
                plain = reader.read(MAX_INDEX + 1)
        elif document.endswith(".bz2"):
            plain = bz2.BZ2Decompressor().decompress(content, MAX_INDEX + 1)
        else:
            plain = content
    except (zstandard.ZstdError, OSError) as error:
        raise MirrorError(f"{document} of upstream cannot be unpacked") from error
    if len(plain) > MAX_INDEX:
        raise MirrorError(f"{document} of upstream is larger than {MAX_INDEX} bytes")
    return plain
