import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from sluice.digest import Digest
from sluice.progress import Silent
from sluice.sources import DebianSource, Source, SourceError, Store, Url, WrongDigestError, store, url

DATA = bytes(range(256)) * 5000


def pinned(*ways, data=DATA):
    return Source("demo", Digest.of(data), "demo-1.0.tgz", ways)


def remains(root):
    return sorted(path.name for path in root.rglob("*") if path.is_file() and path.suffix != ".lock")


def test_a_source_is_kept_under_its_digest_and_needs_no_network_afterwards(tmp_path, web):
    web.files["demo"] = DATA
    source = pinned(Url(web.url("demo")))
    path = Store(tmp_path).fetch(source)
    assert path.relative_to(tmp_path).parts == (
        "sha256",
        source.sha256.hex[:2],
        source.sha256.hex,
        "demo-1.0.tgz",
    )
    assert path.read_bytes() == DATA
    assert remains(tmp_path) == ["demo-1.0.tgz"]
    nowhere = pinned(Url("http://127.0.0.1:1/"), DebianSource("nonsuch"))
    assert Store(tmp_path).fetch(nowhere) == path
    assert web.asked == ["demo"]


def test_ways_are_tried_in_order(tmp_path, web):
    web.files |= {"second": web.url("moved"), "moved": DATA}
    Store(tmp_path).fetch(pinned(Url(web.url("first")), Url(web.url("second")), Url(web.url("third"))))
    assert web.asked == ["first", "second", "moved"]


def test_a_wrong_file_is_an_error_with_both_digests_and_nothing_of_it_stays(tmp_path, web):
    web.files["demo"] = b"something else"
    source = pinned(Url(web.url("demo")))
    with pytest.raises(WrongDigestError) as caught:
        Store(tmp_path).fetch(source)
    message = str(caught.value)
    assert source.sha256.hex in message
    assert Digest.of(b"something else").hex in message
    assert web.url("demo") in message
    assert "\n" not in message
    assert remains(tmp_path) == []


def test_every_way_that_failed_is_named_in_one_line(tmp_path, web):
    with pytest.raises(SourceError) as caught:
        Store(tmp_path).fetch(pinned(Url(web.url("a")), Url("http://127.0.0.1:1/b")))
    message = str(caught.value)
    assert f"{web.url('a')}: HTTP 404" in message
    assert "http://127.0.0.1:1/b" in message
    assert "\n" not in message
    assert remains(tmp_path) == []


def test_a_damaged_file_in_the_store_is_fetched_again(tmp_path, web):
    web.files["demo"] = DATA
    source = pinned(Url(web.url("demo")))
    path = Store(tmp_path).fetch(source)
    path.write_bytes(DATA[:-1])
    assert Store(tmp_path).fetch(source).read_bytes() == DATA
    assert len(web.asked) == 2


def test_a_file_larger_than_allowed_is_refused(tmp_path, web):
    web.files["demo"] = DATA
    with Silent().step("x") as step, pytest.raises(SourceError, match="larger than 1000 bytes"):
        url.download(Url(web.url("demo")), tmp_path, step, threading.Event(), max_bytes=1000)


def test_concurrent_fetchers_fetch_once(tmp_path, web):
    web.files["demo"] = DATA
    source = pinned(Url(web.url("demo")))
    with ThreadPoolExecutor(8) as pool:
        paths = set(pool.map(lambda _: Store(tmp_path).fetch(source), range(16)))
    assert len(paths) == 1
    assert web.asked == ["demo"]


def test_what_a_killed_fetch_left_is_removed_by_the_next(tmp_path, web):
    web.files["demo"] = DATA
    source = pinned(Url(web.url("demo")))
    left = tmp_path / "staging" / f"{source.sha256}.abc"
    left.mkdir(parents=True)
    (left / "download").write_bytes(DATA[:10])
    Store(tmp_path).fetch(source)
    assert remains(tmp_path) == ["demo-1.0.tgz"]


def test_many_sources_come_in_the_order_asked_for(tmp_path, web):
    sources = []
    for number in range(20):
        data = str(number).encode()
        web.files[f"{number}"] = data
        sources.append(pinned(Url(web.url(f"{number}")), data=data))
    paths = Store(tmp_path).fetch_all(sources)
    assert [path.read_bytes() for path in paths] == [str(number).encode() for number in range(20)]


def test_one_failure_among_many_is_raised(tmp_path, web):
    web.files["good"] = DATA
    with pytest.raises(SourceError, match="bad"):
        Store(tmp_path).fetch_all([pinned(Url(web.url("good"))), pinned(Url(web.url("bad")), data=b"x")])


def test_the_cache_is_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("SLUICE_CACHE", str(tmp_path / "own"))
    assert Store.default().root == tmp_path / "own" / "sources"
    monkeypatch.delenv("SLUICE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert store.cache_root() == tmp_path / "xdg" / "sluice"


def test_a_store_that_cannot_be_written_leaves_nothing(tmp_path, web, monkeypatch):
    web.files["demo"] = DATA

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        Store(tmp_path).fetch(pinned(Url(web.url("demo"))))
    assert remains(tmp_path) == []
