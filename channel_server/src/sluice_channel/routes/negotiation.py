"""Which content encoding a client gets (RFC 9110, section 12.5.3). Pure."""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

_ITEM: Final = re.compile(r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*(?:;\s*[qQ]\s*=\s*([0-9.]{1,5})\s*)?")
_MAX: Final = 1000  # characters of the header that are read


class Encoding(Enum):
    """The encodings that documents are kept in."""

    ZSTD = "zstd"
    GZIP = "gzip"
    IDENTITY = "identity"


def negotiate(accept: str | None) -> Encoding:
    """Choose by a request's Accept-Encoding: what it likes best, and of equals the smallest.

    Without the header, and where it allows nothing that there is, the document goes as it is.
    """
    wishes = _wishes(accept or "")
    best, weight = Encoding.IDENTITY, 0.0
    for encoding in (Encoding.ZSTD, Encoding.GZIP):
        wish = wishes.get(encoding.value, wishes.get("*", 0.0))
        if wish > weight:
            best, weight = encoding, wish
    plain = wishes.get("identity", 0.0)
    return Encoding.IDENTITY if plain > weight else best


def _wishes(accept: str) -> dict[str, float]:
    wishes: dict[str, float] = {}
    for item in accept[:_MAX].split(","):
        if match := _ITEM.fullmatch(item):
            try:
                wishes[match[1].lower()] = float(match[2]) if match[2] else 1.0
            except ValueError:
                continue
    return wishes
