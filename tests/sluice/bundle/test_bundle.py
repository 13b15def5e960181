import io
import json
import shutil
import tarfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sluice.bundle import BundleError, pack, unpack
from sluice.bundle.contents import Contents, header
from sluice.bundle.moved import moved
from sluice.cli import assemble, run
from sluice.digest import Digest
from sluice.lock import Lock, read
from sluice.realise import PrefixStore, realise
from sluice.receipt.key import PublicKey
from sluice.solve import lock_spec
from sluice.sources import SourceError, Store
from sluice.spec import EnvSpec

NAME = "nlp-tiny-pt213-cpu"
HERE = "http://127.0.0.1:8710/main"


@pytest.fixture
def lock(channel, tmp_path):
    folder = tmp_path / NAME
    folder.mkdir()
    (folder / "environment.yml").write_text("name: x\n")
    path = folder / "pixi.lock"
    path.write_bytes(lock_spec(EnvSpec("x", (channel[1],), ("tool",)), {}))
    return path


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "keys.pem"
    path.write_text(PublicKey(bytes(range(32))).pem)
    return path


@pytest.fixture
def bundle(lock, key, tmp_path):
    target = tmp_path / "x.bundle"
    pack(lock, target, NAME, Store(tmp_path / "sources"), keys=[key])
    return target


def refused(bundle, match):
    """See that a bundle is refused in one line, and that nothing of it stays."""
    before = sorted(bundle.parent.iterdir())
    with pytest.raises(BundleError, match=match) as caught:
        unpack(bundle, bundle.parent / "new", HERE)
    assert "\n" not in str(caught.value)
    assert sorted(bundle.parent.iterdir()) == before


def rewritten(bundle, change=lambda _: None, tail=b"", change_header=lambda _: None):
    """Write a bundle anew after changing its list or its headers; each file keeps its content."""
    with tarfile.open(bundle) as tar:
        items = [(member.name, tar.extractfile(member).read()) for member in tar]
    document = json.loads(items[0][1])
    change(document)
    items[0] = ("bundle.json", json.dumps(document).encode())
    with tarfile.open(bundle, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in items:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            change_header(member)
            tar.addfile(member, io.BytesIO(content) if member.isreg() else None)
    end = bundle.read_bytes().rstrip(b"\0")
    bundle.write_bytes(end + bytes(-len(end) % 512) + bytes(1024) + tail)
    return bundle


def test_equal_input_gives_an_equal_bundle_also_from_the_cache_alone(bundle, lock, key, channel, tmp_path):
    for package in channel[0].glob("*/*.conda"):
        package.unlink()
    pack(lock, tmp_path / "again", NAME, Store(tmp_path / "sources"), keys=[key])
    assert (tmp_path / "again").read_bytes() == bundle.read_bytes()
    with tarfile.open(bundle) as tar:
        names = tar.getnames()
    digest = read(lock).digest
    assert names == [
        "bundle.json",
        f"envs/{NAME}/{digest}.lock",
        f"envs/{NAME}/environment.yml",
        "keys/keys.pem",
        "linux-64/python-3.11.2-0_cpython.conda",
        "noarch/tool-1.0-0.conda",
    ]


def test_an_unbundled_channel_has_the_same_packages_and_both_locks(bundle, lock, channel, tmp_path):
    found = unpack(bundle, tmp_path / "new", HERE)
    for path in ("linux-64/python-3.11.2-0_cpython.conda", "noarch/tool-1.0-0.conda"):
        assert (tmp_path / "new" / path).read_bytes() == (channel[0] / path).read_bytes()
    assert (tmp_path / "new" / found.contents.lock_path).read_bytes() == lock.read_bytes()
    after = read(tmp_path / "new" / found.lock)
    assert after.channels == (HERE,)
    assert not found.same
    before = read(lock)
    assert [(p.id, p.sha256) for p in after.on("linux-64")] == [
        (p.id, p.sha256) for p in before.on("linux-64")
    ]
    assert after.find("tool").url == f"{HERE}/noarch/tool-1.0-0.conda"


def test_the_moved_lock_installs_from_where_the_channel_is_now(bundle, lock, channel, tmp_path):
    tree = realise(lock, PrefixStore(tmp_path / "s"), prefix=tmp_path / "p").tree
    # The test's server has the old folder: put the new one in its place, below another name.
    found = unpack(bundle, channel[0] / "moved", f"{channel[1]}/moved")
    for package in channel[0].glob("[ln]*/*.conda"):
        package.unlink()
    made = realise(channel[0] / "moved" / found.lock, PrefixStore(tmp_path / "other"), prefix=tmp_path / "q")
    assert made.tree == tree
    assert made.lock != read(lock).digest


def test_a_lock_moved_to_where_it_was_is_the_same(lock, channel):
    text = lock.read_bytes()
    there = moved(text, HERE)
    assert there != text
    assert moved(there, channel[1] + "/") == text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(part=st.floats(0, 0.9999))
def test_a_bundle_cut_anywhere_is_refused(bundle, part):
    cut = bundle.with_name("cut")
    cut.write_bytes(bundle.read_bytes()[: int(bundle.stat().st_size * part)])
    refused(cut, "cut short|not a bundle")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(part=st.floats(0, 0.9999), bit=st.integers(0, 7))
def test_no_flipped_bit_changes_what_comes_out(bundle, part, bit):
    data = bytearray(bundle.read_bytes())
    place = int(len(data) * part)
    data[place] ^= 1 << bit
    changed = bundle.with_name("changed")
    changed.write_bytes(data)
    # A flipped bit in padding or in a header's unused field harms nothing, and neither does it stay.
    try:
        found = unpack(changed, bundle.parent / "new", HERE)
    except BundleError:
        assert not (bundle.parent / "new").exists()
    else:
        for member in found.contents.members:
            assert Digest.of_file(bundle.parent / "new" / member.path) == member.sha256
        shutil.rmtree(bundle.parent / "new")


@pytest.mark.parametrize(
    ("path", "match"),
    [
        ("../evil.conda", "no place|refused"),
        ("/etc/evil-1-0.conda", "refused"),
        ("noarch/../x-1-0.conda", "refused"),
        ("envs/other-name-pt213-cpu/x.lock", "refused"),
        (f"envs/{NAME}/pixi.lock", "refused"),
        ("keys/..", "refused"),
        ("noarch/x.conda", "not a package file name"),
        ("noarch/evil-1-0.conda", "holds noarch/evil-1-0.conda, which is not what its lock names|damaged"),
    ],
)
def test_a_file_that_has_no_place_is_refused(bundle, path, match):
    def change(document):
        document["files"][-1][0] = path

    refused(rewritten(bundle, change), match)


def test_lists_that_lie_are_refused(bundle):
    original = bundle.read_bytes()
    for change, match in (
        (lambda d: d["files"].append(d["files"][-1]), "twice"),
        (lambda d: d["files"].pop(), "lacks|more than it lists"),
        (lambda d: d["files"][-1].__setitem__(2, 1 << 50), "refused"),
        (lambda d: d["files"][-1].__setitem__(2, -1), "refused"),
        (lambda d: d["files"][-1].__setitem__(2, 6 << 30), "cut short"),
        (lambda d: d["files"][-1].__setitem__(1, "0" * 64), "has sha256"),
        (lambda d: d.__setitem__("format", 9), "format 9"),
        (lambda d: d.__setitem__("name", "../.."), "bundle.json"),
        (lambda d: d.pop("lock"), "not a bundle's"),
    ):
        bundle.write_bytes(original)
        refused(rewritten(bundle, change), match)


def test_the_packages_must_be_those_of_the_lock(bundle, lock):
    with tarfile.open(bundle) as tar:
        document = json.load(tar.extractfile("bundle.json"))
    document["files"] = [item for item in document["files"] if not item[0].startswith("noarch/")]
    with pytest.raises(BundleError, match="lacks noarch/tool"):
        Contents.parse(json.dumps(document).encode()).check(read(lock))
    document["files"].append(["noarch/tool-1.0-0.conda", "0" * 64, 5])
    with pytest.raises(BundleError, match="not what its lock names"):
        Contents.parse(json.dumps(document).encode()).check(read(lock))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE])
def test_only_plain_files_are_taken(bundle, kind):
    def change(member):
        if member.name.startswith("keys/"):
            member.type, member.linkname, member.size = kind, "/etc/passwd", 0

    refused(rewritten(bundle, change_header=change), "not a plain file")


def test_what_follows_the_end_is_refused(bundle):
    refused(rewritten(bundle, tail=b"more"), "more than it lists")


def test_a_folder_that_is_there_stays_as_it_is(bundle, tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "mine").write_text("x")
    refused(bundle, "already there")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["mine"]


def test_a_package_that_changed_in_its_channel_is_not_bundled(lock, channel, tmp_path):
    (channel[0] / "noarch/tool-1.0-0.conda").write_bytes(b"other")
    with pytest.raises(SourceError, match="is pinned"):
        pack(lock, tmp_path / "x.bundle", NAME, Store(tmp_path / "sources"))
    assert not (tmp_path / "x.bundle").exists()


@given(st.binary(max_size=300))
def test_no_list_makes_the_reader_fail_otherwise(data):
    with pytest.raises(BundleError):
        Contents.parse(data)


def test_a_path_that_no_header_can_hold_is_refused():
    with pytest.raises(BundleError, match="cannot be named"):
        header("noarch/" + "x" * 200, 1)


def test_the_commands_make_a_folder_to_be_served(lock, tmp_path, capsys, monkeypatch):
    def sluice(*arguments):
        monkeypatch.setattr("sys.argv", ["sluice", *map(str, arguments)])
        return run(assemble())

    bundle = tmp_path / "x.bundle"
    assert sluice("bundle", lock.parent, "-o", bundle, "--cache", tmp_path / "cache") == 0
    assert sluice("unbundle", bundle, "--to", tmp_path / "new", "--url", "http://h.example/c") == 0
    assert "next: sluice channel serve" in capsys.readouterr().out
    assert (tmp_path / "new/noarch/tool-1.0-0.conda").is_file()
    text = (tmp_path / "new/envs" / NAME / "pixi.lock").read_bytes()
    assert Lock.parse(text).channels == ("http://h.example/c",)
    bundle.write_bytes(bundle.read_bytes()[:-2000])
    assert sluice("unbundle", bundle, "--to", tmp_path / "other") == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "other").exists()
