"""The settings choose the store."""

import asyncio
import logging
from pathlib import Path

import pytest

from sluice_scheduler.errors import SettingsError
from sluice_scheduler.queues.deferred import DeferredQueue
from sluice_scheduler.queues.memory import MemoryQueue
from sluice_scheduler.queues.opening import open_queue
from sluice_scheduler.queues.redis import RedisQueue
from sluice_scheduler.settings import Settings


def settings(state, **more):
    return Settings(channel="http://channel/main", env=("a-b-pt213-cpu",), state=state, **more)


def opened(given):
    async def work():
        queue = await open_queue(given)
        await queue.close()
        return type(queue)

    return asyncio.run(work())


def test_sqlite_is_the_default(tmp_path):
    assert opened(settings(tmp_path)) is DeferredQueue
    assert (tmp_path / "queue.sqlite").exists()


def test_memory_is_warned_of(tmp_path, caplog):
    assert opened(settings(tmp_path, queue="memory")) is MemoryQueue
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_redis_with_a_password_file_is_held_under_the_name_of_the_state_folder(tmp_path, start_redis):
    server = start_redis("--requirepass", "secret")
    (tmp_path / "password").write_text("secret\n")
    given = settings(tmp_path, queue=server.url, queue_password_file=tmp_path / "password")
    assert opened(given) is RedisQueue
    name = (tmp_path / "holder").read_text()

    async def killed():
        await (await open_queue(given))._server._redis.aclose()  # it does not let the queue go

    asyncio.run(killed())
    assert opened(given) is RedisQueue
    assert (tmp_path / "holder").read_text() == name


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "one line"), (b"a\nb\n", "one line"), (b"\xff", "cannot be read"), (None, "read")],
)
def test_a_password_file_holds_one_line(tmp_path, content, said):
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=said) as caught:
        opened(settings(tmp_path, queue="redis://127.0.0.1:1", queue_password_file=path))
    assert str(caught.value).startswith("queue_password_file: ")


def test_certificates_that_are_not_there_are_said(tmp_path):
    with pytest.raises(SettingsError, match="queue_ca: there is no file"):
        opened(settings(tmp_path, queue="rediss://127.0.0.1:1", queue_ca=Path("nowhere.pem")))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("queue", "redis"),
        ("queue", "postgres://h"),
        ("queue_prefix", ""),
        ("queue_prefix", "a b"),
        ("queue_prefix", "x*"),
    ],
)
def test_what_is_no_queue_is_refused(tmp_path, key, value):
    with pytest.raises(SettingsError, match=f"^{key} is"):
        settings(tmp_path, **{key: value})
