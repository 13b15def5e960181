"""Fetch the upstream tarball of a Debian source package.

apt gets a state and a list of package sources of its own: the machine's are read, never changed, and an
ordinary user can do it as well as root.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Event

from sluice.sources import command
from sluice.sources.source import DebianSource, SourceError

TIMEOUT = 600  # seconds for each of the two calls
APT = Path("/etc/apt")
_TYPES = re.compile(r"^Types:[ \t]*(.*)$", re.MULTILINE | re.IGNORECASE)
_LINE = re.compile(r"^\s*deb\s+(.*)$")


def source_lines(text: str) -> str:
    """Turn one-line-style package sources (sources.list(5)) into those of the source packages."""
    lines = (f"deb-src {found[1]}" for line in text.splitlines() if (found := _LINE.match(line)))
    return "".join(f"{line}\n" for line in dict.fromkeys(lines))


def source_stanzas(text: str) -> str:
    """Turn deb822-style package sources (sources.list(5)) into those of the source packages."""
    return _TYPES.sub("Types: deb-src", text)


def download(way: DebianSource, directory: Path, stop: Event, *, apt: Path = APT) -> tuple[Path, ...]:
    """Let apt put the files of a source package into a directory; some of them may be missing.

    Raises:
        SourceError: there is no apt here, it knows no such package, or nothing could be fetched.

    """
    program = shutil.which("apt-get")
    if program is None:
        raise SourceError(f"{way}: this machine has no apt-get")
    parts = directory / "sources.list.d"
    for folder in (parts, directory / "state/lists/partial", directory / "cache/archives/partial"):
        folder.mkdir(parents=True)
    for name, text in _machine_sources(apt):
        (parts / name).write_text(text, encoding="utf-8")
    if not any(parts.iterdir()):
        raise SourceError(f"{way}: {apt} names no package sources")
    configuration = directory / "apt.conf"
    configuration.write_text(_configuration(directory, parts), encoding="utf-8")
    files = directory / "files"
    files.mkdir()
    fetch = [program, "-c", str(configuration), "--quiet", "--assume-yes"]
    try:
        # Either may fail for a source nobody asks for (a third party's list, a patch file that a mirror
        # lacks) and still give the tarball.
        update = command.run([*fetch, "update"], timeout=TIMEOUT, stop=stop)
        got = command.run(
            [*fetch, "source", "--download-only", way.package], timeout=TIMEOUT, cwd=files, stop=stop
        )
    except (OSError, TimeoutError) as error:
        raise SourceError(f"{way}: {error}") from error
    found = tuple(sorted(path for path in files.iterdir() if ".tar." in path.name))
    if not found:
        raise SourceError(f"{way}: {_reason(got.output) or _reason(update.output) or 'apt-get gave no file'}")
    return found


def _machine_sources(apt: Path) -> Iterator[tuple[str, str]]:
    candidates = [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))]
    for path in candidates:
        if path.suffix in {".list", ".sources"} and path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            converted = source_stanzas(text) if path.suffix == ".sources" else source_lines(text)
            if converted.strip():
                yield path.name, converted


def _configuration(directory: Path, parts: Path) -> str:
    settings = {
        "Dir::State": directory / "state",
        "Dir::State::status": "/var/lib/dpkg/status",
        "Dir::Cache": directory / "cache",
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": parts,
        # The sandbox user may not enter the cache; every file is checked against its pin anyway.
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::Retries": "1",
        "APT::Get::Only-Source": "true",
    }
    # The machine's own hooks would work on the machine's own cache.
    hooks = ("Pre-Invoke", "Post-Invoke", "Post-Invoke-Success")
    cleared = "".join(f"#clear APT::Update::{hook};\n" for hook in hooks)
    return cleared + "".join(f'{name} "{value}";\n' for name, value in settings.items())


def _reason(output: str) -> str:
    errors = [line[3:].strip() for line in output.splitlines() if line.startswith("E: ")]
    return errors[0][:300] if errors else ""
