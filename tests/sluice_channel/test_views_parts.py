"""The pure parts of what clients download, over random inputs."""

from __future__ import annotations

import asyncio
import json
import threading

import msgpack
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from sluice.digest import Digest
from sluice_channel.entry import Entry, Package, Patch, Unyank, Yank, canonical, decide
from sluice_channel.errors import InstructionsError, NoticeError
from sluice_channel.instructions import REASON, Instructions
from sluice_channel.notices import document, parse
from sluice_channel.routes.negotiation import Encoding, negotiate
from sluice_channel.views.channeldata import feed, recent
from sluice_channel.views.documents import MAKERS
from sluice_channel.views.flights import Flights
from sluice_channel.views.live import Recent
from sluice_channel.views.shard_index import ShardIndex

NAMES = st.text("abz_-.", min_size=1, max_size=40)
DIGESTS = st.binary(min_size=32, max_size=32).map(lambda raw: Digest(raw.hex()))
MAPS = st.dictionaries(NAMES, DIGESTS, max_size=20)


class Spool(list):
    write = list.append

    def read(self):
        return iter(self)


def entry(filename, *, patch=None, yanked=None, **record):
    name, version, build = filename.removesuffix(".conda").removesuffix(".tar.bz2").rsplit("-", 2)
    record = {"name": name, "version": version, "build": build, "depends": []} | record
    package = Package(Digest.of(filename.encode()), 1, "noarch", filename, canonical(record))
    return Entry(package, 5, 1, None, yanked, canonical(patch) if patch else None)


@given(MAPS, st.lists(st.tuples(MAPS, st.lists(NAMES, max_size=3)), max_size=5))
def test_a_shard_index_brought_up_to_date_equals_one_made_anew(start, steps):
    index, known = ShardIndex("noarch", start), dict(start)
    for digests, gone in steps:
        index.update(digests)
        index.remove(gone)
        known |= digests
        for name in gone:
            known.pop(name, None)
        assert index.pack("x") == ShardIndex("noarch", known).pack("x")
    content = msgpack.unpackb(zstandard.ZstdDecompressor().decompress(index.pack("2026-11-21T00:00:00Z")))
    assert content == {
        "version": 1,
        "info": {
            "base_url": "",
            "shards_base_url": "",
            "created_at": "2026-11-21T00:00:00Z",
            "subdir": "noarch",
        },
        "shards": {name: bytes.fromhex(digest.hex) for name, digest in sorted(known.items())},
    }
    assert list(content["shards"]) == sorted(known)


def test_a_large_change_of_a_shard_index():
    before = {f"n{number}": Digest.of(b"%d" % number) for number in range(2000)}
    changed = {f"n{number}": Digest.of(b"new %d" % number) for number in range(1000, 3000)}
    index = ShardIndex("noarch", before)
    index.update(changed)
    assert index.pack("x") == ShardIndex("noarch", before | changed).pack("x")
    assert index.size == 3000


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, Encoding.IDENTITY),
        ("", Encoding.IDENTITY),
        ("gzip, deflate, br, zstd", Encoding.ZSTD),
        ("gzip, deflate, br", Encoding.GZIP),
        ("GZIP;Q=0.5", Encoding.GZIP),
        ("zstd;q=0, gzip", Encoding.GZIP),
        ("*", Encoding.ZSTD),
        ("*;q=0", Encoding.IDENTITY),
        ("gzip;q=0.1, identity", Encoding.IDENTITY),
        ("zstd;q=bad, gzip;q=1.2.3", Encoding.IDENTITY),
    ],
)
def test_negotiation(accept, chosen):
    assert negotiate(accept) is chosen


@given(st.text(max_size=2000))
def test_negotiation_takes_anything(accept):
    assert negotiate(accept) in Encoding


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from([".conda", ".tar.bz2"])), unique=True))
def test_documents_are_json_in_any_mixture(chosen):
    entries = [
        entry(f"{name}-1-0{extension}", yanked="bad" if name == "c" else None)
        for name, extension in sorted(chosen)
    ]
    for kind, make in MAKERS.items():
        found = json.loads(b"".join(make("noarch", entries, Spool())))
        if kind == "repodata.json":
            shown = {each.package.filename for each in entries if each.yanked is None}
            assert found["packages"].keys() | found["packages.conda"].keys() == shown
            assert found["removed"] == sorted({each.package.filename for each in entries} - shown)
        assert all(name.endswith(".tar.bz2") for name in found["packages"])
        assert all(name.endswith(".conda") for name in found["packages.conda"])


def instructions(**fields):
    return Instructions.parse(json.dumps({"patch_instructions_version": 1} | fields))


def test_instructions_say_all_that_is_patched():
    plain, patched = entry("a-1-0.conda"), entry("b-1-0.conda", patch={"license": "X"})
    hidden, other = entry("c-1-0.conda", yanked=REASON), entry("d-1-0.conda", yanked="a leak")
    found = instructions(packages={"a-1-0.tar.bz2": {"depends": ["x"]}}, remove=["b-1-0.tar.bz2"])
    assert list(found.changes([plain, patched, hidden, other])) == [
        Patch("noarch", "a-1-0.conda", '{"depends":["x"]}'),
        Yank("noarch", "b-1-0.conda", REASON),
        Unyank("noarch", "c-1-0.conda"),
    ]
    assert list(instructions().changes([patched])) == [Patch("noarch", "b-1-0.conda", None)]


def test_a_package_patched_and_shown_again_takes_two_steps():
    found = instructions(**{"packages.conda": {"c-1-0.conda": {"license": "Y"}}})
    now = entry("c-1-0.conda", yanked=REASON)
    steps = []
    while changes := list(found.changes([now])):
        steps += changes
        now = decide(now, changes[0], 9)
    assert steps == [Patch("noarch", "c-1-0.conda", '{"license":"Y"}'), Unyank("noarch", "c-1-0.conda")]


@given(
    st.dictionaries(
        st.sampled_from(["depends", "license", "note"]),
        st.none() | st.text(max_size=3) | st.lists(st.text(max_size=2), max_size=2),
    )
)
def test_instructions_applied_twice_change_nothing(fields):
    before = entry("a-1-0.conda", license="MIT")
    found = instructions(**{"packages.conda": {"a-1-0.conda": fields}})
    changes = list(found.changes([before]))
    after = decide(before, changes[0], 9) if changes else before
    assert list(found.changes([after])) == []
    shown = after.record()
    for key, value in fields.items():
        assert shown.get(key) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "no JSON"),
        ("[]", "no object"),
        ('{"patch_instructions_version": 2}', "version 2"),
        ('{"packages": []}', "'packages'"),
        ('{"packages": {"a": 1}}', "'packages'"),
        ('{"remove": [1]}', "'remove'"),
    ],
)
def test_what_are_no_instructions(text, said):
    with pytest.raises(InstructionsError, match=said):
        Instructions.parse(text)


def test_instructions_leave_bytes_and_names_alone():
    found = instructions(**{"packages.conda": {"a-1-0.conda": {"sha256": "0" * 64}}})
    with pytest.raises(InstructionsError, match="must not change sha256"):
        list(found.changes([entry("a-1-0.conda")]))


NOTICE = {"id": "1", "message": "Hello", "level": "info", "created_at": "2026-11-21T00:00:00+00:00"}


def test_notices_are_kept_as_they_were_set():
    text = json.dumps({"notices": [NOTICE | {"interval": 60, "expired_at": "2027-01-01"}]})
    assert json.loads(document(parse(text))) == json.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        "nothing",
        "[]",
        '{"notices": {}}',
        '{"notices": [1]}',
        *(
            json.dumps({"notices": [NOTICE | wrong]})
            for wrong in (
                {"id": ""},
                {"message": 5},
                {"level": "loud"},
                {"created_at": "soon"},
                {"created_at": None},
                {"interval": -1},
                {"interval": True},
                {"other": 1},
            )
        ),
        json.dumps({"notices": [NOTICE, NOTICE]}),
    ],
)
def test_what_are_no_notices(text):
    with pytest.raises(NoticeError):
        parse(text)


@given(st.lists(st.tuples(NAMES, st.integers(0, 5)), max_size=500))
def test_the_feed_is_of_the_newest(projects):
    items = [(name, {"timestamp": stamp}) for name, stamp in projects]
    found = recent(items)
    assert len(found) == min(len(items), 100)
    stamps = [project["timestamp"] for _, project in found]
    assert stamps == sorted(stamps, reverse=True)
    assert sorted(stamps) == sorted(stamp for _, stamp in projects)[-100:]


@given(st.text(max_size=50), st.integers(-5, 10**15))
def test_the_feed_is_xml_whatever_packages_say(text, stamp):
    import xml.etree.ElementTree as ET

    project = {"version": text, "summary": text, "home": text, "timestamp": stamp, "subdirs": [text]}
    ET.fromstring(feed("main", f"http://x/{text}", 0, [("a", project)]))


def test_the_least_used_value_goes_first():
    kept = Recent(3, lambda value: value)
    for key in "ab":
        kept.put(key, 1)
    kept.get("a")
    kept.put("c", 2)
    assert [kept.get(key) for key in "abc"] == [1, None, 2]
    assert kept.put("a", 3) == 1  # who was first


def test_flights_make_the_latest_state_for_all_who_wait():
    flights, begun, gate, made = Flights(), threading.Event(), threading.Event(), []

    def work(number):
        def run():
            begun.set()
            gate.wait(10)
            made.append(number)
            return number

        return run

    async def road():
        first = asyncio.create_task(flights.make("slot", (1,), work(1)))
        await asyncio.to_thread(begun.wait, 10)
        others = [asyncio.create_task(flights.make("slot", (number,), work(number))) for number in (3, 2, 1)]
        await asyncio.sleep(0)
        gate.set()
        return await asyncio.gather(first, *others)

    assert asyncio.run(road()) == [1, 3, 3, 1]
    assert made == [1, 3]


def test_a_flight_that_fails_fails_for_all_and_is_tried_again():
    flights = Flights()

    def fail():
        raise ValueError("no")

    async def road():
        with pytest.raises(ValueError, match="no"):
            await flights.make("slot", (1,), fail)
        return await flights.make("slot", (1,), lambda: 7)

    assert asyncio.run(road()) == 7
