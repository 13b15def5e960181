"""JSON with one spelling for each value, so that equal statements are equal bytes. Pure.

The spelling is RFC 8785's (JCS) for what receipts hold: text, whole numbers, booleans, null, lists and objects
whose keys are ASCII. Numbers with a fraction are refused: their spelling is where implementations differ.
"""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

from sluice.receipt.errors import ReceiptError

MAX_WHOLE: Final = 2**53 - 1  # the largest whole number that every JSON reader keeps exactly
_PLAIN: Final = (str, bool, type(None))
_LISTS: Final = (list, tuple)
_ENCODER: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def encode(value: object) -> bytes:
    """Spell a value.

    Raises:
        ReceiptError: it holds something that has no one spelling.

    """
    _check(value)
    try:
        return _ENCODER.encode(value).encode()
    except UnicodeEncodeError:
        raise ReceiptError("a text holds half a character (a lone surrogate), which has no UTF-8") from None


def decode(data: bytes, what: str) -> Any:  # noqa: ANN401 - JSON
    """Read JSON strictly: UTF-8, no key twice, no number with a fraction. Any spelling is read.

    Raises:
        ReceiptError: saying what is wrong with `what`.

    """
    try:
        return json.loads(
            data.decode("utf-8"), object_pairs_hook=_object, parse_float=_fraction, parse_constant=_fraction
        )
    except UnicodeDecodeError:
        raise ReceiptError(f"{what} is not UTF-8 text") from None
    except RecursionError:
        raise ReceiptError(f"{what} is not JSON: nested too deep") from None
    except ValueError as error:
        raise ReceiptError(f"{what} is not JSON: {str(error)[:200]}") from None


def _check(value: object) -> None:
    if isinstance(value, _PLAIN):
        return
    if isinstance(value, int) and abs(value) <= MAX_WHOLE:
        return
    if isinstance(value, _LISTS):
        for item in value:
            _check(item)
        return
    if isinstance(value, dict) and all(isinstance(key, str) and key.isascii() for key in value):
        for item in value.values():
            _check(item)
        return
    raise ReceiptError(f"{str(value)[:80]!r} ({type(value).__name__}) cannot stand in a receipt")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("an object has a key twice")
    return document


def _fraction(text: str) -> NoReturn:
    raise ValueError(f"{text[:40]} is not a whole number")
