"""Waiting for an environment to change: with clients of a real server, and inside one event loop."""

# ruff: noqa: ASYNC110 - what is waited for happens in another thread or process

from __future__ import annotations

import asyncio
import threading

import httpx
import pytest

from sluice_channel import registration
from sluice_channel.entry import Publish
from sluice_channel.registries.memory import MemoryRegistry
from sluice_channel.site import open_site
from sluice_channel.watch import Watch

CLIENTS = 300


def test_without_a_tag_or_with_an_old_one_nobody_waits(served, parts):
    served.put(served.lock())
    url = f"/main/envs/{parts.NAME}"
    assert served.client.get(url, params={"wait": 60}).status_code == 200
    old = served.client.get(url, params={"wait": 60}, headers={"If-None-Match": '"old"'})
    assert old.status_code == 200
    assert served.client.get(url, params={"wait": 61}).status_code == 400
    assert served.client.get("/main/envs/none", params={"wait": 60}).status_code == 404


def test_the_time_being_up_is_a_304(served, parts):
    served.put(served.lock())
    url = f"/main/envs/{parts.NAME}"
    tag = served.client.get(url).headers["etag"]
    answer = served.client.get(url, params={"wait": 1}, headers={"If-None-Match": tag})
    assert (answer.status_code, answer.headers["etag"]) == (304, tag)


async def _all_wait(served, url, tag, change):
    """Let many clients wait, then change something; return their answers."""
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=served.origin, timeout=120, limits=limits) as client:
        headers = {"If-None-Match": tag}
        requests = [
            asyncio.create_task(client.get(url, params={"wait": 60}, headers=headers)) for _ in range(CLIENTS)
        ]
        while served.app.state.watch.waiting < CLIENTS:
            assert not any(request.done() for request in requests)
            await asyncio.sleep(0.02)
        threads = threading.active_count()
        # Others are answered meanwhile: nobody who waits holds a thread.
        for _ in range(50):
            assert (await client.get("/main/envs")).status_code == 200
        await asyncio.to_thread(change)
        return await asyncio.gather(*requests), threads


@pytest.mark.parametrize("where", ["this process", "another process"])
def test_hundreds_wait_and_all_are_told(served, parts, where):
    served.put(served.lock())
    served.site.catalogue.change("main", [Publish(parts.TORCH_1)], now=2)
    url = f"/main/envs/{parts.NAME}"
    tag = served.client.get(url).headers["etag"]
    newer = served.lock(parts.TORCH_1, parts.DIGITS)

    def here():
        assert served.put(newer).status_code == 201

    def there():  # another connection to the file, that the server knows nothing of
        other = open_site(served.root)
        checked = registration.check(other.catalogue, "main", parts.NAME, parts.SPEC, newer.encode())
        other.registry.register("main", checked.registration, now=3)
        other.close()

    answers, threads = asyncio.run(_all_wait(served, url, tag, here if where == "this process" else there))
    assert {(answer.status_code, answer.json()["version"]) for answer in answers} == {(200, 2)}
    assert threads < 100
    assert served.app.state.watch.waiting == 0


def test_a_change_of_another_environment_wakes_nobody(served, parts):
    served.put(served.lock())
    other = parts.NAME.replace("-cpu", "-mps")
    url = f"/main/envs/{parts.NAME}"
    tag = served.client.get(url).headers["etag"]

    async def run():
        async with httpx.AsyncClient(base_url=served.origin, timeout=60) as client:
            waiting = asyncio.create_task(client.get(url, params={"wait": 3}, headers={"If-None-Match": tag}))
            while not served.app.state.watch.waiting:
                await asyncio.sleep(0.02)
            spec = parts.SPEC.replace(parts.NAME, other)
            made = await asyncio.to_thread(served.put, served.lock(), spec=spec, name=other)
            assert made.status_code == 201
            return await waiting

    assert asyncio.run(run()).status_code == 304


def test_a_client_that_hangs_up_is_forgotten(served, parts):
    served.put(served.lock())
    url = f"/main/envs/{parts.NAME}"
    tag = served.client.get(url).headers["etag"]

    async def run():
        async with httpx.AsyncClient(base_url=served.origin, timeout=60) as client:
            waiting = asyncio.create_task(
                client.get(url, params={"wait": 60}, headers={"If-None-Match": tag})
            )
            while not served.app.state.watch.waiting:
                await asyncio.sleep(0.02)
            waiting.cancel()
        while served.app.state.watch.waiting:
            await asyncio.sleep(0.02)

    asyncio.run(run())


def test_a_server_that_stops_lets_everybody_go(environment, starting, tmp_path, parts):
    import signal

    from sluice_channel.site import open_site as opening

    site = opening(tmp_path / "root", create=True)
    site.catalogue.create("main", now=1)
    site.catalogue.change("main", [Publish(parts.TORCH), Publish(parts.DIGITS)], now=1)
    lock = parts.pixi("http://h/main", parts.TORCH, parts.DIGITS).encode()
    checked = registration.check(site.catalogue, "main", parts.NAME, parts.SPEC, lock)
    site.registry.register("main", checked.registration, now=1)
    site.close()
    with starting(tmp_path / "root", "--grace", "60", ready=tmp_path / "ready") as (process, url):
        address = f"{url}/envs/{parts.NAME}"
        tag = httpx.get(address).headers["etag"]
        answers = []

        def wait():
            answers.append(
                httpx.get(address, params={"wait": 60}, headers={"If-None-Match": tag}, timeout=90)
            )

        thread = threading.Thread(target=wait)
        thread.start()
        thread.join(1)
        assert thread.is_alive()
        process.send_signal(signal.SIGTERM)
        output = process.communicate(timeout=30)[0]
        thread.join(30)
        assert process.returncode == 0, output
        assert answers[0].status_code == 304


def test_nothing_runs_while_nobody_waits_and_the_number_of_those_who_wait_is_bounded():
    registry = MemoryRegistry()

    async def run():
        watch = Watch(registry, every=0.01, limit=1)
        first = asyncio.create_task(watch.changed("main", "a", 0, 30))
        while watch.waiting != 1:
            await asyncio.sleep(0)
        assert not await watch.changed("main", "a", 0, 30)  # at once
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0.01)
        assert not await watch.changed("main", "a", 0, 0.01)
        watch.close()
        assert not await watch.changed("main", "a", 0, 30)  # at once

    asyncio.run(run())
