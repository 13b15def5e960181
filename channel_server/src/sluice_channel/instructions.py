"""conda-index's patch instructions as changes of a channel. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from sluice_channel.entry import Change, Entry, Patch, Unyank, Yank, canonical
from sluice_channel.errors import InstructionsError

VERSION: Final = 1
REASON: Final = "removed by patch instructions"
_REVOKED: Final = "package_has_been_revoked"
_NEW, _OLD = ".conda", ".tar.bz2"
# What names a package's bytes is not the index's to change.
_FIXED: Final = frozenset(
    {"md5", "sha256", "size", "name", "version", "build", "subdir", "indexed_timestamp"}
)

_Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Instructions:
    """A `patch_instructions.json`: all that the index of a subdir says otherwise than its packages."""

    old: Mapping[str, _Fields]  # for .tar.bz2, and for the .conda of the same name
    new: Mapping[str, _Fields]  # for .conda only
    remove: frozenset[str]
    revoke: frozenset[str]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the file.

        Raises:
            InstructionsError: it is none, or of a version that is not known.

        """
        try:
            document = json.loads(text)
        except ValueError as error:
            raise InstructionsError(f"the patch instructions are no JSON: {error}") from error
        if not isinstance(document, dict):
            raise InstructionsError("the patch instructions are no object")
        version = document.get("patch_instructions_version", 0)
        if version not in {0, VERSION}:
            raise InstructionsError(
                f"the patch instructions have version {version!r}, and {VERSION} is known"
            )
        return cls(
            _packages(document, "packages"),
            _packages(document, "packages.conda"),
            _names(document, "remove"),
            _names(document, "revoke"),
        )

    def changes(self, entries: Iterable[Entry]) -> Iterator[Change]:
        """Say what makes the packages of a subdir show exactly this; nothing for those that do so already.

        A package that earlier instructions removed or patched, and these do not, is as it was. None is named
        twice, as one generation wants it: one that is both patched and shown again is patched first, and
        shown again by the changes of the entries as they are then.
        """
        for entry in entries:
            subdir, filename = entry.key
            if not self._twins(filename).isdisjoint(self.remove):
                if entry.yanked is None:
                    yield Yank(subdir, filename, REASON)
                continue
            fields = self._fields(entry)
            text = canonical(fields) if fields else None
            if text != entry.patch:
                yield Patch(subdir, filename, text)
            elif entry.yanked == REASON:
                yield Unyank(subdir, filename)

    def _fields(self, entry: Entry) -> dict[str, Any]:
        filename = entry.package.filename
        record: dict[str, Any] = json.loads(entry.package.record)
        shown = json.loads(entry.package.record)
        if filename.endswith(_NEW):
            sources = (self.old.get(filename.removesuffix(_NEW) + _OLD), self.new.get(filename))
        else:
            sources = (self.old.get(filename), None)
        for fields in sources:
            shown = _laid_over(shown, fields or {})
        if not self._twins(filename).isdisjoint(self.revoke):
            shown |= {"revoked": True, "depends": [*(shown.get("depends") or []), _REVOKED]}
        changed = {key: value for key, value in shown.items() if key not in record or record[key] != value}
        changed |= {key: None for key in record if key not in shown}
        if wrong := sorted(changed.keys() & _FIXED):
            raise InstructionsError(f"{filename}: patch instructions must not change {', '.join(wrong)}")
        return changed

    @staticmethod
    def _twins(filename: str) -> frozenset[str]:
        """Return the names by which a package is removed or revoked: a .conda by its .tar.bz2's too."""
        if filename.endswith(_NEW):
            return frozenset({filename, filename.removesuffix(_NEW) + _OLD})
        return frozenset({filename})


def _laid_over(base: dict[str, Any], fields: _Fields) -> dict[str, Any]:
    """Lay fields over a record as conda-index does: objects key by key, null takes away, all else replaces."""
    result = dict(base)
    for key, value in fields.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            below = result.get(key)
            result[key] = _laid_over(below if isinstance(below, dict) else {}, value)
        else:
            result[key] = value
    return result


def _packages(document: Mapping[str, Any], section: str) -> Mapping[str, _Fields]:
    found = document.get(section, {})
    if not isinstance(found, dict) or not all(isinstance(fields, dict) for fields in found.values()):
        raise InstructionsError(f"{section!r} in the patch instructions is no object of objects")
    return found


def _names(document: Mapping[str, Any], section: str) -> frozenset[str]:
    found = document.get(section, [])
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise InstructionsError(f"{section!r} in the patch instructions is no list of file names")
    return frozenset(found)
