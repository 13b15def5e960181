"""`channeldata.json` as conda-index writes it, one name at a time, and the feed of what is new. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from xml.sax.saxutils import escape

from rattler import Version
from rattler.exceptions import InvalidVersionError

from sluice_channel.entry import Entry

VERSION: Final = 1
RECENT: Final = 100  # names in the feed
_YEAR_9999: Final = 253402300799  # seconds; a larger time stamp is in ms
_NEWEST: Final = (
    *("description", "dev_url", "doc_url", "doc_source_url", "home", "license", "source_url"),
    *("source_git_url", "summary", "icon_url", "icon_hash", "tags", "identifiers", "keywords"),
    *("recipe_origin", "version"),
)
_ANY: Final = (
    *("binary_prefix", "text_prefix", "activate.d", "deactivate.d"),
    *("pre_link", "post_link", "pre_unlink"),
)

Project = dict[str, Any]


def project(families: Mapping[str, Iterable[Entry]]) -> Project | None:
    """Sum up one name: subdir -> its packages there, hidden ones left out by the caller. None where none is visible."""
    known: Project = {}
    for subdir in sorted(families):
        for entry in _newest_of_each_version(families[subdir]):
            known = _merged(known, subdir, json.loads(entry.package.about) | entry.record(), entry)
    return {key: value for key, value in known.items() if value is not None} or None


def document(subdirs: Sequence[str], projects: Iterable[tuple[str, Project]]) -> Iterator[bytes]:
    """Write the document in pieces; the projects come in the order of their names."""
    yield f'{{"channeldata_version":{VERSION},"packages":{{'.encode()
    comma = ""
    for name, found in projects:
        yield f"{comma}{json.dumps(name)}:{_compact(found)}".encode()
        comma = ","
    yield f'}},"subdirs":{_compact(sorted(subdirs))}}}\n'.encode()


def recent(projects: Iterable[tuple[str, Project]]) -> list[tuple[str, Project]]:
    """Return the newest projects, the newest first."""
    kept: list[tuple[str, Project]] = []
    for item in projects:
        kept.append(item)
        if len(kept) >= 2 * RECENT:
            kept = _first(kept)
    return _first(kept)


def feed(title: str, link: str, made_at: int, newest: Sequence[tuple[str, Project]]) -> str:
    """Write `rss.xml` (RSS 2.0); `made_at` in ms since the epoch, when the channel last changed."""
    date = _rfc822(made_at // 1000)
    lines = ['<?xml version="1.0" ?>', '<rss version="2.0">', "  <channel>"]
    channel = {
        "title": title,
        "link": link,
        "description": f"The most recent {len(newest)} updates for {title}.",
        "pubDate": date,
        "lastBuildDate": date,
    }
    lines += _elements(channel, 4)
    for name, found in newest:
        item = {
            "title": f"{name} {found.get('version')} [{', '.join(found.get('subdirs', []))}]",
            "description": found.get("description") or found.get("summary") or "No description.",
            "link": found.get("doc_url"),
            "comments": found.get("dev_url"),
            "guid": found.get("source_url"),
            "pubDate": _rfc822(found.get("timestamp", 0)),
            "source": found.get("home"),
        }
        lines += ["    <item>", *_elements(item, 6), "    </item>"]
    return "\n".join([*lines, "  </channel>", "</rss>", ""])


def _newest_of_each_version(family: Iterable[Entry]) -> list[Entry]:
    """Keep one package of each version: the newest, and of equally old ones the first, `.conda` before `.tar.bz2`."""
    shown = [entry for entry in family if entry.yanked is None]
    conda = {entry.package.filename: entry for entry in shown if entry.package.filename.endswith(".conda")}
    old = [
        entry
        for entry in shown
        if entry.package.filename not in conda
        and f"{entry.package.filename.removesuffix('.tar.bz2')}.conda" not in conda
    ]
    groups: dict[object, Entry] = {}
    for entry in [*conda.values(), *old]:
        version = entry.record().get("version")
        before = groups.get(version)
        if before is None or _stamp(before.record()) < _stamp(entry.record()):
            groups[version] = entry
    return list(groups.values())


def _merged(known: Project, subdir: str, data: Mapping[str, Any], entry: Entry) -> Project:
    version, before = data.get("version", "0"), known.get("version", "0")
    newer = _order(version) > _order(before) or (
        version == before and _seconds(_stamp(data)) > _seconds(known.get("timestamp", 0))
    )
    merged: Project = {
        key: data[key] if data.get(key) and (newer or not known.get(key)) else known.get(key)
        for key in _NEWEST
    }
    merged |= {key: bool(data.get(key) or known.get(key)) for key in _ANY}
    merged["subdirs"] = sorted({*known.get("subdirs", []), subdir})
    exports = json.loads(entry.package.run_exports)
    merged["run_exports"] = known.get("run_exports", {}) | ({version: exports} if exports else {})
    merged["timestamp"] = _seconds(_stamp(data))
    return merged


def _order(version: object) -> tuple[bool, Version]:
    try:
        return True, Version(str(version))
    except InvalidVersionError:
        return False, Version("0")


def _stamp(record: Mapping[str, Any]) -> int:
    value = record.get("timestamp", 0)
    return int(value) if isinstance(value, (int, float)) and value >= 0 else 0


def _seconds(timestamp: int) -> int:
    return timestamp // 1000 if timestamp > _YEAR_9999 else timestamp


def _first(projects: list[tuple[str, Project]]) -> list[tuple[str, Project]]:
    return sorted(projects, key=lambda item: (-item[1].get("timestamp", 0), item[0]))[:RECENT]


def _elements(values: Mapping[str, object], indent: int) -> list[str]:
    return [f"{' ' * indent}<{key}>{_text(value)}</{key}>" for key, value in values.items() if value]


def _text(value: object) -> str:
    # Characters that XML cannot hold at all would make the whole feed unreadable.
    return escape("".join(each for each in str(value) if each.isprintable() or each in "\n\t"))


def _rfc822(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    except (OverflowError, ValueError, OSError):
        return "Thu, 01 Jan 1970 00:00:00 GMT"


def _compact(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
