"""A server that is killed while clients publish: what it told them is true, and nothing is half there.

`SLUICE_KILLS=200 pytest tests/sluice_channel/test_killed_server.py` takes its time.
"""

import os
import random
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from sluice.digest import Digest
from sluice_channel import publish, shards
from sluice_channel.catalogue import chained
from sluice_channel.client import Address, Client
from sluice_channel.errors import ChannelError
from sluice_channel.history import events
from sluice_channel.site import open_site

KILLS = int(os.environ.get("SLUICE_KILLS", "20"))
CLIENTS = 4
LARGE = 6 << 20  # bytes of every eighth package
pytestmark = pytest.mark.timeout(120 + 12 * KILLS)


@contextmanager
def running(root, port, ready):
    """Start the server; ends it as a power cut would."""
    ready.unlink(missing_ok=True)
    command = [sys.executable, "-m", "sluice_channel", "serve", str(root), "--open"]
    with subprocess.Popen(
        [*command, "--port", str(port), "--ready-file", str(ready)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        try:
            deadline = time.monotonic() + 60
            while not ready.exists():
                assert process.poll() is None, process.stdout.read()
                assert time.monotonic() < deadline
                time.sleep(0.01)
            yield
        finally:
            process.kill()


def free_port():
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Publisher(threading.Thread):
    """A client that publishes one package after the other until it is stopped, and writes down what it was told."""

    def __init__(self, number, url, package, folder, stop):
        super().__init__()
        self.number, self.url, self.package, self.folder, self.stop = number, url, package, folder, stop
        self.abandoned = threading.Event()  # the test has failed: no server will come back
        self.told = {}
        self.retried = 0
        self.failure = None

    def run(self):
        try:
            with Client(Address.parse(self.url), sleep=lambda _: time.sleep(0.05)) as client:
                count = 0
                while not self.stop.is_set():
                    self.publish(client, count)
                    count += 1
        except BaseException as error:  # noqa: BLE001 - shown by the test
            self.failure = error

    def publish(self, client, count):
        content = os.urandom(LARGE if count % 8 == 7 else 600).hex()
        path = self.package(self.folder, f"c{self.number}-{count % 5}", f"{count}", files={"x": content})
        while True:
            try:
                answer = client.publish(path)
            except ChannelError as error:
                if "run it again" not in str(error) or self.abandoned.is_set():
                    raise
                self.retried += 1
                continue
            self.told[path.name] = (Digest.of_file(path), answer.generation)
            path.unlink()
            return


def check(root, told):
    """Look at everything while no server runs; returns the number of generations."""
    site = open_site(root)
    try:
        found = {entry.package.filename: entry for entry in site.catalogue.entries("main", "noarch")}
        for name, (digest, generation) in told.items():
            assert found[name].package.sha256 == digest
            assert found[name].since <= generation
        for entry in found.values():
            path = site.blobs.path(entry.package.sha256)
            assert path.stat().st_size == entry.package.size
            assert Digest.of_file(path) == entry.package.sha256
        before, seen = None, set()
        count = site.catalogue.channel("main").generation
        for number in range(1, count + 1):
            each = site.catalogue.generation("main", number)
            made = events(each)
            text, digest = chained(before, [["publish", e.subdir, e.filename, e.detail] for e in made])
            assert (text, digest) == (each.changes, each.digest)
            before = digest
            seen |= {event.filename for event in made}
        assert seen == set(found)
        names = {entry.package.name for entry in found.values()}
        listed = site.catalogue.shards("main", "noarch")
        assert set(listed) == names
        for name, digest in listed.items():
            assert shards.digest(shards.shard(site.catalogue.family("main", "noarch", name))) == digest
            assert shards.digest(site.catalogue.shard("main", "noarch", digest)) == digest
        return count
    finally:
        site.close()


def test_whatever_was_told_is_there_however_often_the_server_is_killed(package, tmp_path):
    root, ready = tmp_path / "site", tmp_path / "ready"
    site = open_site(root, create=True)
    publish.create(site, "main")
    site.close()
    chance = random.Random(os.environ.get("SLUICE_SEED", "killed"))
    port, stop = free_port(), threading.Event()
    url = f"http://127.0.0.1:{port}/main"
    clients = [Publisher(n, url, package, tmp_path / f"client{n}", stop) for n in range(CLIENTS)]
    generations = 0
    try:
        for kill in range(KILLS):
            with running(root, port, ready):
                if kill == 0:
                    for client in clients:
                        client.start()
                time.sleep(chance.uniform(0.0, 1.2))
            told = {name: each for client in clients for name, each in list(client.told.items())}
            now = check(root, told)
            assert now >= generations
            generations = now
            assert [client.failure for client in clients] == [None] * CLIENTS
        with running(root, port, ready):
            stop.set()
            for client in clients:
                client.join(60)
                assert not client.is_alive()
    finally:
        stop.set()
        for client in clients:
            client.abandoned.set()
            if client.is_alive():
                client.join(60)
    told = {name: each for client in clients for name, each in client.told.items()}
    generations = check(root, told)
    assert generations == len(told)
    print(f"{KILLS} kills, {generations} generations, {sum(c.retried for c in clients)} retries")  # noqa: T201
    site = open_site(root)
    try:
        assert not list(site.blobs.unfinished())
        assert len(list(site.blobs.digests())) == generations
    finally:
        site.close()


def test_an_upload_goes_on_after_the_server_was_killed(package, tmp_path):
    root, ready, port = tmp_path / "site", tmp_path / "ready", free_port()
    site = open_site(root, create=True)
    publish.create(site, "main")
    site.close()
    path = package(tmp_path, "large", files={"x": os.urandom(LARGE).hex()})
    size = path.stat().st_size
    url = f"http://127.0.0.1:{port}/main"
    import httpx

    where = f"{url.removesuffix('/main')}/api/v1/channels/main/uploads/{Digest.of_file(path)}"
    with running(root, port, ready):
        half = path.read_bytes()[: size // 2]
        assert httpx.patch(where, content=half, headers={"Upload-Offset": "0"}).status_code == 204
    assert check(root, {}) == 0
    with running(root, port, ready):
        assert httpx.head(where).headers["Upload-Offset"] == str(len(half))
        told = []
        with Client(Address.parse(url)) as client:
            answer = client.publish(path, told.append)
        assert told == [len(half), size - len(half)]
    assert check(root, {path.name: (Digest.of_file(path), answer.generation)}) == 1
