"""Files inside `multipart/form-data` (RFC 7578), as they arrive: nothing is kept."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from sluice_channel.errors import UploadError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_HEADERS: Final = 16  # of a part; the parser bounds the length of each


@dataclass(frozen=True, slots=True)
class Begin:
    """A part begins."""

    headers: Mapping[str, str]  # names in lower case


@dataclass(frozen=True, slots=True)
class End:
    """A part ends."""


Event = Begin | bytes | End


async def events(content_type: str, stream: AsyncIterator[bytes]) -> AsyncGenerator[Event]:
    """Give the beginning, the bytes and the end of each part.

    Raises:
        UploadError: it is no form, or is cut off.

    """
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise UploadError("the form has no boundary")
    parts = _Parts()
    parser = MultipartParser(boundary, parts.callbacks(), max_header_count=MAX_HEADERS)
    try:
        async for chunk in stream:
            parser.write(chunk)
            for event in parts.taken():
                yield event
        parser.finalize()
    except FormParserError as error:
        raise UploadError("the form is malformed") from error
    if not parts.whole:
        raise UploadError("the form is cut off")


@dataclass(slots=True)
class _Parts:
    """What the parser found and nobody took yet."""

    whole: bool = False
    _found: list[Event] = field(default_factory=list)
    _headers: dict[str, str] = field(default_factory=dict)
    _name: bytearray = field(default_factory=bytearray)
    _value: bytearray = field(default_factory=bytearray)

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._header,
            "on_headers_finished": self._begin,
            "on_part_data": lambda data, start, end: self._found.append(bytes(data[start:end])),
            "on_part_end": lambda: self._found.append(End()),
            "on_end": self._end,
        }

    def taken(self) -> list[Event]:
        found, self._found = self._found, []
        return found

    def _header(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("latin-1")
        self._name, self._value = bytearray(), bytearray()

    def _begin(self) -> None:
        self._found.append(Begin(self._headers))
        self._headers = {}

    def _end(self) -> None:
        self.whole = True


async def part(found: AsyncIterator[Event]) -> AsyncIterator[bytes]:
    """Give the bytes of the part that has begun."""
    async for event in found:
        if isinstance(event, End):
            return
        if isinstance(event, bytes):
            yield event
