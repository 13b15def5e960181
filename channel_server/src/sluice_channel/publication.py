"""May this be published? What a package must be before anybody sees it. Pure.

Sources: CEP 26 (names), CEP 34 (index.json, paths.json), CEP 35 (the two halves of a `.conda`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from rattler import IndexJson, MatchSpec, Version
from rattler.exceptions import InvalidMatchSpecError, InvalidVersionError

from sluice.archive import INFO, Member
from sluice.package import PackageId, PackageNameError
from sluice_channel import subdir as subdirs
from sluice_channel.entry import canonical
from sluice_channel.errors import PackageError

MAX_SPECS: Final = 10_000  # in depends, and in constrains
MAX_SPEC: Final = 1000  # characters
MAX_HOPS: Final = 40  # links that lead through each other, as in Linux
MAX_STEPS: Final = 5_000_000  # parts of paths looked at while the links of a package are followed
# A channel says these of a package, or a client does; a package that says them could lead a client elsewhere.
_NOT_ITS_OWN: Final = ("channel", "fn", "url", "indexed_timestamp", "removed", "base_url")
# What no patch may touch: it names the package, or its bytes.
_FIXED: Final = ("name", "version", "build", "build_number", "subdir", "md5", "sha256", "size", *_NOT_ITS_OWN)
_COMMAND: Final = re.compile(r"[^/\\\0\s=]+\s*=\s*[\w.]+:[\w.]+")


def check_name(filename: str) -> PackageId:
    """Read a package's file name.

    Raises:
        PackageError: it is none.

    """
    try:
        return PackageId.parse(filename)
    except PackageNameError as error:
        raise PackageError(str(error)) from error


def check_index(index: Mapping[str, Any], filename: str) -> None:
    """Compare `index.json` with the file name, and each of its fields with what every client can read.

    Raises:
        PackageError: they differ, or a field is malformed.

    """
    said = "-".join(str(index.get(key)) for key in ("name", "version", "build"))
    if said != str(check_name(filename)):
        raise PackageError(f"{filename}: its index.json says {said[:200]!r}; name the file after what it is")
    if index.get("subdir") not in subdirs.KNOWN:
        raise PackageError(f"{filename}: its index.json says no subdir that conda knows")
    for key in _NOT_ITS_OWN:
        if key in index:
            raise PackageError(f"{filename}: its index.json has {key!r}, which is not a package's to say")
    check_record(index, filename)


def check_record(record: Mapping[str, Any], filename: str) -> None:
    """Check the fields of a record, as a package or a patch has them.

    Raises:
        PackageError: one is malformed.

    """
    number, timestamp = record.get("build_number", 0), record.get("timestamp", 0)
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise PackageError(f"{filename}: build_number is not a whole number from 0 on")
    if isinstance(timestamp, bool) or not isinstance(timestamp, int) or timestamp < 0:
        raise PackageError(f"{filename}: timestamp is not a whole number from 0 on")
    for key in ("depends", "constrains"):
        _check_specs(record.get(key, []), f"{filename}: {key}")
    try:
        Version(str(record.get("version")))
        IndexJson.from_str(canonical({"build_number": 0, "depends": []} | dict(record)))
    except InvalidVersionError as error:
        raise PackageError(f"{filename}: {str(record.get('version'))[:80]!r} is no version") from error
    except Exception as error:  # rattler has no class of its own for it
        reason = re.sub(r" at line \d+ column \d+$", "", " ".join(str(error).split())[:200])
        raise PackageError(f"{filename}: a field of its record is not what clients read: {reason}") from error


def check_patch(record: Mapping[str, Any], fields: Mapping[str, Any], filename: str) -> None:
    """Check what a record would say with a patch.

    Raises:
        PackageError: it would be another package, or malformed.

    """
    for key in _FIXED:
        if key in fields:
            raise PackageError(f"{filename}: {key} cannot be patched")
    patched = {key: value for key, value in (dict(record) | dict(fields)).items() if value is not None}
    check_record(patched, filename)


def check_run_exports(run_exports: Mapping[str, Any], filename: str) -> None:
    """Check `run_exports.json` (CEP 12): lists of specs by kind.

    Raises:
        PackageError: it is something else.

    """
    for kind, specs in run_exports.items():
        _check_specs(specs, f"{filename}: {kind[:40]} of its run_exports.json")


def check_members(paths: Mapping[str, Any], members: Mapping[str, Member], filename: str) -> None:
    """Compare every member with `paths.json`, and see that none leaves the prefix.

    Raises:
        PackageError: a member is missing, not listed, another than listed, or leads outside.

    """
    listed = _listed(paths, filename)
    conda = filename.endswith(".conda")
    links = _Links(members, filename)
    _check_parents(members, filename)
    for path, member in members.items():
        inside = path.startswith(INFO)
        if conda and inside != (member.component == "info"):
            raise PackageError(f"{filename}: {path[:200]!r} lies in the wrong half of the package")
        _check_path(path, filename)
        if not inside:
            if path not in listed:
                raise PackageError(f"{filename}: {path[:200]!r} is not in its paths.json")
            _compare(member, listed[path], filename)
        if member.entry.kind == "link":
            links.check(path)
    for path, each in listed.items():
        if path not in members and each.get("path_type") != "directory":
            raise PackageError(f"{filename}: {path[:200]!r} of its paths.json is not in it")


def check_commands(link: bytes, filename: str) -> None:
    """See that the commands that installing a `noarch: python` package makes stay where commands are.

    Raises:
        PackageError: `link.json` is malformed, or a command's name is a path.

    """
    try:
        commands = (json.loads(link).get("noarch") or {}).get("entry_points") or []
        fine = all(_COMMAND.fullmatch(command.strip()) for command in commands)
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise PackageError(f"{filename}: its link.json cannot be read") from error
    if not fine:
        raise PackageError(f"{filename}: its link.json makes a command that is no NAME = MODULE:FUNCTION")


def _check_specs(specs: object, where: str) -> None:
    if not isinstance(specs, list) or len(specs) > MAX_SPECS:
        raise PackageError(f"{where} is not a list of at most {MAX_SPECS} strings")
    for spec in specs:
        if not isinstance(spec, str) or len(spec) > MAX_SPEC:
            raise PackageError(f"{where} has something that is no string of at most {MAX_SPEC} characters")
        try:
            MatchSpec(spec, strict=False)
        except InvalidMatchSpecError as error:
            raise PackageError(f"{where} has {spec[:120]!r}, which no client can read") from error


def _listed(paths: Mapping[str, Any], filename: str) -> dict[str, Mapping[str, Any]]:
    entries = paths.get("paths")
    if paths.get("paths_version") != 1 or not isinstance(entries, list):
        raise PackageError(
            f"{filename}: it has no paths.json of version 1; build it with conda-build 3 or later"
        )
    listed: dict[str, Mapping[str, Any]] = {}
    for each in entries:
        path = each.get("_path") if isinstance(each, dict) else None
        if not isinstance(path, str):
            raise PackageError(f"{filename}: its paths.json lists something without a path")
        if path in listed:
            raise PackageError(f"{filename}: its paths.json lists {path[:200]!r} twice")
        _check_path(path, filename)
        if path.startswith(INFO):
            raise PackageError(f"{filename}: its paths.json would install {path[:200]!r}")
        listed[path] = each
    return listed


def _check_path(path: str, filename: str) -> None:
    parts = path.split("/")
    if not path or "\0" in path or any(part in {"", ".", ".."} for part in parts):
        raise PackageError(f"{filename}: {path[:200]!r} is not a path below the prefix")


def _compare(member: Member, listed: Mapping[str, Any], filename: str) -> None:
    path, kind = member.entry.path, listed.get("path_type")
    if kind != {"file": "hardlink", "link": "softlink"}.get(member.entry.kind):
        raise PackageError(
            f"{filename}: {path[:200]!r} is a {member.entry.kind}, not the {str(kind)[:20]} of its paths.json"
        )
    if kind == "softlink":
        return  # its sha256 is that of what it leads to, where that was known
    if listed.get("sha256") != member.entry.content:
        raise PackageError(f"{filename}: {path[:200]!r} has another sha256 than its paths.json says")
    if listed.get("size_in_bytes", member.size) != member.size:
        raise PackageError(f"{filename}: {path[:200]!r} has another size than its paths.json says")
    if listed.get("file_mode") not in {None, "text", "binary"} or not isinstance(
        listed.get("prefix_placeholder", ""), str | None
    ):
        raise PackageError(f"{filename}: its paths.json says no way to put a prefix into {path[:200]!r}")


class _Links:
    """Follows the links of a package as the kernel would, each through the others."""

    def __init__(self, members: Mapping[str, Member], filename: str) -> None:
        self._members = members
        self._filename = filename
        self._steps = MAX_STEPS

    def check(self, path: str) -> None:
        """Refuse a link that leads outside."""
        if not self._stays(path):
            raise PackageError(
                f"{self._filename}: the link {path[:200]!r} leaves the prefix, or leads in a circle"
            )

    def _stays(self, path: str) -> bool:
        at: list[str] = []
        left = path.split("/")[::-1]  # the next part is the last
        hops = 0
        while left:
            self._steps -= 1
            if self._steps < 0:
                raise PackageError(f"{self._filename}: its links lead through each other too often")
            part = left.pop()
            if part == "..":
                if not at:
                    return False
                at.pop()
            elif part not in {"", "."}:
                at.append(part)
                member = self._members.get("/".join(at))
                if member is not None and member.entry.kind == "link":
                    hops += 1
                    if hops > MAX_HOPS or member.entry.content.startswith("/"):
                        return False
                    at.pop()
                    left += member.entry.content.split("/")[::-1]
        return True


def _check_parents(members: Mapping[str, Member], filename: str) -> None:
    """See that nothing would be put below a file or through a link."""
    checked: set[str] = set()
    for path in members:
        parent = path.rpartition("/")[0]
        while parent and parent not in checked:
            if parent in members:
                raise PackageError(f"{filename}: {path[:200]!r} lies below what is no folder")
            checked.add(parent)
            parent = parent.rpartition("/")[0]
