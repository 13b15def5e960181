"""Make `wheels.toml` files from `requirements.in` files: `python -m sluice.wheels.pin recipes/*`.

Sets are resolved together, so that a project that two of them hold is one version and one file in
both; only a set that is made on demand (`on-demand.txt`) is another stack, resolved by itself. pip
resolves, for the target's platform tags; it evaluates markers for the Python it runs on, which
therefore must be the target's.

Only file names and digests are written. Where a file came from is the user's own pip configuration.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name, parse_wheel_filename

from sluice.digest import Digest
from sluice.wheels.errors import PinError, WheelSetError
from sluice.wheels.manifest import PinnedWheel, WheelSet, dump, is_on_demand
from sluice.wheels.target import Target
from sluice.wheels.wanted import Wants, read

_NEWEST_GLIBC = 28  # minor: what the oldest supported hosts have
_PUBLIC_URLS = {
    # Builds with a label, "+cpu", are not on the public package index.
    "torch": ("https://download.pytorch.org/whl/cpu/{filename}", "torch=={public}"),
}
_PIN = re.compile(r"^([A-Za-z0-9._-]+==[^\s;\\]+)")

Resolved = Mapping[NormalizedName, tuple[PinnedWheel, tuple[str, ...]]]


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
        platforms.append(f"--platform=manylinux2014_{target.machine}")  # stands for its elders, too
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
        url, requirement = _PUBLIC_URLS.get(name, ("", "")) if "+" in version else ("", "")
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
    """Resolve the `requirements.in` of several wheel sets and write a `wheels.toml` beside each.

    If the first requirement of a set names one version (`torch==2.13.0`) the set is a stack of that
    version, else it has version 1; its summary is the first comment of the file. A constraint on a
    project that a set names gives way in the set's group.

    Raises:
        PinError: as for `read` and `resolve`; nothing is written then.
        WheelSetError: a stack has the name of one of its packages.

    """
    wants = {folder: read(folder / "requirements.in") for folder in folders}
    sets: dict[Path, WheelSet] = {}
    shared = [folder for folder in folders if not is_on_demand(folder)]
    alone = [[folder] for folder in folders if folder not in shared]
    for group in [shared, *alone] if shared else alone:
        roots = [one.requirement for folder in group for one in wants[folder].wanted]
        bounded = {one.name for folder in group for one in wants[folder].wanted if one.requirement.specifier}
        held = [line for line in constraints if canonicalize_name(line.partition("==")[0]) not in bounded]
        resolved = resolve(roots, target, held)
        sets |= {folder: _set(folder.name, wants[folder], resolved, target) for folder in group}
    for folder in folders:
        dump(sets[folder], folder / "wheels.toml")
    return tuple(sets[folder] for folder in folders)


def _set(name: str, wants: Wants, resolved: Resolved, target: Target) -> WheelSet:
    first = wants.wanted[0]
    stated = {one.name: one for one in wants.wanted}
    wheels = []
    for wheel in closure([one.requirement for one in wants.wanted], resolved, target):
        own = stated.get(wheel.name)
        if own:
            # `==` lets pip take a build with a label as well, `===` does not.
            asked = f"{wheel.name}{own.exact}" if own.exact.startswith("===") else wheel.requirement
            wheel = replace(wheel, mark=own.mark, requirement=asked)  # noqa: PLW2901 - the same wheel, marked
        wheels.append(wheel)
    version = resolved[first.name][0].version.partition("+")[0] if first.exact else "1"
    stack = first.name if first.exact else ""
    return WheelSet(name, version, target, wants.summary or name, tuple(wheels), stack)


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
    except (PinError, WheelSetError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
