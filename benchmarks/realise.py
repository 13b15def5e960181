"""Time a realise, verified, against py-rattler's bare install of the same lock, cold and warm.

Both run in this process, in turns, on a channel served from here. Cold: no package is extracted; warm: all
are, and no prefix is made. What a round made is put aside, not removed: ext4 goes around what was just
removed, which makes every next round slower, and a slow round hides what is compared. With `--conda`, the real conda installs the same packages from an explicit list.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rattler import LockFile, Subdir, install

from harness import Figure, main, spread
from servers import served
from sluice.lock import read
from sluice.realise import PrefixStore, current_platform, realise
from sluice.verify import verify

ROOT = Path(__file__).resolve().parents[1]
QUICKSTART = Path(os.environ.get("SLUICE_QUICKSTART_HOME", "~/.local/share/sluice/quickstart")).expanduser()
WARM_WITHIN = 1.25  # times the bare install


def relocated(environment: str, url: str, scratch: Path) -> Path:
    """Copy the lock that the quickstart made of an environment, with its channel at another URL."""
    text = (ROOT / "envs" / environment / "pixi.lock").read_bytes()
    (scratch / "published.lock").write_bytes(text)
    (published,) = read(scratch / "published.lock").channels
    lock = scratch / "pixi.lock"
    lock.write_bytes(text.replace(published.rstrip("/").encode(), url.rstrip("/").encode()))
    return lock


def timed(work: Callable[[], object]) -> float:
    """Return the seconds some work took, with what was written before already on the disk."""
    os.sync()
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def install_bare(lock: Path, prefix: Path, cache: Path) -> None:
    """Install a lock with py-rattler alone."""
    environment = LockFile.from_path(lock).default_environment()
    records = environment.conda_repodata_records()[current_platform()] if environment else []
    asyncio.run(install(records, prefix, cache, platform=Subdir(current_platform()), show_progress=False))


def pair(
    ours: Callable[[], float], theirs: Callable[[], float], rounds: int
) -> tuple[list[float], list[float]]:
    """Measure both in turns, each first as often as the other."""
    pairs = []
    for number in range(rounds):
        if number % 2:
            second = theirs()
            pairs.append((ours(), second))
        else:
            first = ours()
            pairs.append((first, theirs()))
    return [first for first, _ in pairs], [second for _, second in pairs]


def figure(
    name: str, ours: list[float], theirs: list[float], peer: str, target: float | None = None
) -> Figure:
    """Make a figure of medians; the ratio is that of the medians, its spread that of the pairs."""
    return Figure(
        name,
        statistics.median(ours),
        "s",
        peer=peer,
        peer_value=statistics.median(theirs),
        spread=spread(first / second for first, second in zip(ours, theirs, strict=True)),
        target=target,
        bound="ratio",
    )


def measure(arguments: argparse.Namespace) -> list[Figure]:
    """Measure in a folder beside the channel's packages' future place."""
    with tempfile.TemporaryDirectory(prefix="rb-", dir=arguments.scratch) as folder:
        scratch = Path(folder)
        with served(arguments.channel_dir, scratch) as (url, _):
            return figures(arguments, scratch, relocated(arguments.environment, url, scratch))


def figures(arguments: argparse.Namespace, scratch: Path, lock: Path) -> list[Figure]:
    """Measure cold, then warm, then what comes after."""
    store, cache = PrefixStore(scratch / "s"), scratch / "pkgs"
    bare = store.environments / "bare"  # where a folder lies decides where a file system puts its blocks
    prefix = store.prefix(read(lock).digest)

    aside = (scratch / f"aside-{number}" for number in itertools.count())

    def clear(folder: Path) -> None:
        if folder.exists():
            folder.rename(next(aside))

    def ours(*, cold: bool) -> float:
        clear(prefix)
        if cold:
            clear(store.packages)
        return timed(lambda: realise(lock, store))

    def theirs(*, cold: bool) -> float:
        clear(bare)
        if cold:
            clear(cache)
        return timed(lambda: install_bare(lock, bare, cache))

    peer = "py-rattler install"
    cold = pair(lambda: ours(cold=True), lambda: theirs(cold=True), arguments.cold_rounds)
    warm = pair(lambda: ours(cold=False), lambda: theirs(cold=False), arguments.rounds)
    measured = [
        figure("realise, cold", *cold, peer),
        figure("realise, warm", *warm, peer, WARM_WITHIN),
        Figure("realise, already made", timed(lambda: realise(lock, store)), "s"),
        Figure("verify", timed(lambda: verify(prefix)), "s"),
        Figure("verify --deep", timed(lambda: verify(prefix, deep=True)), "s"),
    ]
    if arguments.conda:
        measured += conda(arguments, scratch, lock, cold[0], warm[0])
    return measured


def conda(
    arguments: argparse.Namespace, scratch: Path, lock: Path, cold: list[float], warm: list[float]
) -> list[Figure]:
    """Measure the real conda on the same packages; its figures do not hold where it is missing."""
    program = shutil.which("conda")
    if not program:
        return [Figure(f"realise, {kind}", statistics.median(ours), "s", peer="conda")
                for kind, ours in (("cold", cold), ("warm", warm))]  # fmt: skip
    listed = scratch / "explicit.txt"
    packages = read(lock).on(current_platform())
    listed.write_text("@EXPLICIT\n" + "".join(f"{package.url}\n" for package in packages))
    environment = os.environ | {"CONDA_PKGS_DIRS": str(scratch / "conda-pkgs")}
    prefix = scratch / "conda"

    def once(*, cold: bool) -> float:
        shutil.rmtree(prefix, ignore_errors=True)
        if cold:
            shutil.rmtree(scratch / "conda-pkgs", ignore_errors=True)
        command = [
            program,
            "create",
            "--yes",
            "--quiet",
            "--offline" if not cold else "--no-default-packages",
        ]
        return timed(
            lambda: subprocess.run(
                [*command, "--prefix", str(prefix), "--file", str(listed)],
                env=environment, check=True, stdout=subprocess.DEVNULL,
            )
        )  # fmt: skip

    first = [once(cold=True) for _ in cold]
    again = [once(cold=False) for _ in range(min(arguments.rounds, 5))]
    return [
        figure("realise, cold", cold, first, "conda"),
        figure("realise, warm", warm[: len(again)], again, "conda"),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--channel-dir", type=Path, default=QUICKSTART / "channel", help="the quickstart's if not given"
    )
    parser.add_argument(
        "--environment", default="nlp-minilm-pt213-cpu", help="one that the quickstart locked"
    )
    parser.add_argument("--rounds", type=int, default=9, help="warm rounds of each")
    parser.add_argument("--cold-rounds", type=int, default=3, help="cold rounds of each")
    parser.add_argument("--scratch", type=Path, default=Path("/tmp"), help="a folder whose path is short")
    parser.add_argument("--conda", action="store_true", help="also measure the real conda on PATH")
    sys.exit(main("realise", measure, parser))
