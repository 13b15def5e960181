"""What every Catalogue does, run on each."""

import json

import msgpack
import pytest
import zstandard

from sluice.digest import Digest
from sluice.package import PackageId
from sluice_channel.catalogue import Totals, chained
from sluice_channel.catalogues.memory import MemoryCatalogue
from sluice_channel.catalogues.sqlite import SqliteCatalogue
from sluice_channel.entry import Package, Patch, Publish, Remove, Unyank, Yank, canonical
from sluice_channel.errors import ConflictError, NoChannelError, NoGenerationError, NoPackageError


def package(filename, subdir="linux-64", *, salt="", depends=(), summary=""):
    identifier = PackageId.parse(filename)
    sha256 = Digest.of(f"{subdir}/{filename}{salt}".encode())
    record = {
        "name": identifier.name,
        "version": identifier.version,
        "build": identifier.build,
        "build_number": 0,
        "depends": list(depends),
        "sha256": sha256.hex,
        "md5": "0" * 32,
        "size": 9,
        "subdir": subdir,
    }
    return Package(sha256, 9, subdir, filename, canonical(record), "{}", canonical({"summary": summary}))


A1_KEY = ("linux-64", "a-1-0.conda")
A1, A2, B = (package(name) for name in ("a-1-0.conda", "a-2-0.conda", "b-1-0.tar.bz2"))


@pytest.fixture(params=["memory", "sqlite"])
def catalogue(request, tmp_path):
    made = MemoryCatalogue() if request.param == "memory" else SqliteCatalogue(tmp_path / "c.sqlite")
    made.create("main", now=1)
    yield made
    made.close()


def publish(catalogue, *packages, now=10, channel="main"):
    return catalogue.change(channel, [Publish(each) for each in packages], now=now)


def names(entries):
    return [entry.package.filename for entry in entries]


def shard(catalogue, digest, subdir="linux-64"):
    content = catalogue.shard("main", subdir, digest)
    assert Digest.of(content) == digest
    return msgpack.unpackb(zstandard.ZstdDecompressor().decompress(content))


def test_a_new_channel_is_empty_and_made_once(catalogue):
    assert catalogue.channel("main").generation == 0
    assert list(catalogue.entries("main", "linux-64")) == []
    assert catalogue.subdirs("main") == ()
    publish(catalogue, A1)
    assert catalogue.create("main", private=True, now=2).generation == 1
    assert not catalogue.channel("main").private
    catalogue.set_private("main", private=True)
    assert catalogue.channel("main").private
    catalogue.create("dev", now=3)
    assert [state.name for state in catalogue.channels()] == ["dev", "main"]


def test_an_unknown_channel_is_said_to_be_unknown(catalogue):
    for call in (
        lambda: catalogue.channel("other"),
        lambda: catalogue.set_private("other", private=True),
        lambda: publish(catalogue, A1, channel="other"),
        lambda: catalogue.entry("other", "linux-64", "a-1-0.conda"),
        lambda: catalogue.family("other", "linux-64", "a"),
        lambda: list(catalogue.entries("other", "linux-64")),
        lambda: catalogue.subdirs("other"),
        lambda: catalogue.touched("other", "linux-64"),
        lambda: catalogue.shards("other", "linux-64"),
        lambda: catalogue.shard("other", "linux-64", A1.sha256),
        lambda: catalogue.generation("other", 1),
        lambda: catalogue.generations("other"),
        lambda: catalogue.search("other", limit=1),
        lambda: catalogue.count_found("other"),
        lambda: catalogue.dependents("other", "a", limit=1),
        lambda: catalogue.search("other", limit=1),
        lambda: catalogue.count_found("other"),
        lambda: catalogue.project("other", "a"),
        lambda: catalogue.totals("other"),
    ):
        with pytest.raises(NoChannelError, match="other"):
            call()


def test_publishing_makes_one_generation_of_all(catalogue):
    made = publish(catalogue, B, A1, now=5)
    assert (made.number, made.made_at) == (1, 5)
    assert names(catalogue.entries("main", "linux-64")) == ["a-1-0.conda", "b-1-0.tar.bz2"]
    entry = catalogue.entry("main", "linux-64", "a-1-0.conda")
    assert (entry.package, entry.indexed_at, entry.since, entry.until, entry.yanked) == (A1, 5, 1, None, None)
    assert catalogue.package(A1.sha256) == A1
    assert catalogue.package(A2.sha256) is None


def test_publishing_again_changes_nothing(catalogue):
    publish(catalogue, A1)
    assert publish(catalogue, A1, now=20) is None
    assert publish(catalogue, A1, A2, now=20).number == 2
    assert catalogue.entry("main", "linux-64", "a-1-0.conda").indexed_at == 10


def test_other_bytes_under_a_name_are_refused_and_nothing_of_the_rest_is_kept(catalogue):
    publish(catalogue, A1)
    with pytest.raises(ConflictError, match="build number"):
        publish(catalogue, A2, package("a-1-0.conda", salt="other"))
    assert catalogue.channel("main").generation == 1
    assert names(catalogue.entries("main", "linux-64")) == ["a-1-0.conda"]
    assert catalogue.package(A2.sha256) is None


def test_every_generation_stays(catalogue):
    publish(catalogue, A1)
    publish(catalogue, A2, package("c-1-0.conda", "noarch"))
    catalogue.change("main", [Yank("linux-64", "a-1-0.conda", "broken")], now=30)
    assert names(catalogue.entries("main", "linux-64", 0)) == []
    assert names(catalogue.entries("main", "linux-64", 1)) == ["a-1-0.conda"]
    assert [entry.yanked for entry in catalogue.family("main", "linux-64", "a", 2)] == [None, None]
    assert [entry.yanked for entry in catalogue.family("main", "linux-64", "a", 3)] == ["broken", None]
    assert catalogue.subdirs("main", 1) == ("linux-64",)
    assert catalogue.subdirs("main") == ("linux-64", "noarch")
    assert [catalogue.touched("main", "noarch", at) for at in (0, 1, 2, 3)] == [0, 0, 2, 2]
    with pytest.raises(NoGenerationError):
        catalogue.touched("main", "noarch", 4)
    with pytest.raises(NoPackageError):
        catalogue.entry("main", "linux-64", "a-2-0.conda", 1)


def test_yanking_hides_and_unyanking_shows(catalogue):
    publish(catalogue, A1, A2)
    yank = Yank("linux-64", "a-2-0.conda", "wrong pin")
    assert catalogue.change("main", [yank], now=11).number == 2
    assert catalogue.change("main", [yank], now=12) is None
    seen = shard(catalogue, catalogue.shards("main", "linux-64")["a"])
    assert list(seen["packages.conda"]) == ["a-1-0.conda"]
    assert seen["removed"] == ["a-2-0.conda"]
    with pytest.raises(ConflictError, match="wrong pin"):
        publish(catalogue, A2)
    assert catalogue.change("main", [Unyank("linux-64", "a-2-0.conda")], now=13).number == 3
    assert "removed" not in shard(catalogue, catalogue.shards("main", "linux-64")["a"])
    with pytest.raises(NoPackageError):
        catalogue.change("main", [Yank("linux-64", "z-1-0.conda", "x")], now=14)


def test_a_patch_changes_what_the_index_says_from_then_on(catalogue):
    publish(catalogue, package("a-1-0.conda", depends=["b"]))
    patch = Patch.of("linux-64", "a-1-0.conda", {"depends": ["b <2"], "md5": None})
    assert catalogue.change("main", [patch], now=11).number == 2
    assert catalogue.change("main", [patch], now=11) is None
    entry = catalogue.entry("main", "linux-64", "a-1-0.conda")
    assert entry.record()["depends"] == ["b <2"]
    assert "md5" not in entry.record()
    assert catalogue.entry("main", "linux-64", "a-1-0.conda", 1).record()["depends"] == ["b"]
    assert catalogue.change("main", [Patch.of("linux-64", "a-1-0.conda", None)], now=12).number == 3
    assert catalogue.entry("main", "linux-64", "a-1-0.conda").record()["depends"] == ["b"]


def test_shards_of_every_generation_can_be_had(catalogue):
    publish(catalogue, A1, B)
    first = catalogue.shards("main", "linux-64")
    publish(catalogue, A2)
    second = catalogue.shards("main", "linux-64")
    assert sorted(first) == ["a", "b"]
    assert second["b"] == first["b"]
    assert catalogue.shards("main", "linux-64", 1) == first
    assert catalogue.shards("main", "linux-64", after=1) == {"a": second["a"]}
    assert catalogue.shards("main", "linux-64", after=2) == {}
    old = shard(catalogue, first["a"])
    assert list(old["packages.conda"]) == ["a-1-0.conda"]
    record = old["packages.conda"]["a-1-0.conda"]
    assert record["sha256"] == bytes.fromhex(A1.sha256.hex)
    assert record["indexed_timestamp"] == 10
    assert list(shard(catalogue, second["a"])["packages.conda"]) == ["a-1-0.conda", "a-2-0.conda"]
    assert list(shard(catalogue, second["b"])["packages"]) == ["b-1-0.tar.bz2"]
    with pytest.raises(NoPackageError):
        catalogue.shard("main", "noarch", first["a"])


def test_generations_are_chained(catalogue):
    publish(catalogue, A1, now=5)
    catalogue.change("main", [Yank("linux-64", "a-1-0.conda", "x")], now=6)
    publish(catalogue, B, now=7)
    newest = catalogue.generations("main")
    assert [each.number for each in newest] == [3, 2, 1]
    assert catalogue.generations("main", before=3, limit=1) == (newest[1],)
    assert catalogue.generation("main", 2) == newest[1]
    before = None
    for each in reversed(newest):
        assert (each.changes, each.digest) == chained(before, json.loads(each.changes))
        before = each.digest
    assert json.loads(newest[0].changes) == [["publish", "linux-64", "b-1-0.tar.bz2", B.sha256.hex]]
    for number in (0, 4, -1):
        with pytest.raises(NoGenerationError):
            catalogue.generation("main", number)


def test_promotion_copies_no_package(catalogue):
    publish(catalogue, A1)
    catalogue.create("stable", now=2)
    publish(catalogue, A1, channel="stable", now=30)
    assert [(held.channel, held.entry.indexed_at) for held in catalogue.holders(A1.sha256)] == [
        ("main", 10),
        ("stable", 30),
    ]
    assert catalogue.holders(A2.sha256) == ()


def test_projects_are_listed_searched_and_counted(catalogue):
    publish(
        catalogue,
        package("zlib-1.10-0.conda", summary="Compression"),
        package("zlib-1.9-0.conda", summary="old"),
        package("a_b-1-0.conda", summary="100% sure"),
        package("zlib-1.2-0.conda", "noarch"),
        now=9,
    )
    listed = catalogue.search("main", limit=10)
    assert [(each.name, each.subdir, each.packages, each.version) for each in listed] == [
        ("a_b", "linux-64", 1, "1"),
        ("zlib", "linux-64", 2, "1.10"),
        ("zlib", "noarch", 1, "1.2"),
    ]
    assert {each.name for each in catalogue.search("main", "COMPRESS", limit=9)} == {"zlib"}
    assert [each.name for each in catalogue.search("main", "_", limit=9)] == ["a_b"]
    assert [each.name for each in catalogue.search("main", "%", limit=9)] == ["a_b"]
    assert catalogue.count_found("main", "zlib") == 1
    assert [each.subdir for each in catalogue.search("main", limit=1, offset=1)] == ["linux-64", "noarch"]
    catalogue.change("main", [Yank("linux-64", "a_b-1-0.conda", "x")], now=10)
    assert catalogue.count_found("main") == 1


def test_a_search_lists_names_the_best_first(catalogue):
    publish(
        catalogue,
        package("torch-1-0.conda", summary="Tensors"),
        package("torch-2-0.conda", "noarch", summary="Tensors and more"),
        package("torchvision-1-0.conda", summary="Images"),
        package("pytorch-1-0.conda", summary="Tensors, 100%"),
        package("attention-1-0.conda", summary="Layers for TORCH"),
        package("other-1-0.conda", summary="None of it"),
    )

    def found(text, **page):
        listed = catalogue.search("main", text, **({"limit": 9} | page))
        return list(dict.fromkeys(each.name for each in listed))

    assert found("Torch") == ["torch", "torchvision", "pytorch", "attention"]
    assert found("torch", limit=2, offset=1) == ["torchvision", "pytorch"]
    assert found("tensors torch") == ["pytorch", "torch"]
    assert found(" more  TENSORS ") == ["torch"]
    assert found("%") == ["pytorch"]
    assert found("_") == found("a b c d e") == []
    assert found("tensors torch and more never-looked-at") == ["torch"]
    assert found("") == sorted({"attention", "other", "pytorch", "torch", "torchvision"})
    assert [(each.name, each.subdir) for each in catalogue.search("main", "torch", limit=1)] == [
        ("torch", "linux-64"),
        ("torch", "noarch"),
    ]
    assert catalogue.count_found("main", "torch") == 4
    assert catalogue.count_found("main") == 5


def test_projects_are_found_by_name_and_all_is_counted(catalogue):
    assert catalogue.totals("main") == Totals(0, 0)
    assert catalogue.stored() == (0, 0)
    publish(catalogue, A1, A2, B, package("a-1-0.conda", "noarch"))
    assert [(each.subdir, each.packages) for each in catalogue.project("main", "a")] == [
        ("linux-64", 2),
        ("noarch", 1),
    ]
    assert catalogue.project("main", "none") == ()
    assert catalogue.totals("main") == Totals(2, 4)
    catalogue.change("main", [Yank("linux-64", "b-1-0.tar.bz2", "x")], now=11)
    assert catalogue.totals("main") == Totals(1, 3)
    assert catalogue.project("main", "b") == ()
    assert catalogue.stored() == (4, 4 * 9)


def test_who_depends_on_a_name_is_known(catalogue):
    publish(catalogue, package("x-1-0.conda", depends=["a >=1", "b"]), package("y-1-0.conda", depends=["a"]))
    assert catalogue.dependents("main", "a", limit=9) == ("x", "y")
    assert catalogue.dependents("main", "a", limit=1) == ("x",)
    catalogue.change("main", [Patch.of("linux-64", "x-1-0.conda", {"depends": []})], now=11)
    assert catalogue.dependents("main", "a", limit=9) == ("y",)
    assert catalogue.dependents("main", "b", limit=9) == ()


def test_names_of_young_packages(catalogue):
    publish(catalogue, A1, B, now=10)
    publish(catalogue, A2, now=20)
    catalogue.change("main", [Yank("linux-64", B.filename, "bad")], now=30)
    assert catalogue.young("main", "linux-64", 9) == {"a", "b"}
    assert catalogue.young("main", "linux-64", 10) == {"a"}
    assert catalogue.young("main", "linux-64", 10, at=1) == frozenset()
    assert catalogue.young("main", "noarch", 0) == frozenset()
    with pytest.raises(NoGenerationError):
        catalogue.young("main", "linux-64", 0, at=9)


def test_entries_of_a_generation_are_the_same_while_others_publish(catalogue):
    many = [package(f"m-{number}-0.conda") for number in range(1500)]
    publish(catalogue, *many)
    reading = catalogue.entries("main", "linux-64")
    seen = [next(reading)]
    publish(catalogue, package("m-9999-0.conda"))
    catalogue.change("main", [Yank("linux-64", each.filename, "bad") for each in many[500:]], now=11)
    seen += list(reading)
    assert names(seen) == sorted(each.filename for each in many)
    assert all(entry.yanked is None for entry in seen)


def test_notices(catalogue):
    assert catalogue.notices("main") == "[]"
    catalogue.set_notices("main", '[{"id":"1"}]')
    assert catalogue.notices("main") == '[{"id":"1"}]'
    catalogue.set_notices("main", "[]")
    assert catalogue.notices("main") == "[]"
    assert catalogue.channel("main").generation == 0
    with pytest.raises(NoChannelError):
        catalogue.notices("other")
    with pytest.raises(NoChannelError):
        catalogue.set_notices("other", "[]")


def test_a_yanked_package_may_be_removed_and_old_generations_still_have_it(catalogue):
    publish(catalogue, A1, A2)
    with pytest.raises(ConflictError, match="yank it before"):
        catalogue.change("main", [Remove(*A1_KEY)], now=11)
    catalogue.change("main", [Yank(*A1_KEY, "bad")], now=12)
    made = catalogue.change("main", [Remove(*A1_KEY)], now=13)
    assert (made.number, json.loads(made.changes)) == (3, [["remove", *A1_KEY]])
    assert catalogue.change("main", [Remove(*A1_KEY)], now=14) is None
    with pytest.raises(NoPackageError):
        catalogue.entry("main", *A1_KEY)
    assert catalogue.entry("main", *A1_KEY, 2).yanked == "bad"
    assert names(catalogue.entries("main", "linux-64")) == ["a-2-0.conda"]
    assert shard(catalogue, catalogue.shards("main", "linux-64")["a"]).get("removed") is None
    assert shard(catalogue, catalogue.shards("main", "linux-64", 2)["a"])["removed"] == ["a-1-0.conda"]
    assert catalogue.holders(A1.sha256) == ()
    assert catalogue.namers(A1.sha256) == ("main",)
    publish(catalogue, A1, now=15)
    assert catalogue.entry("main", *A1_KEY).indexed_at == 15
    with pytest.raises(NoPackageError):
        catalogue.entry("main", *A1_KEY, 3)


def test_the_last_package_of_a_name_may_be_removed(catalogue):
    publish(catalogue, A1)
    catalogue.change("main", [Yank(*A1_KEY, "bad")], now=12)
    catalogue.change("main", [Remove(*A1_KEY)], now=13)
    assert catalogue.family("main", "linux-64", "a") == []
    assert catalogue.totals("main") == Totals(0, 0)
    digest = catalogue.shards("main", "linux-64")["a"]
    assert shard(catalogue, digest) == {"packages": {}, "packages.conda": {}}


def test_old_generations_can_be_forgotten_and_the_rest_stays_as_it_is(catalogue):
    catalogue.create("other", now=1)
    publish(catalogue, A1, A2)
    publish(catalogue, A2, channel="other")
    for change in (Yank(*A1_KEY, "bad"), Remove(*A1_KEY), Yank("linux-64", "a-2-0.conda", "too")):
        catalogue.change("main", [change], now=12)
    catalogue.change("main", [Remove("linux-64", "a-2-0.conda")], now=13)
    publish(catalogue, B, now=14)

    def seen():
        return [
            (
                catalogue.generation("main", number),
                list(catalogue.entries("main", "linux-64", number)),
                {
                    name: catalogue.shard("main", "linux-64", digest)
                    for name, digest in catalogue.shards("main", "linux-64", number).items()
                },
            )
            for number in (4, 5, 6)
        ]

    before = seen()
    assert catalogue.leaving("main", 2) == ()
    assert catalogue.leaving("main", 4) == ((3, A1.sha256),)
    assert catalogue.leaving("main", 6) == ((3, A1.sha256), (5, A2.sha256))
    for number in (0, 7):
        with pytest.raises(NoGenerationError):
            catalogue.forget("main", number)
    tried = catalogue.forget("main", 6, dry_run=True)
    assert (tried.generations, tried.files) == (5, {A1.sha256})
    assert seen() == before
    done = catalogue.forget("main", 4)
    assert (done.generations, done.files) == (3, {A1.sha256})
    assert seen() == before
    assert (catalogue.channel("main").oldest, catalogue.channel("other").oldest) == (4, 1)
    assert [each.number for each in catalogue.generations("main")] == [6, 5, 4]
    assert [each.number for each in catalogue.generations("main", before=5)] == [4]
    for number in (0, 1, 3):
        with pytest.raises(NoGenerationError):
            list(catalogue.entries("main", "linux-64", number))
    with pytest.raises(NoGenerationError):
        catalogue.generation("main", 3)
    assert catalogue.package(A1.sha256) is None
    assert catalogue.namers(A1.sha256) == ()
    assert catalogue.stored()[0] == 2
    assert catalogue.forget("main", 6).files == frozenset()  # another channel has it
    assert catalogue.namers(A2.sha256) == ("other",)
    assert catalogue.forget("main", 6).generations == 0
    again = publish(catalogue, A1, now=20)
    assert again.number == 7
