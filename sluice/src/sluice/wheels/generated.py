"""Packages without files that are written beside conversions: further names, `python_abi`, a stack's pins."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.version import Version

from sluice.pack import LEVEL, ZSTD, conda_writer, to_json
from sluice.package import PackageId
from sluice.wheels.identity import CONVERTER
from sluice.wheels.manifest import WheelSet, dumps
from sluice.wheels.names import aliases
from sluice.wheels.target import Target
from sluice.wheels.versions import local_label

SET = "wheel-set.json"  # below info/
_EPOCH = 315532800  # seconds: 1980-01-01, the first date a zip file knows
_PYTHON_ABI_NUMBER = 2


@dataclass(frozen=True)
class Part:
    """A package of a set, as its stack needs it."""

    package: PackageId
    seconds: int  # since 1970: its time


def write_alias(package: Path, out_dir: Path) -> tuple[Path, ...]:
    """Write an empty package for every further name of a converted one; it needs exactly that one."""
    real = PackageId.parse(package.name)
    return tuple(
        _write(PackageId(name, real.version, "0"), out_dir, depends=(f"{real.name} =={real.version}",))
        for name in aliases(real.name)
    )


def python_abi(target: Target) -> PackageId:
    """Name the `python_abi` package that converted binary wheels depend on, as conda-forge has it."""
    return PackageId("python_abi", target.python, f"{_PYTHON_ABI_NUMBER}_{target.interpreter}")


def write_python_abi(target: Target, out_dir: Path) -> Path:
    """Write the `python_abi` package."""
    return _write(
        python_abi(target), out_dir, number=_PYTHON_ABI_NUMBER, constrains=(f"python {target.python}.*",)
    )


def stack(
    wheel_set: WheelSet, parts: Iterable[Part], *, needs_abi: bool
) -> tuple[PackageId, tuple[str, ...]]:
    """Decide a stack's package, and its `depends`: every package of the set by version and build string."""
    packages = [part.package for part in parts]
    packages += [python_abi(wheel_set.target)] if needs_abi else []
    depends = tuple(sorted(f"{one.name} =={one.version} {one.build}" for one in packages))
    (wheel,) = (wheel for wheel in wheel_set.wheels if wheel.name == wheel_set.stack)
    label = wheel.mark.label or local_label(Version(wheel.version))
    inputs = json.dumps([CONVERTER, dumps(wheel_set), depends])
    build = f"h{hashlib.sha256(inputs.encode()).hexdigest()[:7]}_0"
    return PackageId(wheel_set.name, wheel_set.version, f"{label}_{build}" if label else build), depends


def write_stack(wheel_set: WheelSet, parts: Iterable[Part], out_dir: Path, *, needs_abi: bool) -> Path:
    """Write the package that pins every package of a set, dated as the youngest of them.

    It carries the set itself, so that it can be made again. It is for the set's platform alone: the
    packages are.
    """
    known = tuple(parts)
    package, depends = stack(wheel_set, known, needs_abi=needs_abi)
    record = {"compression": {"level": LEVEL, "library": f"zstd {ZSTD}"}, "converter": CONVERTER, "format": 1}
    return _write(
        package,
        out_dir,
        depends=depends,
        seconds=max(part.seconds for part in known),
        target=wheel_set.target,
        info={
            "about.json": to_json({"summary": wheel_set.summary}),
            SET: to_json(record),
            "wheels.toml": dumps(wheel_set).encode(),
        },
    )


def _write(
    package: PackageId,
    out_dir: Path,
    *,
    depends: tuple[str, ...] = (),
    constrains: tuple[str, ...] = (),
    number: int = 0,
    seconds: int = _EPOCH,
    target: Target | None = None,
    info: Mapping[str, bytes] | None = None,
) -> Path:
    """Write a package without files, `noarch: generic` unless it is for one target.

    Raises:
        SluiceError: it cannot be written.

    """
    index: dict[str, Any] = {
        "arch": target.machine if target else None,
        "build": package.build,
        "build_number": number,
        "constrains": list(constrains),
        "depends": list(depends),
        "name": package.name,
        "platform": "linux" if target else None,
        "subdir": target.subdir if target else "noarch",
        "timestamp": seconds * 1000,
        "version": package.version,
    }
    if target is None:
        index["noarch"] = "generic"
    with conda_writer(package, out_dir, timestamp=seconds) as writer:
        writer.info("index.json", to_json(index))
        for name, data in (info or {"about.json": to_json({})}).items():
            writer.info(name, data)
    return out_dir / package.filename
