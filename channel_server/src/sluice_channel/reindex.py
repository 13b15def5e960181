"""Index a channel directory: build every document aside, then put all of them into place."""

from __future__ import annotations

import filecmp
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sluice.digest import Digest
from sluice.progress import Progress, Silent, Step
from sluice_channel import subdir as subdirs
from sluice_channel.directory import locked, private
from sluice_channel.errors import IndexingError
from sluice_channel.index import Indexer, IndexSummary, Job, SubdirSummary
from sluice_channel.indexers.conda_index import CondaIndex
from sluice_channel.resource import CHANNELDATA, DOCUMENTS, REPODATA, SHARD
from sluice_channel.retention import retire

WAIT = 600.0  # seconds for another indexer of the same directory to end
_STAGE = "stage-"


def index(
    channel_dir: Path,
    progress: Progress | None = None,
    *,
    name: str = "main",
    indexer: Indexer | None = None,
    wait_s: float = WAIT,
) -> IndexSummary:
    """Write the index of every subdir of a channel directory, atomically.

    Every document is complete before the first is replaced, and each is replaced by one rename; where
    the bytes are the same nothing is touched. On an error the old index stays.

    Raises:
        IndexingError: a package is malformed (it is named), or a document cannot be written.
        BusyError: another process worked in the directory for `wait_s` seconds.
        ChannelError: there is no such directory.

    """
    channel = channel_dir.resolve()
    try:
        with locked(channel, wait_s) as lock_fd, _stage(channel) as stage, ExitStack() as steps:
            counter = _Counter(progress or Silent(), steps, channel)
            cache = private(channel) / "cache"
            cache.mkdir(exist_ok=True)
            job = Job(channel, name, _subdirs(channel), stage, cache, lock_fd)
            (indexer or CondaIndex()).build(job, counter)
            shards = _staged_shards(job)
            summary = _summary(job, counter.read, _publish(job, shards))
            _sweep(job, shards)
    except OSError as error:
        place = error.filename or channel
        raise IndexingError(f"cannot write the index of {channel}: {place}: {error.strerror}") from error
    return summary


class _Counter:
    """Shows the packages being read; the step begins with the first one."""

    def __init__(self, progress: Progress, steps: ExitStack, channel: Path) -> None:
        self.read = 0
        self._progress = progress
        self._steps = steps
        self._channel = channel
        self._step: Step | None = None

    def __call__(self, filename: str, total: int) -> None:
        if self._step is None:
            name = f"index {self._channel.name}"
            self._step = self._steps.enter_context(
                self._progress.step(name, total=None if total < 1 else total)
            )
        elif self.read:
            self._step.advance()
        self._step.describe(filename)
        self.read += 1


def _subdirs(channel: Path) -> tuple[str, ...]:
    found = {each.name for each in channel.iterdir() if each.name in subdirs.KNOWN and each.is_dir()}
    return tuple(sorted(found.union(subdirs.DEFAULT)))


@contextmanager
def _stage(channel: Path) -> Iterator[Path]:
    folder = private(channel)
    for old in folder.glob(f"{_STAGE}*"):  # of a run that was killed: this one holds the lock
        shutil.rmtree(old, ignore_errors=True)
    stage = Path(tempfile.mkdtemp(prefix=_STAGE, dir=folder))
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _publish(job: Job, shards: Mapping[str, AbstractSet[str]]) -> tuple[str, ...]:
    """Rename what is new into place and return it."""
    staged = [job.stage / name / each for name in job.subdirs for each in sorted(shards[name])]
    staged += [job.stage / name / each for name in job.subdirs for each in DOCUMENTS]
    staged.append(job.stage / CHANNELDATA)
    moves = [(new, job.channel / new.relative_to(job.stage)) for new in staged]
    moves = [(new, old) for new, old in moves if not _same(new, old)]
    for new, old in moves:
        new.chmod(0o644)
        _sync(new)
        old.parent.mkdir(exist_ok=True)
    # Ctrl-C waits for the few renames, so that the documents of one run appear together.
    with _signals_held():
        for new, old in moves:
            new.replace(old)
    for folder in sorted({old.parent for _, old in moves}):
        _sync(folder)
    return tuple(str(old.relative_to(job.channel)) for _, old in moves)


def _staged_shards(job: Job) -> dict[str, frozenset[str]]:
    return {name: _shards_in(job.stage / name) for name in job.subdirs}


def _shards_in(folder: Path) -> frozenset[str]:
    return frozenset(each.name for each in folder.iterdir() if SHARD.fullmatch(each.name))


def _same(new: Path, old: Path) -> bool:
    return old.is_file() and not old.is_symlink() and filecmp.cmp(new, old, shallow=False)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def _signals_held() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _sweep(job: Job, shards: Mapping[str, AbstractSet[str]]) -> None:
    """Remove shards that no index has named for a day."""
    for name in job.subdirs:
        folder, notes = job.channel / name, job.cache / f"retired-{name}.json"
        decision = retire(_shards_in(folder), shards[name], _noted(notes), time.time())
        for shard in decision.remove:
            (folder / shard).unlink(missing_ok=True)
        notes.write_text(json.dumps(decision.retired))


def _noted(notes: Path) -> dict[str, float]:
    try:
        noted = json.loads(notes.read_text())
    except (OSError, ValueError):
        return {}  # lost notes only keep shards a day longer
    return noted if isinstance(noted, dict) else {}


def _summary(job: Job, read: int, written: tuple[str, ...]) -> IndexSummary:
    each = []
    for name in job.subdirs:
        content = (job.channel / name / REPODATA).read_bytes()
        repodata = json.loads(content)
        packages = len(repodata["packages"]) + len(repodata["packages.conda"])
        each.append(SubdirSummary(name, packages, Digest.of(content)))
    return IndexSummary(job.channel, tuple(each), read, written)
