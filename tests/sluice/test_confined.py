"""Packages that reach out of the prefix: what is said of each, and that nothing of it stays."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.adapters.rattler import InstallError
from sluice.confined import ConfinedError, check, lands_inside
from sluice.lock import LockError
from sluice.realise import PrefixStore, realise
from sluice.solve import lock_spec
from sluice.spec import EnvSpec
from sluice.testing import File, TinyPackage, index
from sluice.verify import verify


class Listing(TinyPackage):
    """Lists a path more than it has."""

    path = ""

    def _info(self):
        info = super()._info()
        listed = {"_path": self.path, "path_type": "hardlink", "sha256": "0" * 64, "size_in_bytes": 1}
        info["paths.json"]["paths"].append(listed)
        return info


class Starting(TinyPackage):
    """Has an entry point of a name of its own."""

    command = ""

    def _info(self):
        noarch = {"type": "python", "entry_points": [f"{self.command} = os:getcwd"]}
        return super()._info() | {"link.json": {"noarch": noarch, "package_metadata_version": 1}}


def realised(channel, tmp_path, *packages):
    for package in packages:
        package.write(channel[0])
    index(channel[0])
    lock = tmp_path / "pixi.lock"
    names = tuple(package.name for package in packages)
    lock.write_bytes(lock_spec(EnvSpec("x", (channel[1],), names), {}))
    return realise(lock, PrefixStore(tmp_path / "s" / "t"))


def nothing_stays(tmp_path, *stems):
    assert not list((tmp_path / "s/t/envs").iterdir())
    for stem in stems:
        assert not (tmp_path / "s/t/pkgs" / stem).exists()


@pytest.mark.parametrize(
    "path",
    ["../evil", "../../evil", "share/../../evil", "/{}/evil", "./x", "a//b", "a/./b", "", "a/", "..", "a\0b"],
)
def test_a_path_that_leaves_the_prefix_is_refused(channel, tmp_path, path):
    package = Listing("p", files={"x": File(b"x")})
    object.__setattr__(package, "path", path.format(tmp_path))
    with pytest.raises(ConfinedError, match=r"^p-1\.0-0: lists .* leaves the prefix; refused$"):
        realised(channel, tmp_path, package)
    nothing_stays(tmp_path, "p-1.0-0")
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("name", ["../evil", "../../evil", "/evil", "a/b", "..", ""])
def test_an_entry_point_that_leaves_the_prefix_is_refused(channel, tmp_path, name):
    package = Starting("p", depends=["python"], noarch="python", files={"site-packages/p.py": File(b"")})
    object.__setattr__(package, "command", name)
    with pytest.raises(ConfinedError, match="has an entry point"):
        realised(channel, tmp_path, package)
    nothing_stays(tmp_path, "p-1.0-0")
    assert not list(tmp_path.rglob("evil"))


def test_an_entry_point_that_stays_is_made(channel, tmp_path):
    package = Starting("p", depends=["python"], noarch="python", files={"site-packages/p.py": File(b"")})
    object.__setattr__(package, "command", "fine-1.x")
    made = realised(channel, tmp_path, package)
    assert (made.prefix / "bin/fine-1.x").is_file()
    assert verify(made.prefix, deep=True) == ()


@pytest.mark.parametrize("target", ["/etc/passwd", "../../x", "../..", "a/../../..", "..//../x"])
def test_a_link_that_leaves_the_prefix_is_refused(channel, tmp_path, target):
    with pytest.raises(ConfinedError, match=r"'share/l' is a link to .* which leaves the prefix; refused"):
        realised(channel, tmp_path, TinyPackage("p", files={"share/l": File(link=target)}))
    nothing_stays(tmp_path, "p-1.0-0")


def test_no_package_writes_through_the_link_of_another(channel, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    door = TinyPackage("a", files={"share": File(link=str(outside))})
    guest = TinyPackage("b", files={"share/evil": File(b"x")})
    with pytest.raises(ConfinedError, match="a-1"):
        realised(channel, tmp_path, door, guest)
    assert not list(outside.iterdir())
    nothing_stays(tmp_path, "a-1.0-0")


def test_a_member_behind_a_link_of_its_own_package_is_refused(channel, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    package = TinyPackage("p", files={"a": File(link=str(outside)), "a/evil": File(b"x")})
    with pytest.raises((ConfinedError, InstallError), match=r"p-1\.0-0"):
        realised(channel, tmp_path, package)
    assert not list(outside.iterdir())
    nothing_stays(tmp_path, "p-1.0-0")


def test_what_was_extracted_by_another_is_looked_at_as_well(channel, tmp_path):
    package = TinyPackage("p", files={"share/l": File(b"x")})
    made = realised(channel, tmp_path, package)
    made.prefix.rename(tmp_path / "away")
    extracted = tmp_path / "s/t/pkgs/p-1.0-0"
    next((tmp_path / "s/t/pkgs/.sluice").glob("p-*")).unlink()
    paths = json.loads((extracted / "info/paths.json").read_bytes())
    paths["paths"][0]["_path"] = str(tmp_path / "evil")
    (extracted / "info/paths.json").write_text(json.dumps(paths))
    with pytest.raises(ConfinedError, match="leaves the prefix"):
        realise(tmp_path / "pixi.lock", PrefixStore(tmp_path / "s" / "t"))
    assert not (tmp_path / "evil").exists()


def test_links_that_stay_are_made(channel, tmp_path):
    files = {
        "lib/x.so.1": File(b"x"),
        "lib/x.so": File(link="x.so.1"),
        "bin/y": File(link="../lib/x.so"),
        "z": File(link="lib"),
    }
    made = realised(channel, tmp_path, TinyPackage("p", files=files))
    assert str((made.prefix / "bin/y").readlink()) == "../lib/x.so"
    assert verify(made.prefix, deep=True) == ()


NAMES = st.sampled_from(["..", ".", "", "a", "b"])


@given(st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=4), st.lists(NAMES, min_size=1, max_size=6))
def test_a_link_that_lands_inside_does_so_from_real_folders(path, target):
    text = "/".join(target)
    landing = (
        os.path.normpath("/p/q/r/s/t/" + "/".join(path[:-1]) + "/" + text)
        if not text.startswith("/")
        else "/"
    )
    if lands_inside("/".join(path), text):
        assert f"{landing}/".startswith("/p/q/r/s/t/")


@given(
    st.binary(max_size=80)
    | st.sampled_from([b"[]", b'{"paths": 1}', b'{"paths": [1]}', b'{"paths": [{}]}', b"[" * 9999])
)
def test_no_list_makes_the_reader_fail_otherwise(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("p")
    (folder / "info").mkdir()
    (folder / "info/paths.json").write_bytes(data)
    with pytest.raises(ConfinedError):
        check(folder)


def test_a_package_of_old_without_a_list_goes_by_its_files(tmp_path):
    (tmp_path / "info").mkdir()
    (tmp_path / "info/files").write_text("a\n../b\n")
    with pytest.raises(ConfinedError, match="leaves the prefix"):
        check(tmp_path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("  build: ../../../evil\n", "is said to be"),
        ("  name: ../evil\n", "pixi.lock"),
        ("  version: '9'\n", "is said to be"),
        ("  python_site_packages_path: ../../../evil\n", "would leave the prefix"),
        ("  python_site_packages_path: /evil\n", "would leave the prefix"),
    ],
)
def test_a_lock_by_hand_does_not_choose_where_things_go(channel, tmp_path, line, said):
    lock = tmp_path / "pixi.lock"
    lock.write_bytes(lock_spec(EnvSpec("x", (channel[1],), ("tool",)), {}))
    text = lock.read_text()
    assert "  python_site_packages_path: lib/python3.11/site-packages\n" in text
    key = line.split(":")[0] + ":"
    lines = [old for old in text.splitlines(keepends=True) if not old.startswith(key)]
    at = next(
        number for number, old in enumerate(lines) if old.startswith("- conda:") and "python-3.11.2" in old
    )
    lock.write_text("".join([*lines[: at + 1], line, *lines[at + 1 :]]))
    with pytest.raises(LockError, match=said):
        realise(lock, PrefixStore(tmp_path / "s" / "t"))
    assert not list(tmp_path.rglob("evil"))
