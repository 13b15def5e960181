"""Where a command changes a channel: in a server's folder, or through a server's URL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Protocol

import typer

from sluice.digest import CHUNK, Digest
from sluice_channel import publish
from sluice_channel.cli.remote import is_url
from sluice_channel.client import Address, Answer, Client
from sluice_channel.errors import ChannelError
from sluice_channel.publish import LABEL, Done
from sluice_channel.site import Site, open_site
from sluice_channel.verification import Limits

Where = Annotated[
    str,
    typer.Argument(
        help="A channel's URL (http://HOST:8710/main), or a server's folder on this machine.",
        show_default=False,
    ),
]
Channel = Annotated[str, typer.Option(help="The channel, where a folder is named and not a URL.")]
Label = Annotated[
    str | None, typer.Option(help="A label of the channel, such as 'dev'; made where it is not there.")
]


class Place(Protocol):
    """A channel that can be changed; see `publish` and `client` for what is raised."""

    def publish(self, path: Path, on_bytes: Callable[[int], None]) -> Answer:
        """Publish a package file; `on_bytes` is told of progress."""

    def yank(self, subdir: str, filename: str, reason: str) -> Answer:
        """Hide a package."""

    def unyank(self, subdir: str, filename: str) -> Answer:
        """Show it again."""

    def remove(self, subdir: str, filename: str) -> Answer:
        """Take a yanked package out of the channel."""

    def promote(self, source: str, keys: Sequence[tuple[str, str]], generation: int | None) -> Answer:
        """Show packages of another channel."""


@contextmanager
def opened(where: str, channel: str, label: str | None, token: str | None) -> Iterator[Place]:
    """Open a channel by URL or folder.

    Raises:
        ChannelError: there is none.

    """
    if is_url(where):
        address = Address.parse(f"{where.rstrip('/')}{LABEL}{label}" if label else where, token)
        with Client(address) as client:
            yield client
        return
    with open_site(Path(where)) as site:
        name = f"{channel}{LABEL}{label}" if label else channel
        if label:
            publish.create(site, name)
        yield Folder(site, name)


def key(text: str) -> tuple[str, str]:
    """Read SUBDIR/FILENAME.

    Raises:
        ChannelError: it is something else.

    """
    subdir, slash, filename = text.partition("/")
    if not slash or not subdir or not filename:
        raise ChannelError(
            f"name a package as SUBDIR/FILENAME, such as noarch/six-1.17-0.conda, not {text[:200]!r}"
        )
    return subdir, filename


class Folder:
    """A channel in a server's folder, whether or not the server runs."""

    def __init__(self, site: Site, channel: str) -> None:
        self._site = site
        self._channel = channel

    def publish(self, path: Path, on_bytes: Callable[[int], None]) -> Answer:
        """Publish a package file."""
        digest, size = Digest.of_file(path), path.stat().st_size
        blobs = self._site.blobs
        if not blobs.has(digest):
            blobs.discard(digest)  # of one that was cut off
            with path.open("rb") as file:
                blobs.append(digest, 0, _watched(iter(lambda: file.read(CHUNK), b""), on_bytes), size)
        else:
            on_bytes(size)
        return _answer(publish.publish(self._site, self._channel, digest, path.name, Limits()))

    def yank(self, subdir: str, filename: str, reason: str) -> Answer:
        """Hide a package."""
        return _answer(publish.yank(self._site, self._channel, subdir, filename, reason))

    def unyank(self, subdir: str, filename: str) -> Answer:
        """Show it again."""
        return _answer(publish.unyank(self._site, self._channel, subdir, filename))

    def remove(self, subdir: str, filename: str) -> Answer:
        """Take a yanked package out of the channel."""
        return _answer(publish.remove(self._site, self._channel, subdir, filename))

    def promote(self, source: str, keys: Sequence[tuple[str, str]], generation: int | None) -> Answer:
        """Show packages of another channel."""
        return _answer(publish.promote(self._site, source, self._channel, keys, generation))


def _watched(chunks: Iterator[bytes], on_bytes: Callable[[int], None]) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk
        on_bytes(len(chunk))


def _answer(done: Done) -> Answer:
    return Answer(done.generation, done.changed)
