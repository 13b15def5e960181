"""What clients download of a catalogue: conditions, ranges, lives, encodings, and what is made when."""

from __future__ import annotations

import asyncio
import json

import httpx
import msgpack
import pytest
import zstandard

from sluice.digest import Digest
from sluice_channel.address import DAY, View
from sluice_channel.app import create_site_app
from sluice_channel.catalogues.sqlite import SqliteCatalogue
from sluice_channel.entry import Patch, Publish, Yank, canonical
from sluice_channel.exchange.importing import import_directory
from sluice_channel.notices import parse
from sluice_channel.site import open_site
from sluice_channel.views.documents import MAKERS
from sluice_channel.views.library import Form, Library
from sluice_channel.views.views import Views

INDEX = "/main/linux-64/repodata_shards.msgpack.zst"
REPODATA = "/main/linux-64/repodata.json"
IMMUTABLE = "public, max-age=31536000, immutable"


@pytest.fixture
def site(tmp_path, channel):
    opened = open_site(tmp_path / "site", create=True)
    import_directory(opened, channel, "main")
    yield opened
    opened.close()


@pytest.fixture
def app(site):
    return create_site_app(site)


def ask(app, path, method="GET", **headers):
    async def road():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://channel.test") as client:
            client.headers.pop("accept-encoding")
            spelled = {name.replace("_", "-"): value for name, value in headers.items()}
            return await client.request(method, path, headers=spelled)

    return asyncio.run(road())


def unpack(content):
    return msgpack.unpackb(zstandard.ZstdDecompressor().decompress(content))


def yank(site, filename="native-0.1-h1_0.conda", subdir="linux-64"):
    site.catalogue.change("main", [Yank(subdir, filename, "bad")], now=site.now())


ALL = [
    INDEX,
    REPODATA,
    f"{REPODATA}.zst",
    f"{REPODATA}.bz2",
    "/main/linux-64/repodata_from_packages.json",
    "/main/linux-64/run_exports.json",
    "/main/linux-64/run_exports.json.zst",
    "/main/linux-64/patch_instructions.json",
    "/main/channeldata.json",
    "/main/rss.xml",
    "/main/notices.json",
]


@pytest.mark.parametrize("path", ALL)
def test_conditions_ranges_and_head(app, path):
    whole = ask(app, path)
    assert whole.status_code == 200
    tag = whole.headers["etag"]
    assert tag.startswith('"')
    assert whole.headers["cache-control"] == "no-cache"
    same = ask(app, path, if_none_match=f'"other", {tag}')
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    head = ask(app, path, "HEAD")
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", tag)
    assert head.headers["content-length"] == str(len(whole.content))
    part = ask(app, path, range="bytes=2-4")
    assert (part.status_code, part.content) == (206, whole.content[2:5])
    assert part.headers["content-range"] == f"bytes 2-4/{len(whole.content)}"
    assert ask(app, path, range="bytes=2-4", if_range='"other"').status_code == 200
    assert ask(app, path, range="bytes=99999999-").status_code == 416
    assert ask(app, path, if_match='"other"').status_code == 412


@pytest.mark.parametrize("path", [path for path in ALL if "notices" not in path])
def test_what_is_below_a_generation_never_changes(app, site, path):
    pinned = path.replace("/main/", "/main/@1/")
    before = ask(app, pinned)
    assert before.headers["cache-control"] == IMMUTABLE
    yank(site)
    after = ask(app, pinned)
    assert (after.content, after.headers["etag"]) == (before.content, before.headers["etag"])
    assert ask(app, path.replace("/main/", "/main/@9/")).status_code == 404


def test_a_generation_keeps_its_patches(app, site):
    patch = Patch.of("linux-64", "native-0.1-h1_0.conda", {"depends": ["patched"]})
    site.catalogue.change("main", [patch], now=site.now())
    site.catalogue.change("main", [Patch.of(*patch.key, None)], now=site.now())

    def depends(at):
        return ask(app, f"/main{at}/linux-64/repodata.json").json()["packages.conda"][patch.filename][
            "depends"
        ]

    assert [depends(at) for at in ("/@1", "/@2", "/@3", "")] == [[], ["patched"], [], []]


@pytest.mark.parametrize("path", [path for path in ALL if "notices" not in path])
def test_a_publish_changes_the_tag(app, site, path):
    before = ask(app, path)
    yank(site)
    after = ask(app, path, if_none_match=before.headers["etag"])
    assert after.status_code == 200
    assert after.headers["etag"] != before.headers["etag"]


def test_another_subdir_is_not_touched_by_a_publish(app, site):
    before = ask(app, INDEX.replace("linux-64", "noarch"))
    yank(site)
    same = ask(app, INDEX.replace("linux-64", "noarch"), if_none_match=before.headers["etag"])
    assert same.status_code == 304


def test_conditions_and_head_make_nothing(app, site, monkeypatch):
    tags = {path: ask(app, path).headers["etag"] for path in ALL}
    documents = site.scratch / "documents"
    for path in documents.glob("*/*"):
        path.unlink()

    def refuse(*_):
        raise AssertionError("a document was made")

    monkeypatch.setattr(Library, "write", refuse)
    for path, tag in tags.items():
        assert ask(app, path, if_none_match=tag).status_code == 304
    head = ask(app, f"{REPODATA}.bz2", "HEAD")
    assert head.status_code == 200
    assert "content-length" not in head.headers


def test_encodings_are_negotiated(app):
    plain = ask(app, REPODATA)
    assert plain.headers["vary"] == "Accept-Encoding"
    assert "content-encoding" not in plain.headers
    packed = ask(app, REPODATA, accept_encoding="gzip, zstd")
    assert packed.content == plain.content  # httpx has unpacked it
    assert packed.headers["content-encoding"] == "zstd"
    tags = {plain.headers["etag"], packed.headers["etag"], ask(app, f"{REPODATA}.zst").headers["etag"]}
    assert len(tags) == 3
    zipped = ask(app, REPODATA, accept_encoding="gzip;q=1.0, zstd;q=0.5")
    assert zipped.headers["content-encoding"] == "gzip"
    assert zipped.content == plain.content
    assert ask(app, REPODATA, accept_encoding="gzip;q=0, *;q=0").headers.get("content-encoding") is None


def test_shards_and_packages_are_immutable_files(app, site):
    digests = unpack(ask(app, INDEX).content)["shards"]
    shard = ask(app, f"/main/linux-64/{digests['native'].hex()}.msgpack.zst")
    assert shard.headers["cache-control"] == IMMUTABLE
    assert Digest.of(shard.content).hex == digests["native"].hex()
    assert shard.headers["etag"] == f'"{digests["native"].hex()}"'
    assert ask(app, f"/main/linux-64/{'0' * 64}.msgpack.zst").status_code == 404
    assert ask(app, f"/main/noarch/{digests['native'].hex()}.msgpack.zst").status_code == 404
    path = "/main/linux-64/native-0.1-h1_0.conda"
    package = ask(app, path)
    assert package.headers["cache-control"] == IMMUTABLE
    assert package.headers["etag"] == f'"{Digest.of(package.content)}"'
    assert ask(app, path, if_none_match=package.headers["etag"]).status_code == 304
    assert ask(app, path, range="bytes=-5").content == package.content[-5:]
    head = ask(app, path, "HEAD")
    assert (head.content, head.headers["content-length"]) == (b"", str(len(package.content)))
    yank(site)
    assert ask(app, path).content == package.content
    assert unpack(ask(app, INDEX).content)["shards"]["native"] != digests["native"]
    old = ask(app, f"/main/linux-64/{digests['native'].hex()}.msgpack.zst")
    assert old.content == shard.content


def test_a_proxy_is_told_where_the_file_lies(site):
    app = create_site_app(site, accel_prefix="/_blobs/")
    path = "/main/linux-64/native-0.1-h1_0.conda"
    answer = ask(app, path, range="bytes=0-3")
    digest = answer.headers["etag"].strip('"')
    assert answer.headers["x-accel-redirect"] == f"/_blobs/{digest[:2]}/{digest}"
    assert answer.content == b""
    assert answer.headers["cache-control"] == IMMUTABLE
    assert ask(app, path, if_none_match=f'"{digest}"').status_code == 304
    resumed = ask(app, path, range="bytes=0-3", if_range=f'"{digest}"')
    assert (resumed.status_code, len(resumed.content)) == (206, 4)
    assert "x-accel-redirect" not in resumed.headers


def test_what_is_no_file_of_a_channel_is_not_there(app):
    for path in (
        "/main/linux-64/current_repodata.json",
        "/main/linux-64/repodata.json.gz",
        "/main/nowhere/repodata.json",
        "/main/linux-64/..%2f..%2fcatalogue.sqlite",
        "/main/linux-64/absent-1-0.conda",
        "/other/linux-64/repodata.json",
    ):
        answer = ask(app, path)
        assert (answer.status_code, list(answer.json())) == (404, ["error"]), path


def test_an_empty_platform_has_valid_documents(app):
    assert ask(app, "/main/win-64/repodata.json").json() == {
        "info": {"subdir": "win-64"},
        "packages": {},
        "packages.conda": {},
        "removed": [],
        "repodata_version": 1,
    }
    index = unpack(ask(app, "/main/win-64/repodata_shards.msgpack.zst").content)
    assert (index["shards"], index["info"]["subdir"]) == ({}, "win-64")


def test_a_private_channel_is_not_there_for_strangers(app, site):
    site.catalogue.set_private("main", private=True)
    shard = site.catalogue.shards("main", "linux-64")["native"]
    paths = [*ALL, "/main/linux-64/native-0.1-h1_0.conda", f"/main/linux-64/{shard}.msgpack.zst"]
    for path in paths:
        for below in ("/main/", "/main/@1/", "/main/@7d/"):
            assert ask(app, path.replace("/main/", below)).status_code == 404, path


def test_notices(app, site):
    notice = {"id": "1", "message": "Moved", "level": "info", "created_at": "2026-11-21T00:00:00+00:00"}
    before = ask(app, "/main/notices.json")
    assert before.json() == {"notices": []}
    site.catalogue.set_notices("main", parse(json.dumps({"notices": [notice]})))
    after = ask(app, "/main/notices.json", if_none_match=before.headers["etag"])
    assert after.json() == {"notices": [notice]}
    assert ask(app, "/main/@1/notices.json").headers["cache-control"] == "no-cache"


def test_many_who_ask_at_once_cause_one_making(site, monkeypatch):
    app = create_site_app(site)
    made = []
    entries = site.catalogue.entries

    def counted(*arguments):
        made.append(arguments)
        return entries(*arguments)

    monkeypatch.setattr(SqliteCatalogue, "entries", lambda _, *arguments: counted(*arguments))

    async def road():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://channel.test") as client:
            paths = [REPODATA, f"{REPODATA}.zst", f"{REPODATA}.bz2"] * 10
            return await asyncio.gather(*(client.get(path) for path in paths))

    answers = asyncio.run(road())
    assert {answer.status_code for answer in answers} == {200}
    assert len(made) == 1


def test_a_documents_successor_takes_its_place(app, site):
    documents = site.scratch / "documents"

    def kept():
        return len([path for path in documents.glob("*/*") if path.is_file()])

    ask(app, REPODATA)
    assert kept() == 2  # as it is, and packed
    for filename in ("native-0.1-h1_0.conda", "old-3.0-0.tar.bz2"):
        yank(site, filename)
        ask(app, REPODATA)
        assert kept() == 2
    ask(app, "/main/@1/linux-64/repodata.json")
    assert kept() == 4


def test_documents_of_old_generations_go_when_there_are_too_many(site):
    from sluice_channel.views.shelf import Shelf

    library = Library(site.catalogue, Shelf(site.scratch / "few", limit=300))
    views = Views(site.catalogue, site.scratch, site.now)
    for number in range(6):
        yank_or_not = Patch.of("linux-64", "native-0.1-h1_0.conda", {"note": number})
        site.catalogue.change("main", [yank_or_not], now=site.now())
        state = views.state(View("main", at=number + 2), "linux-64")
        library.write(state, "repodata.json", Form.ZST)
        assert library.size(state, "repodata.json", Form.ZST)
    sizes = [path.stat().st_size for path in (site.scratch / "few").glob("*/*")]
    assert sum(sizes) <= 300 or len(sizes) == 1


def test_a_later_state_serves_who_asked_for_an_earlier_one(site):
    views = Views(site.catalogue, site.scratch, site.now)
    early = views.state(View("main"), "linux-64")
    yank(site)
    late = views.state(View("main"), "linux-64")
    assert views.shard_index(late)[0] == late
    assert views.shard_index(early)[0] == late
    pinned = views.state(View("main", at=1), "linux-64")
    assert views.shard_index(pinned)[0] == pinned


def test_cooldown_hides_only_what_is_young(site):
    catalogue = site.catalogue
    now = 100 * DAY
    views = Views(catalogue, site.scratch, lambda: now)
    entries = [entry.package for entry in catalogue.entries("main", "noarch")]
    catalogue.create("cool", now=0)
    catalogue.change(
        "cool", [Publish(each) for each in entries if each.filename != entries[-1].filename], now=0
    )
    catalogue.change("cool", [Publish(entries[-1])], now=now - 2 * DAY)
    view = View("cool", days=7)
    state = views.state(view, "noarch")
    shards = unpack(asyncio.run(views.cooled_index(state))[1])["shards"]
    base = unpack(views.shard(view, "noarch", Digest(shards["base"].hex())))
    assert list(base["packages.conda"]) == ["base-1.0-0.conda"]
    app = unpack(views.shard(view, "noarch", Digest(shards["app"].hex())))
    assert list(app["packages.conda"]) == ["app-2.0-0.conda"]
    # Another process, which made nothing yet, finds the same shard.
    other = Views(catalogue, site.scratch, lambda: now)
    assert other.shard(view, "noarch", Digest(shards["base"].hex()))
    assert views.state(view, "noarch") == state
    later = Views(catalogue, site.scratch, lambda: now + 6 * DAY)
    shown = unpack(asyncio.run(later.cooled_index(later.state(view, "noarch")))[1])["shards"]
    assert len(unpack(later.shard(view, "noarch", Digest(shown["base"].hex())))["packages.conda"]) == 2


def test_a_record_that_dates_itself_is_dated_by_the_channel(site):
    (entry,) = catalogue_entry(site, "native-0.1-h1_0.conda")
    from dataclasses import replace

    record = canonical(json.loads(entry.package.record) | {"indexed_timestamp": 5})
    odd = replace(entry, package=replace(entry.package, record=record))

    class Spool(list):
        write = list.append

        def read(self):
            return iter(self)

    for kind in ("repodata.json", "repodata_from_packages.json"):
        text = b"".join(MAKERS[kind]("linux-64", [odd], Spool()))
        assert text.count(b"indexed_timestamp") == 1
        shown = json.loads(text)["packages.conda"][entry.package.filename]
        assert shown["indexed_timestamp"] == entry.indexed_at


def catalogue_entry(site, filename):
    return [each for each in site.catalogue.entries("main", "linux-64") if each.package.filename == filename]


def test_readers_see_whole_generations_while_others_publish(site):
    """Four readers and two publishers in threads: every shard that an index names is there and is what it says."""
    import threading

    views = Views(site.catalogue, site.scratch, site.now)
    filenames = ("native-0.1-h1_0.conda", "old-3.0-0.tar.bz2")
    running, failures = threading.Event(), []
    running.set()

    def publish(filename):
        for number in range(40):
            patch = Patch.of("linux-64", filename, {"note": number})
            site.catalogue.change("main", [patch], now=site.now())

    def read():
        view, last = View("main"), 0
        try:
            while running.is_set():
                state, content = views.shard_index(views.state(view, "linux-64"))
                assert state.touched >= last
                last = state.touched
                for digest in unpack(content)["shards"].values():
                    shard = views.shard(view, "linux-64", Digest(digest.hex()))
                    assert Digest.of(shard).hex == digest.hex()
        except Exception as error:  # noqa: BLE001 - shown below
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(4)]
    publishers = [threading.Thread(target=publish, args=(filename,)) for filename in filenames]
    for thread in (*readers, *publishers):
        thread.start()
    for thread in publishers:
        thread.join()
    running.clear()
    for thread in readers:
        thread.join()
    assert failures == []
    state, content = views.shard_index(views.state(View("main"), "linux-64"))
    assert state.touched == 81
    fresh = Views(site.catalogue, site.scratch, site.now)
    assert fresh.shard_index(state)[1] == content
