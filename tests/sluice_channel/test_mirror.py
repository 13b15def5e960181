"""Mirrors, in front of a folder and in front of a server, on real packages."""

import asyncio
import json
import shutil
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import rattler

from sluice.testing import File, TinyPackage
from sluice_channel.catalogues.memory import MemoryCatalogue
from sluice_channel.entry import Yank
from sluice_channel.errors import MirrorError
from sluice_channel.mirror.follow import Follower
from sluice_channel.mirror.memory import MemoryMirrors
from sluice_channel.mirror.plan import GONE
from sluice_channel.mirror.rules import Rules
from sluice_channel.stores.blobs import DiskBlobs

SHARDS = "repodata_shards.msgpack.zst"


class Clock:
    def __init__(self):
        self.ms = 1_000_000

    def __call__(self):
        return self.ms

    def pass_seconds(self, seconds):
        self.ms += seconds * 1000


def index(channel, *, shards=True):
    asyncio.run(rattler.index.index_fs(channel, write_shards=shards))
    if not shards:
        for path in channel.glob(f"*/{SHARDS}"):
            path.unlink()


def add(channel, name, version="1.0", subdir="noarch"):
    content = File(f"{name} {version}".encode())
    return TinyPackage(name, version, files={f"share/{name}": content}, subdir=subdir).write(channel)


@pytest.fixture(params=["shards", "monolith"])
def shards(request):
    return request.param == "shards"


@pytest.fixture
def upstream(tmp_path, shards):
    channel = tmp_path / "upstream"
    (channel / "noarch").mkdir(parents=True)
    (channel / "linux-64").mkdir()
    for name in ("numpy", "python", "pyx"):
        add(channel, name)
    index(channel, shards=shards)
    return channel


@pytest.fixture
def follower(tmp_path):
    clock = Clock()
    catalogue = MemoryCatalogue()
    catalogue.create("forge", now=0)
    return Follower(catalogue, DiskBlobs(tmp_path / "site"), MemoryMirrors(), clock)


@contextmanager
def served(folder):
    """Serve a folder as any web server would."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def names(follower, at=None):
    entries = follower.catalogue.entries("forge", "noarch", at)
    return [entry.package.filename for entry in entries if entry.yanked is None]


def entry(follower, filename="numpy-1.0-0.conda"):
    return follower.catalogue.entry("forge", "noarch", filename)


def test_the_index_of_a_folder_is_taken_and_its_files_when_asked_for(follower, upstream):
    follower.store.follow("forge", Rules(upstream.as_uri()))
    assert follower.freshen("forge").problem == ""
    assert names(follower) == ["numpy-1.0-0.conda", "python-1.0-0.conda", "pyx-1.0-0.conda"]
    found = entry(follower)
    assert not follower.blobs.has(found.package.sha256)
    follower.fetch("forge", found)
    original = upstream / "noarch/numpy-1.0-0.conda"
    assert follower.blobs.path(found.package.sha256).read_bytes() == original.read_bytes()
    record = json.loads((upstream / "noarch/repodata.json").read_text())["packages.conda"][
        "numpy-1.0-0.conda"
    ]
    shown = found.record()
    shown.pop("indexed_timestamp")
    record.pop("indexed_timestamp", None)
    assert shown == record


def test_over_http_it_is_the_same(follower, upstream):
    with served(upstream) as url:
        follower.store.follow("forge", Rules(url))
        follower.freshen("forge")
        follower.fetch("forge", entry(follower))
    assert len(names(follower)) == 3
    follower.fetch("forge", entry(follower))  # kept: upstream is not needed


def test_only_what_the_rules_take_is_listed(follower, upstream):
    follower.store.follow("forge", Rules(upstream.as_uri(), allow=("py*",), deny=("pyx",)))
    follower.freshen("forge")
    assert names(follower) == ["python-1.0-0.conda"]


def test_other_rules_are_followed_at_once(follower, upstream):
    follower.store.follow("forge", Rules(upstream.as_uri()))
    follower.freshen("forge")
    follower.store.follow("forge", Rules(upstream.as_uri(), allow=("numpy",)))
    follower.freshen("forge")
    assert names(follower) == ["numpy-1.0-0.conda"]
    assert len(names(follower, 1)) == 3


def test_upstream_is_asked_again_after_a_while(follower, upstream, shards):
    follower.store.follow("forge", Rules(upstream.as_uri(), fresh=60))
    follower.freshen("forge")
    add(upstream, "scipy")
    index(upstream, shards=shards)
    follower.now.pass_seconds(59)
    follower.freshen("forge")
    assert "scipy-1.0-0.conda" not in names(follower)
    follower.now.pass_seconds(2)
    assert follower.freshen("forge").age == 0
    assert "scipy-1.0-0.conda" in names(follower)
    before = follower.catalogue.channel("forge").generation
    follower.now.pass_seconds(61)
    follower.freshen("forge")
    assert follower.catalogue.channel("forge").generation == before


def test_what_upstream_takes_away_is_yanked_and_comes_back(follower, upstream, shards):
    follower.store.follow("forge", Rules(upstream.as_uri(), fresh=0))
    follower.freshen("forge")
    path = upstream / "noarch/pyx-1.0-0.conda"
    kept = path.rename(upstream / "aside")
    index(upstream, shards=shards)
    follower.freshen("forge")
    assert entry(follower, "pyx-1.0-0.conda").yanked == GONE
    kept.rename(path)
    index(upstream, shards=shards)
    follower.freshen("forge")
    assert entry(follower, "pyx-1.0-0.conda").yanked is None


def test_what_was_yanked_here_stays_so(follower, upstream):
    follower.store.follow("forge", Rules(upstream.as_uri(), fresh=0))
    follower.freshen("forge")
    follower.catalogue.change("forge", [Yank("noarch", "pyx-1.0-0.conda", "we know better")], now=1)
    follower.freshen("forge", force=True)
    assert entry(follower, "pyx-1.0-0.conda").yanked == "we know better"


def test_bytes_that_upstream_changed_are_not_taken(follower, upstream, shards, caplog):
    follower.store.follow("forge", Rules(upstream.as_uri(), fresh=0))
    follower.freshen("forge")
    before = entry(follower)
    (upstream / "noarch/numpy-1.0-0.conda").unlink()
    TinyPackage("numpy", files={"share/numpy": File(b"something else")}).write(upstream)
    shutil.rmtree(upstream / "noarch/.cache", ignore_errors=True)
    asyncio.run(rattler.index.index_fs(upstream, write_shards=shards, force=True))
    follower.freshen("forge")
    assert entry(follower) == before
    assert "upstream changed its bytes" in caplog.text
    with pytest.raises(MirrorError, match=r"not what its index says|larger"):
        follower.fetch("forge", before)
    assert not follower.blobs.has(before.package.sha256)


@pytest.mark.parametrize("shards", ["monolith"], indirect=True)  # shards cannot be edited by hand
def test_a_record_that_upstream_changes_is_patched(follower, upstream):
    follower.store.follow("forge", Rules(upstream.as_uri(), fresh=0))
    follower.freshen("forge")
    for path in upstream.glob("noarch/repodata.json.*"):
        path.unlink()
    document = json.loads((upstream / "noarch/repodata.json").read_text())
    document["packages.conda"]["numpy-1.0-0.conda"]["depends"] = ["python <4"]
    (upstream / "noarch/repodata.json").write_text(json.dumps(document))
    follower.freshen("forge")
    assert entry(follower).record()["depends"] == ["python <4"]
    assert follower.catalogue.entry("forge", "noarch", "numpy-1.0-0.conda", 1).record()["depends"] == []


def test_an_upstream_that_is_down_leaves_an_index_that_says_its_age(follower, upstream):
    with served(upstream) as url:
        follower.store.follow("forge", Rules(url, fresh=10, stale=100))
        follower.freshen("forge")
    follower.now.pass_seconds(50)
    freshness = follower.freshen("forge")
    assert freshness.age == 50
    assert "cannot be reached" in freshness.problem
    assert len(names(follower)) == 3
    follower.now.pass_seconds(51)
    with pytest.raises(MirrorError, match="too old"):
        follower.freshen("forge")


def test_an_upstream_that_never_answered_is_no_empty_channel(follower, tmp_path):
    follower.store.follow("forge", Rules((tmp_path / "nothing").as_uri()))
    with pytest.raises(MirrorError, match="there is no index"):
        follower.freshen("forge")


def test_an_ordinary_channel_asks_nobody(follower):
    assert follower.freshen("forge") is None


@pytest.mark.parametrize(
    "content", [b"", b"\x28\xb5\x2f\xfd", b"{}", b"[" * 100_000, json.dumps({"packages": 7}).encode()]
)
def test_an_index_that_is_none_is_refused_whole(follower, upstream, content):
    follower.store.follow("forge", Rules(upstream.as_uri(), fresh=0))
    follower.freshen("forge")
    for name in (SHARDS, "repodata.json.zst", "repodata.json.bz2", "repodata.json"):
        if (upstream / "noarch" / name).exists():
            (upstream / "noarch" / name).write_bytes(content)
    assert follower.freshen("forge").problem
    assert len(names(follower)) == 3


@pytest.mark.parametrize("shards", ["monolith"], indirect=True)
def test_an_index_that_became_empty_yanks_everything(follower, upstream):
    follower.store.follow("forge", Rules(upstream.as_uri(), fresh=0))
    follower.freshen("forge")
    for path in upstream.glob("noarch/repodata.json.*"):
        path.unlink()
    (upstream / "noarch/repodata.json").write_text("{}")
    assert follower.freshen("forge").problem == ""
    assert names(follower) == []
    assert len(names(follower, 1)) == 3


@pytest.mark.parametrize("shards", ["monolith"], indirect=True)  # of an old indexer
def test_a_record_without_a_digest_is_not_offered(follower, upstream):
    for path in upstream.glob("noarch/repodata.json.*"):
        path.unlink()
    document = json.loads((upstream / "noarch/repodata.json").read_text())
    del document["packages.conda"]["numpy-1.0-0.conda"]["sha256"]
    document["packages.conda"]["evil-1-0.conda"] = document["packages.conda"]["python-1.0-0.conda"]
    document["packages.conda"]["../x-1-0.conda"] = document["packages.conda"]["python-1.0-0.conda"]
    (upstream / "noarch/repodata.json").write_text(json.dumps(document))
    follower.store.follow("forge", Rules(upstream.as_uri()))
    follower.freshen("forge")
    assert names(follower) == ["python-1.0-0.conda", "pyx-1.0-0.conda"]


def test_many_who_ask_at_once_ask_upstream_once(follower, upstream):
    asked = []
    opened = follower.open_upstream

    def counting(rules):
        asked.append(rules)
        return opened(rules)

    follower.open_upstream = counting
    follower.store.follow("forge", Rules(upstream.as_uri()))
    threads = [threading.Thread(target=follower.freshen, args=("forge",)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(asked) == 1


@pytest.mark.parametrize(
    "values",
    [
        {"url": "ftp://x/y"},
        {"url": "https://x/y?z"},
        {"url": "https://x/y", "subdirs": ("dos-16",)},
        {"url": "https://x/y", "allow": ("a b",)},
        {"url": "https://x/y", "fresh": 10, "stale": 5},
    ],
)
def test_rules_that_make_no_sense_are_refused(values):
    with pytest.raises(MirrorError):
        Rules(**values)
