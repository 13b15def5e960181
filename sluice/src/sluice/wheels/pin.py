"""Make `wheels.toml` files from `requirements.in` files: `python -m sluice.wheels.pin recipes/*`.

All sets given are resolved together, so that a project that two of them hold is one version and one
file in both. pip resolves, for the target's platform tags; it evaluates markers for the Python it runs
on, which therefore must be the target's.

Only file names and digests are written. Where a file came from is the user's own pip configuration.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import NormalizedName, canonicalize_name, parse_wheel_filename

from sluice.digest import Digest
from sluice.wheels.errors import PinError
from sluice.wheels.manifest import PinnedWheel, WheelSet, dump
from sluice.wheels.target import Target

_NEWEST_GLIBC = 28  # minor: what the oldest supported hosts have
_PUBLIC_URLS = {
    # Not on the public package index, where this version is a build for CUDA.
    "torch": ("https://download.pytorch.org/whl/cpu/{filename}", "torch=={public}"),
}
_PIN = re.compile(r"^([A-Za-z0-9._-]+==[^\s;\\]+)")

Resolved = Mapping[NormalizedName, tuple[PinnedWheel, tuple[str, ...]]]


def requirements(path: Path) -> tuple[Requirement, ...]:
    """Read a requirements.in: one PEP 508 requirement a line, `#` begins a comment.

    Raises:
        PinError: it cannot be read, or a line is something else.

    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise PinError(f"{path}: cannot be read ({error})") from None
    found = []
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        try:
            found += [Requirement(text)] if text else []
        except InvalidRequirement:
            raise PinError(f"{path}:{number}: not a requirement: {text[:120]!r}") from None
    if not found:
        raise PinError(f"{path}: names no requirement")
    return tuple(found)


def resolve(wanted: Iterable[Requirement], target: Target, constraints: Sequence[str] = ()) -> Resolved:
    """Resolve requirements to wheels for the target with pip.

    Raises:
        PinError: pip cannot, or this is not the target's Python.

    """
    if f"{sys.version_info.major}.{sys.version_info.minor}" != target.python:
        raise PinError(
            f"pinning for Python {target.python} must run on that Python: pip evaluates markers for its own"
        )
    with tempfile.TemporaryDirectory(prefix="sluice-pin-") as scratch:
        report, limits = Path(scratch, "report.json"), Path(scratch, "constraints.txt")
        limits.write_text("".join(f"{line}\n" for line in constraints), encoding="utf-8")
        platforms = [
            f"--platform=manylinux_2_{minor}_{target.machine}" for minor in range(_NEWEST_GLIBC, 4, -1)
        ]
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        command += ["--only-binary=:all:", "--disable-pip-version-check", "--no-input", f"--report={report}"]
        command += [f"--target={scratch}/target", f"--python-version={target.python}", "--implementation=cp"]
        command += [*platforms, f"--constraint={limits}", *sorted({str(one) for one in wanted})]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [
                "no reason given"
            ]
            raise PinError(f"pip cannot resolve the requirements: {last[-1][:400]}")
        return _read(json.loads(report.read_text(encoding="utf-8")))


def _read(report: Mapping[str, Any]) -> Resolved:
    found: dict[NormalizedName, tuple[PinnedWheel, tuple[str, ...]]] = {}
    for item in report["install"]:
        metadata, download = item["metadata"], item["download_info"]
        name = canonicalize_name(metadata["name"])
        escaped = urlsplit(download["url"]).path.rpartition("/")[2]
        filename = unquote(escaped)
        version = str(parse_wheel_filename(filename)[1])
        url, requirement = _PUBLIC_URLS.get(name, ("", ""))
        wheel = PinnedWheel(
            name=name,
            version=version,
            filename=filename,
            sha256=Digest(download["archive_info"]["hashes"]["sha256"]),
            urls=(url.format(filename=filename.replace("+", "%2B")),) if url else (),
            requirement=requirement.format(public=version.partition("+")[0]),
        )
        found[name] = wheel, tuple(metadata.get("requires_dist", ()))
    return found


def closure(roots: Iterable[Requirement], resolved: Resolved, target: Target) -> tuple[PinnedWheel, ...]:
    """Return the wheels that the roots need, themselves included, by name.

    Raises:
        PinError: one of them was not resolved.

    """
    queue = list(roots)
    seen: set[tuple[NormalizedName, frozenset[str]]] = set()
    while queue:
        requirement = queue.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        if name not in resolved:
            raise PinError(f"{name} is needed but was not resolved")
        for text in resolved[name][1]:
            needed = Requirement(text)
            environments = [{**target.markers(), "extra": extra} for extra in ("", *sorted(extras))]
            if needed.marker is None or any(needed.marker.evaluate(each) for each in environments):
                queue.append(needed)
    return tuple(resolved[name][0] for name in sorted({name for name, _ in seen}))


def pin(folders: Sequence[Path], target: Target, constraints: Sequence[str] = ()) -> tuple[WheelSet, ...]:
    """Resolve the `requirements.in` of several wheel sets together and write a `wheels.toml` beside each.

    A set is as old as its first requirement when that names one version (`torch==2.13.0`), else of
    version 1; its summary is the first comment of the file.

    Raises:
        PinError: as for `requirements` and `resolve`; nothing is written then.

    """
    roots = {folder: requirements(folder / "requirements.in") for folder in folders}
    resolved = resolve([one for several in roots.values() for one in several], target, constraints)
    sets = []
    for folder, wanted in roots.items():
        first = resolved[canonicalize_name(wanted[0].name)][0]
        text = (folder / "requirements.in").read_text(encoding="utf-8")
        summary = next((line.lstrip("# ").strip() for line in text.splitlines() if line.startswith("#")), "")
        wheels = closure(wanted, resolved, target)
        version = first.version.partition("+")[0] if str(wanted[0].specifier).startswith("==") else "1"
        sets.append(WheelSet(folder.name, version, target, summary or folder.name, wheels))
    for folder, wheel_set in zip(roots, sets, strict=True):
        dump(wheel_set, folder / "wheels.toml")
    return tuple(sets)


def main(arguments: Sequence[str]) -> int:
    """Pin the folders named; those without a requirements.in are passed over.

    `--constraint FILE` holds every project in FILE at the version there.
    """
    constraints: list[str] = []
    folders: list[Path] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--constraint":
            lines = Path(next(rest, "")).read_text(encoding="utf-8").splitlines()
            constraints += [match[1] for line in lines if (match := _PIN.match(line))]
        elif (Path(argument) / "requirements.in").exists():
            folders.append(Path(argument).resolve())
    if not folders:
        sys.stderr.write("usage: python -m sluice.wheels.pin [--constraint FILE] FOLDER...\n")
        return 2
    try:
        for wheel_set in pin(folders, Target(), constraints):
            sys.stdout.write(f"{wheel_set.name}: {len(wheel_set.wheels)} wheels\n")
    except PinError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
