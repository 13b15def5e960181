"""The daemon's hold on one zygote: commands stopped and continued, and everything ended with it."""

import asyncio
import sys
from pathlib import Path

import pytest

from sluice.digest import Digest
from sluice_scheduler import command, payload
from sluice_scheduler.batching import Bucket
from sluice_scheduler.confinement import Confinement
from sluice_scheduler.deployment import Deployment, ServedModel
from sluice_scheduler.errors import SettingsError, WorkerError
from sluice_scheduler.job import SCRIPT
from sluice_scheduler.profile import NumericProfile
from sluice_scheduler.script import inputs
from sluice_scheduler.zygote import Zygote

NOTHING = Digest.of(b"")


@pytest.fixture
def deployment(tmp_path):
    python = tmp_path / "prefix" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys._base_executable} "$@"\n')
    python.chmod(0o755)
    prefix = tmp_path / "prefix"
    runner = ServedModel(SCRIPT, prefix, command.model(prefix), "e", NOTHING)
    return Deployment(
        "e",
        "",
        prefix,
        NOTHING,
        NOTHING,
        NumericProfile(),
        (runner,),
        script_seconds=10,
        confinement=Confinement(),
    )


def state_of(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "gone"


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.01)


def children(pid):
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def test_a_command_is_stopped_with_all_it_started_and_continued(deployment, tmp_path):
    async def work():
        zygote = await Zygote.start(deployment, tmp=tmp_path, log=tmp_path / "log")
        watching = asyncio.create_task(zygote.watch(lambda *_: None))
        try:
            instance = await zygote.fork("i1")
            assert not instance.pause()  # it runs no command
            words = ["sh", "-c", "sleep 0.2 & wait; cat", "sh"]
            asked = [("t", payload.pack(inputs(words, {"A": "b"}, "said")))]
            running = asyncio.create_task(instance.run(SCRIPT, asked, Bucket()))
            await until(lambda: any(children(child) for child in children(instance.pid)))
            (shell,) = children(instance.pid)
            (sleeper,) = children(shell)
            assert instance.pause()
            await until(lambda: {state_of(pid) for pid in (instance.pid, shell, sleeper)} == {"T"})
            done, _ = await asyncio.wait((running,), timeout=0.5)
            assert not done
            assert instance.resume()
            (answer,) = await asyncio.wait_for(running, 20)
            assert {tensor.name: tensor.data for tensor in answer.outputs}["stdout"] == b"\4\0\0\0said"
            assert instance.killed
            instance.discard()
        finally:
            await zygote.destroy()
            await watching
        assert state_of(zygote.pid) == "gone"
        assert [path for path in tmp_path.iterdir() if path.name.startswith("zygote-")] == []

    asyncio.run(work())


def test_a_worker_without_an_interpreter_is_one_line(deployment, tmp_path):
    (deployment.prefix / "bin" / "python").unlink()
    with pytest.raises(WorkerError, match="No such file"):
        asyncio.run(Zygote.start(deployment, tmp=tmp_path, log=tmp_path / "log"))


@pytest.mark.parametrize("memory", [0, 1, (64 << 20) - 1, 1 << 51, True, "1"])
def test_a_memory_limit_that_is_none_is_refused(memory):
    with pytest.raises(SettingsError, match="memory_bytes"):
        Confinement(memory_bytes=memory)
