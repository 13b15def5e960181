"""Remove realised prefixes that nothing names or uses, then extracted packages that no prefix is made of."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sluice import atomic, roots
from sluice.extracted import FOLDER
from sluice.prefix import META
from sluice.realise import PrefixStore

_LEFT = ".collected-"  # how something being removed is named, so that a crash leaves no half of it in use


@dataclass(frozen=True, order=True, slots=True)
class Verdict:
    """What became of one prefix or extracted package, and why."""

    kind: Literal["prefix", "package"]
    name: str  # of the folder
    kept: bool
    why: str


def collect(store: PrefixStore, *, dry_run: bool = False) -> tuple[Verdict, ...]:
    """Remove what no root names and no running process has mapped; waits for realisers, who wait for it.

    Raises:
        RootError: a root cannot be read; nothing was removed.

    """
    with atomic.exclusive(store.lock_file):
        named = {store.prefix(root.lock).name: root.name for root in roots.read(store.roots)}
        verdicts = [_verdict(prefix, named) for prefix in sorted(store.environments.glob("[!.]*"))]
        kept = [store.environments / verdict.name for verdict in verdicts if verdict.kept]
        verdicts += _packages(store, kept)
        if not dry_run:
            for verdict in verdicts:
                if not verdict.kept:
                    _remove(store, verdict)
            _sweep(store)
    return tuple(verdicts)


def _verdict(prefix: Path, named: dict[str, str]) -> Verdict:
    if prefix.name in named:
        return Verdict("prefix", prefix.name, kept=True, why=f"root {named[prefix.name]}")
    if process := next(_users(prefix), None):
        return Verdict("prefix", prefix.name, kept=True, why=f"used by process {process}")
    return Verdict("prefix", prefix.name, kept=False, why="no root names it and no process uses it")


def _users(prefix: Path) -> Iterator[int]:
    """List the processes that have a file of a prefix mapped, of those that this user may look at."""
    below = f" {prefix.resolve()}/".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if below in (process / "maps").read_bytes():
                yield int(process.name)
        except OSError:
            continue  # ended, or another user's


def _packages(store: PrefixStore, prefixes: Iterable[Path]) -> Iterator[Verdict]:
    users: dict[str, list[str]] = {}
    for prefix in prefixes:
        for record in prefix.glob(f"{META}/*.json"):
            users.setdefault(record.stem, []).append(prefix.name[:12])
    for folder in sorted(store.packages.glob("[!.]*")):
        if folder.is_dir():
            using = users.get(folder.name, ())
            why = f"in {', '.join(sorted(using))}" if using else "in no prefix that is kept"
            yield Verdict("package", folder.name, kept=bool(using), why=why)


def _remove(store: PrefixStore, verdict: Verdict) -> None:
    folder = (store.environments if verdict.kind == "prefix" else store.packages) / verdict.name
    gone = folder.with_name(f"{_LEFT}{secrets.token_hex(8)}")
    folder.rename(gone)
    if verdict.kind == "package":
        folder.with_name(f"{folder.name}.lock").unlink(missing_ok=True)
        for memo in (store.packages / FOLDER).glob(f"{folder.name}.*"):
            memo.unlink(missing_ok=True)
    if gone.is_dir():
        shutil.rmtree(gone, ignore_errors=True)
    else:
        gone.unlink()


def _sweep(store: PrefixStore) -> None:
    """Remove what realisers and collectors that died left; none is at work now."""
    stale = (*store.environments.glob(".*"), *store.packages.glob(f"{_LEFT}*"))
    for folder in stale:
        shutil.rmtree(folder, ignore_errors=True)
