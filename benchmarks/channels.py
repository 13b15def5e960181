"""Channels of any size for the benchmarks: small real packages, and entries of a catalogue without files."""

from __future__ import annotations

from pathlib import Path

from sluice.digest import Digest
from sluice.testing import File, TinyPackage
from sluice_channel.catalogues.sqlite import SqliteCatalogue
from sluice_channel.entry import Package, Publish, canonical
from sluice_channel.site import CATALOGUE, now

VERSIONS = 10  # packages of one name
SUBDIR = "linux-64"
_BATCH = 5000  # packages in one generation


def package(number: int, version: str | None = None) -> TinyPackage:
    """Describe one package of a channel; the hundredth of a thousand is the same as of a million."""
    name, minor = divmod(number, VERSIONS)
    depends = ["python >=3.11,<3.12.0a0", "numpy >=2", *([f"bench-{name // 2}"] if name else [])]
    return TinyPackage(
        f"bench-{name}",
        version or f"1.{minor}",
        f"py311h{number:07x}_0",
        depends=depends,
        files={f"share/bench/{number}": File(b"%d" % number)},
        subdir=SUBDIR,
        noarch=None,
    )


def directory(channel: Path, count: int) -> None:
    """Write a channel's packages as files, without an index; and two that all of them need."""
    (channel / "noarch").mkdir(parents=True, exist_ok=True)
    for name, version in (("python", "3.11.9"), ("numpy", "2.4.0")):
        TinyPackage(name, version, subdir=SUBDIR, noarch=None).write(channel)
    for number in range(count):
        package(number).write(channel)


def catalogue(root: Path, count: int) -> None:
    """Fill a site's catalogue with as many packages, of which there are no files."""
    made = SqliteCatalogue(root / CATALOGUE)
    try:
        made.create("main", now=now())
        for start in range(0, count, _BATCH):
            numbers = range(start, min(start + _BATCH, count))
            made.change("main", [Publish(_entry(number)) for number in numbers], now=now())
    finally:
        made.close()


def _entry(number: int) -> Package:
    tiny = package(number)
    sha256 = Digest.of(b"%d" % number)
    record = {
        "build": tiny.build,
        "build_number": 0,
        "depends": list(tiny.depends),
        "md5": sha256.hex[:32],
        "name": tiny.name,
        "sha256": sha256.hex,
        "size": 1234,
        "subdir": SUBDIR,
        "timestamp": 1_700_000_000_000,
        "version": tiny.version,
    }
    filename = f"{tiny.name}-{tiny.version}-{tiny.build}.conda"
    about = canonical({"summary": f"Package {number} of a benchmark"})
    return Package(sha256, 1234, SUBDIR, filename, canonical(record), "{}", about)
