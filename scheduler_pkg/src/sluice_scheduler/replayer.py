"""Makes recorded answers again: fetch the lock, realise, start a fresh worker, run, compare."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, Self

from sluice.adapters.rattler import InstallError
from sluice.errors import SluiceError
from sluice.mirrors import NO_MIRRORS, Mirrors
from sluice_scheduler import payload
from sluice_scheduler.channel import fetch_lock_at
from sluice_scheduler.deployment import Deployment
from sluice_scheduler.deployments import Realise, deploy
from sluice_scheduler.errors import PrefixDiffersError, WorkerError
from sluice_scheduler.replay import AnswerRecord, Verdict, compare_links, compare_outputs
from sluice_scheduler.tensors import Tensor
from sluice_scheduler.zygote import Zygote

# What an installer says of a package whose bytes are not the lock's.
_OTHER_BYTES: Final = re.compile(r"hash mismatch|is not what package", re.IGNORECASE)


def replay(
    records: Iterable[AnswerRecord],
    *,
    root: Path,
    realise: Realise,
    tell: Callable[[str], None] = lambda _: None,
    mirrors: Mirrors = NO_MIRRORS,
) -> Iterator[Verdict]:
    """Make answers again in environments realised below `root`; a verdict for each, in their order.

    Locks are fetched where the records name them, or from `mirrors` of those places.

    Records of one lock and profile share an environment and the process that loads its models; every answer gets a
    fresh one, forked from that. Each runs in the bucket that its record names.

    Raises:
        SluiceError: a lock cannot be fetched or realised, or a worker not be started.

    """
    with _Workers() as workers:
        yield from _replay(records, root, realise, tell, mirrors, workers)


def _replay(
    records: Iterable[AnswerRecord],
    root: Path,
    realise: Realise,
    tell: Callable[[str], None],
    mirrors: Mirrors,
    workers: _Workers,
) -> Iterator[Verdict]:
    deployments: dict[tuple[str, str], Deployment] = {}
    for record in records:
        if link := record.contradiction():
            yield Verdict(record.task, link, "what the record's digest says", "other bytes in the record")
            continue
        key = (record.lock.hex, record.profile_digest.hex)
        if key not in deployments:
            tell(f"{record.environment}: fetching lock {record.lock.short}")
            published = fetch_lock_at(record.lock_url, record.environment, mirrors)
            if verdict := compare_links(record, [("lock", published.digest)]):
                yield verdict
                continue
            tell(f"{record.environment}: realising into {root}")
            try:
                deployments[key] = deploy(
                    published, locks_folder=root / "replay-locks", realise=realise, profile=record.profile
                )
            except SluiceError as error:
                if link := _broken(error):
                    yield Verdict(record.task, link, "as the lock says", str(error))
                    continue
                raise
        deployment = deployments[key]
        if verdict := _links(record, deployment):
            yield verdict
            continue
        tell(f"task {record.task}: running {record.model} again")
        yield compare_outputs(record, workers.answer(record, deployment))


def _broken(error: SluiceError) -> str | None:
    """Name the link that could not be made as it was, or None where it could not be tried (no network, no disk)."""
    if isinstance(error, PrefixDiffersError):
        return "tree"
    if isinstance(error, InstallError) and _OTHER_BYTES.search(str(error)):
        return "package"
    return None


def _links(record: AnswerRecord, deployment: Deployment) -> Verdict | None:
    served = deployment.find(record.model)
    verdict = compare_links(
        record,
        [("tree", deployment.tree), ("model", served.digest), ("profile", deployment.profile.digest())],
    )
    if verdict is None and record.bucket is not None and not served.model.runs_in(record.bucket):
        verdict = Verdict(record.task, "bucket", str(record.bucket), str(served.model.bucket()))
    return verdict


class _Workers:
    """A zygote for every deployment that is replayed, for as long as the block lasts."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._folder = tempfile.TemporaryDirectory(prefix="sluice-replay-")
        self._zygotes: dict[Deployment, tuple[Zygote, asyncio.Task[None]]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._folder, self._runner:
            self._runner.run(self._end())

    def answer(self, record: AnswerRecord, deployment: Deployment) -> tuple[Tensor, ...]:
        """Run a record's input in a process of its own.

        Raises:
            WorkerError: no worker can be started, or the model refuses the input.

        """
        return self._runner.run(self._answer(record, deployment))

    async def _answer(self, record: AnswerRecord, deployment: Deployment) -> tuple[Tensor, ...]:
        model = deployment.find(record.model).model
        request = (record.task, payload.pack(model.check(record.inputs)))
        instance = await (await self._zygote(deployment)).fork("replay")
        try:
            (answer,) = await instance.run(record.model, [request], record.bucket or model.bucket())
        finally:
            instance.discard()
        if answer.error is not None:
            raise WorkerError(f"task {record.task}: the model refused its recorded input: {answer.error}")
        return model.check_outputs(answer.outputs)

    async def _zygote(self, deployment: Deployment) -> Zygote:
        if deployment not in self._zygotes:
            folder = Path(self._folder.name)
            zygote = await Zygote.start(deployment, tmp=folder, log=folder / "worker.log")
            watching = asyncio.create_task(zygote.watch(lambda *_: None))
            self._zygotes[deployment] = (zygote, watching)
        return self._zygotes[deployment][0]

    async def _end(self) -> None:
        for zygote, watching in self._zygotes.values():
            await zygote.destroy()
            await watching
