"""A TOML table read strictly: every key has one type, and no key is left over."""

from __future__ import annotations

import re
from typing import Final

from sluice.errors import SluiceError

MAX_TEXT: Final = 256  # characters
MAX_ITEMS: Final = 64


class TableError(SluiceError):
    """A table has a key that is missing, unknown or of the wrong type."""


class Table:
    """Takes keys out of a table; `finish` complains about what nobody took."""

    def __init__(self, content: dict[str, object], where: str = "") -> None:
        """Read `content`, called `where` in errors."""
        self._content = dict(content)
        self._where = where

    def text(self, key: str, pattern: re.Pattern[str] | None = None, default: str | None = None) -> str:
        """Take a string that the pattern matches whole."""
        value = self._take(key, default)
        if not isinstance(value, str) or len(value) > MAX_TEXT:
            raise TableError(f"{self._name(key)} is a text of at most {MAX_TEXT} characters")
        if pattern and not pattern.fullmatch(value):
            raise TableError(f"{self._name(key)} is {value[:80]!r}; it must match {pattern.pattern}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Take a list of strings, empty when absent."""
        values = self._list(key, default=[])
        if not all(isinstance(value, str) and len(value) <= MAX_TEXT for value in values):
            raise TableError(f"{self._name(key)} is a list of texts")
        return tuple(str(value) for value in values)

    def integer(self, key: str, low: int, high: int) -> int:
        """Take a whole number from `low` to `high`."""
        value = self._take(key)
        if type(value) is not int or not low <= value <= high:
            span = f"{low} to {high}" if low != high else str(low)
            raise TableError(f"{self._name(key)} is a whole number, {span}")
        return value

    def number(self, key: str, low: float, high: float, *, default: float | None = None) -> float:
        """Take a number from `low` to `high`."""
        value = self._take(key, default)
        if type(value) not in (int, float) or not low <= float(str(value)) <= high:
            raise TableError(f"{self._name(key)} is a number from {low:g} to {high:g}")
        return float(str(value))

    def has(self, key: str) -> bool:
        """Say whether a key is there and nobody took it."""
        return key in self._content

    def boolean(self, key: str, *, default: bool) -> bool:
        """Take true or false."""
        value = self._take(key, default)
        if type(value) is not bool:
            raise TableError(f"{self._name(key)} is true or false")
        return value

    def integers(self, key: str, low: int, high: int, *, optional: bool = False) -> tuple[int, ...]:
        """Take a list of whole numbers from `low` to `high`; where it is optional, empty when absent."""
        values = self._list(key, default=[] if optional else None)
        if not all(type(value) is int and low <= value <= high for value in values):
            raise TableError(f"{self._name(key)} is a list of whole numbers, {low} to {high}")
        return tuple(value for value in values if isinstance(value, int))

    def table(self, key: str) -> Table | None:
        """Take a table, None when absent."""
        value = self._content.pop(key, None)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise TableError(f"{self._name(key)} is a table")
        return Table(value, self._name(key))

    def tables(self, key: str) -> tuple[Table, ...]:
        """Take a list of at least one table."""
        values = self._list(key)
        if not values or not all(isinstance(value, dict) for value in values):
            raise TableError(f"{self._name(key)} is a list of tables, one or more [[{key}]]")
        return tuple(
            Table(value, f"{self._name(key)}[{i}]")
            for i, value in enumerate(values)
            if isinstance(value, dict)
        )

    def named(self, key: str) -> dict[str, Table]:
        """Take a table of tables by their names, empty when absent."""
        inside = self.table(key)
        return inside.all() if inside else {}

    def all(self) -> dict[str, Table]:
        """Take every key that is left as a table."""
        return {name: found for name in tuple(self._content) if (found := self.table(name)) is not None}

    def finish(self) -> None:
        """Complain about a key that was not taken.

        Raises:
            TableError: naming it.

        """
        for key in self._content:
            raise TableError(f"unknown key {self._name(key[:40])}")

    def _take(self, key: str, default: object = None) -> object:
        value = self._content.pop(key, default)
        if value is None:
            raise TableError(f"{self._name(key)} is missing")
        return value

    def _list(self, key: str, default: object = None) -> list[object]:
        values = self._take(key, default)
        if not isinstance(values, list) or len(values) > MAX_ITEMS:
            raise TableError(f"{self._name(key)} is a list of at most {MAX_ITEMS}")
        return values

    def _name(self, key: str) -> str:
        return f"{self._where}.{key}" if self._where else key
