"""Makes recorded answers again: fetch the lock, realise, start a fresh worker, run, compare."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from sluice.adapters.rattler import InstallError
from sluice.errors import SluiceError
from sluice_scheduler import payload
from sluice_scheduler.channel import fetch_lock_at
from sluice_scheduler.deployment import Deployment
from sluice_scheduler.deployments import Realise, deploy
from sluice_scheduler.errors import PrefixDiffersError, WorkerError
from sluice_scheduler.replay import AnswerRecord, Verdict, compare_links, compare_outputs
from sluice_scheduler.tensors import Tensor
from sluice_scheduler.zygote import Instance, Zygote

# What an installer says of a package whose bytes are not the lock's.
_OTHER_BYTES: Final = re.compile(r"hash mismatch|is not what package", re.IGNORECASE)


def replay(
    records: Iterable[AnswerRecord],
    *,
    root: Path,
    realise: Realise,
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[Verdict]:
    """Make answers again in environments realised below `root`; a verdict for each, in their order.

    Records of one lock and profile share an environment; every answer gets a fresh process.

    Raises:
        SluiceError: a lock cannot be fetched or realised, or a worker not be started.

    """
    deployments: dict[tuple[str, str], Deployment] = {}
    for record in records:
        if link := record.contradiction():
            yield Verdict(record.task, link, "what the record's digest says", "other bytes in the record")
            continue
        key = (record.lock.hex, record.profile_digest.hex)
        if key not in deployments:
            tell(f"{record.environment}: fetching lock {record.lock.short}")
            published = fetch_lock_at(record.lock_url, record.environment)
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
        with _folder() as tmp:
            yield compare_outputs(record, asyncio.run(_answer(record, deployment, tmp)))


def _broken(error: SluiceError) -> str | None:
    """Name the link that could not be made as it was, or None where it could not be tried (no network, no disk)."""
    if isinstance(error, PrefixDiffersError):
        return "tree"
    if isinstance(error, InstallError) and _OTHER_BYTES.search(str(error)):
        return "package"
    return None


def _links(record: AnswerRecord, deployment: Deployment) -> Verdict | None:
    return compare_links(
        record,
        [
            ("tree", deployment.tree),
            ("model", deployment.find(record.model).digest),
            ("profile", deployment.profile.digest()),
        ],
    )


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sluice-replay-") as folder:
        yield Path(folder)


async def _answer(record: AnswerRecord, deployment: Deployment, tmp: Path) -> tuple[Tensor, ...]:
    model = deployment.find(record.model).model
    inputs = model.check(record.inputs)
    async with _instance(deployment, tmp) as instance:
        answer = await instance.infer(record.task, record.model, payload.pack(inputs))
    if answer.error is not None:
        raise WorkerError(f"task {record.task}: the model refused its recorded input: {answer.error}")
    return model.check_outputs(answer.outputs)


@asynccontextmanager
async def _instance(deployment: Deployment, tmp: Path) -> AsyncIterator[Instance]:
    zygote = await Zygote.start(deployment, tmp=tmp, log=tmp / "worker.log")
    watching = asyncio.create_task(zygote.watch(lambda *_: None))
    try:
        instance = await zygote.fork("replay")
        try:
            yield instance
        finally:
            instance.discard()
    finally:
        await zygote.destroy()
        await watching
