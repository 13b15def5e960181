"""The large documents of a site: made on demand, once for a state, and kept in its scratch folder."""

from __future__ import annotations

import bz2
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from enum import Enum
from typing import IO, Any, Final

import zstandard

from sluice_channel import subdir as subdirs
from sluice_channel.catalogue import Catalogue
from sluice_channel.descriptor import DescriptorFile
from sluice_channel.entry import Entry
from sluice_channel.errors import NotServedError
from sluice_channel.views import channeldata
from sluice_channel.views.documents import MAKERS
from sluice_channel.views.flights import Flights
from sluice_channel.views.shelf import CHUNK, Shelf
from sluice_channel.views.state import State

CHANNELDATA: Final = "channeldata.json"
RECENT: Final = "recent"  # what the feed is made of; not served as it is
_LEVEL: Final = 6  # of zstd; conda-index's 16 takes many times as long for an eighth less
_PIECE: Final = 1 << 18  # bytes


Timing = Callable[[str], AbstractContextManager[object]]


class Form(Enum):
    """How the bytes of a document are kept."""

    ZST = ".zst"  # made of the catalogue; the others are made of it
    PLAIN = ""
    GZIP = ".gz"
    BZ2 = ".bz2"


class Library:
    """Documents by state. What is asked for in many forms at once is read from the catalogue once."""

    def __init__(self, catalogue: Catalogue, shelf: Shelf, timing: Timing = nullcontext) -> None:
        """Keep documents on a shelf; `timing` is entered with a document's name around its making."""
        self._catalogue = catalogue
        self._timing = timing
        self._shelf = shelf
        self._flights: Flights[State] = Flights()

    def size(self, state: State, document: str, form: Form) -> int | None:
        """Return the bytes of a document, None where it was not made yet."""
        kind = document + form.value
        return self._shelf.size(state.slot(kind), state.tag(kind))

    def open(self, state: State, document: str, form: Form) -> AbstractContextManager[DescriptorFile]:
        """Open a document that was made.

        Raises:
            NotServedError: it is not kept any more.

        """
        kind = document + form.value
        return self._shelf.open(state.slot(kind), state.tag(kind))

    async def make(self, state: State, document: str, form: Form) -> State:
        """See to it that a document is kept, and return of which state: this one or a later one."""
        if self.size(state, document, form) is not None:
            return state
        if form is not Form.ZST:
            state = await self.make(state, document, Form.ZST)
        order = (state.touched, state.cut or 0)
        return await self._flights.make(
            state.slot(document + form.value), order, lambda: self.write(state, document, form)
        )

    def write(self, state: State, document: str, form: Form) -> State:
        """Make a document now."""
        with self._timing(document + form.value):
            return self._write(state, document, form)

    def _write(self, state: State, document: str, form: Form) -> State:
        if form is Form.ZST:
            self._keep(state, document, form, lambda file: self._derive(state, document, file))
            return state
        try:
            self._recast(state, document, form)
        except NotServedError:  # a later state has taken its place meanwhile
            self.write(state, document, Form.ZST)
            self._recast(state, document, form)
        return state

    def recent(self, state: State) -> list[tuple[str, dict[str, Any]]]:
        """Read what the feed is made of.

        Raises:
            NotServedError: it is not kept any more.

        """
        with self.open(state, RECENT, Form.ZST) as file:
            text = zstandard.ZstdDecompressor().decompressobj().decompress(b"".join(file.read(0, file.size)))
        return [(name, project) for name, project in json.loads(text)]

    def _keep(self, state: State, document: str, form: Form, write: Callable[[IO[bytes]], None]) -> None:
        kind = document + form.value
        self._shelf.put(state.slot(kind), state.tag(kind), write, succeeds=not state.pinned)

    def _derive(self, state: State, document: str, file: IO[bytes]) -> None:
        compressor = zstandard.ZstdCompressor(level=_LEVEL)
        with (
            self._shelf.spool() as spool,
            compressor.stream_writer(file, closefd=False) as writer,
        ):
            if document in MAKERS:
                entries = self._catalogue.entries(state.channel, state.subdir, state.touched)
                shown = (entry for entry in entries if state.shows(entry))
                pieces = MAKERS[document](state.subdir, shown, spool)
            elif document == CHANNELDATA:
                found = self._catalogue.subdirs(state.channel, state.touched)
                pieces = channeldata.document(
                    sorted({*found, *subdirs.DEFAULT}), self._projects(state, found)
                )
            else:
                found = self._catalogue.subdirs(state.channel, state.touched)
                newest = channeldata.recent(self._projects(state, found))
                pieces = iter([json.dumps(newest).encode()])
            for piece in _gathered(pieces):
                writer.write(piece)

    def _projects(self, state: State, found: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        where: dict[str, list[str]] = {}
        for subdir in found:
            for name in self._catalogue.shards(state.channel, subdir, state.touched):
                where.setdefault(name, []).append(subdir)
        for name in sorted(where):
            families = {subdir: self._family(state, subdir, name) for subdir in where[name]}
            if project := channeldata.project(families):
                yield name, project

    def _family(self, state: State, subdir: str, name: str) -> list[Entry]:
        family = self._catalogue.family(state.channel, subdir, name, state.touched)
        return [entry for entry in family if state.shows(entry)]

    def _recast(self, state: State, document: str, form: Form) -> None:
        with self.open(state, document, Form.ZST) as kept:
            self._keep(state, document, form, lambda file: _write(kept, form, file))


def _write(kept: DescriptorFile, form: Form, file: IO[bytes]) -> None:
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    compressor = {
        Form.PLAIN: None,
        Form.GZIP: zlib.compressobj(6, zlib.DEFLATED, 16 + zlib.MAX_WBITS),  # without a time: same bytes
        Form.BZ2: bz2.BZ2Compressor(),
    }[form]
    for chunk in kept.read(0, kept.size, _PIECE):
        data = decompressor.decompress(chunk)
        file.write(compressor.compress(data) if compressor else data)
    if compressor:
        file.write(compressor.flush())


def _gathered(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Put small pieces together: a call of the compressor for each record would take longer than the record."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= CHUNK:
            yield b"".join(held)
            held, size = [], 0
    yield b"".join(held)
