"""Local source folders, channel directories and the package cache."""

import json
import os

import pytest

from sluice.build import BuildError, RecipeError, channeldir, localtree
from sluice.build.packages import PackageCache
from sluice.digest import Digest


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "source"
    (root / "src/pkg/__pycache__").mkdir(parents=True)
    (root / "src/pkg/a.py").write_text("a = 1\n")
    (root / "src/pkg/__pycache__/a.pyc").write_bytes(b"x")
    (root / ".ruff_cache").mkdir()
    (root / ".ruff_cache/x").write_text("x")
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    return root


def test_a_copy_holds_no_caches_and_one_time(folder, tmp_path):
    localtree.copy(folder, tmp_path / "copy", 1000000000)
    copied = {path.relative_to(tmp_path / "copy").as_posix() for path in (tmp_path / "copy").rglob("*.*")}
    assert copied == {"src/pkg/a.py", "run.sh"}
    assert {path.stat().st_mtime for path in (tmp_path / "copy").rglob("*.*")} == {1000000000}
    assert os.access(tmp_path / "copy/run.sh", os.X_OK)
    assert localtree.digest(tmp_path / "copy") == localtree.digest(folder)


@pytest.mark.parametrize("change", ["content", "name", "mode", "more"])
def test_the_digest_changes_with_the_source(folder, change):
    before = localtree.digest(folder)
    path = folder / "src/pkg/a.py"
    match change:
        case "content":
            path.write_text("a = 2\n")
        case "name":
            path.rename(folder / "src/pkg/b.py")
        case "mode":
            path.chmod(0o755)
        case "more":
            (folder / "empty").touch()
    assert localtree.digest(folder) != before


def test_caches_and_times_do_not_change_the_digest(folder):
    before = localtree.digest(folder)
    (folder / "src/pkg/__pycache__/b.pyc").write_bytes(b"y")
    os.utime(folder / "run.sh", (1, 1))
    assert localtree.digest(folder) == before


def test_a_link_out_of_the_folder_is_refused(folder):
    (folder / "link").symlink_to("/etc/passwd")
    with pytest.raises(RecipeError, match="link"):
        localtree.digest(folder)


def index(subdir, *records):
    subdir.mkdir(parents=True, exist_ok=True)
    packages = {
        f"{name}-1-0.conda": {"name": name, "sha256": f"of {name}", "depends": list(depends), "size": 1}
        for name, *depends in records
    }
    (subdir / "repodata.json").write_text(json.dumps({"packages": {}, "packages.conda": packages}))


def test_the_closure_follows_dependencies_across_subdirs(tmp_path):
    index(tmp_path / "noarch", ("pip", "python >=3.11"), ("other", "pip"))
    index(tmp_path / "linux-64", ("python", "__glibc >=2.17", "libx"), ("libx", "missing"))
    assert channeldir.closure(tmp_path, ["pip"]) == {
        "noarch/pip-1-0.conda": "of pip",
        "linux-64/python-1-0.conda": "of python",
        "linux-64/libx-1-0.conda": "of libx",
    }
    with pytest.raises(BuildError, match="has no package called hatchling"):
        channeldir.closure(tmp_path, ["hatchling"])


def test_an_index_is_fresh_only_if_it_holds_what_is_there(tmp_path):
    assert not channeldir.is_indexed(tmp_path)
    index(tmp_path / "noarch", ("a",))
    assert not channeldir.is_indexed(tmp_path)  # it names a package that is gone
    (tmp_path / "noarch/a-1-0.conda").write_bytes(b"x")
    os.utime(tmp_path / "noarch/a-1-0.conda", (1, 1))
    assert channeldir.is_indexed(tmp_path)
    (tmp_path / "noarch/b-1-0.conda").write_bytes(b"x")
    assert not channeldir.is_indexed(tmp_path)


def test_a_damaged_index_is_one_line(tmp_path):
    (tmp_path / "noarch").mkdir()
    (tmp_path / "noarch/repodata.json").write_text("{")
    with pytest.raises(BuildError, match="not an index"):
        channeldir.is_indexed(tmp_path)


def test_publishing_equal_bytes_leaves_the_file_alone(tmp_path):
    package = tmp_path / "a-1-0.conda"
    package.write_bytes(b"one")
    target = channeldir.publish(package, tmp_path / "channel", "noarch")
    os.utime(target, (1, 1))
    channeldir.publish(package, tmp_path / "channel", "noarch")
    assert target.stat().st_mtime == 1
    package.write_bytes(b"two")
    channeldir.publish(package, tmp_path / "channel", "noarch")
    assert target.read_bytes() == b"two"
    assert [path.name for path in target.parent.iterdir()] == ["a-1-0.conda"]


def test_a_damaged_package_is_not_taken_from_the_cache(tmp_path):
    cache, key = PackageCache(tmp_path / "cache"), Digest("0" * 64)
    package = tmp_path / "a-1-0.conda"
    package.write_bytes(b"one")
    assert cache.get(key) == ()
    (kept,) = cache.put(key, (package,))
    assert cache.get(key) == (kept,)
    kept.write_bytes(b"bad")
    assert cache.get(key) == ()
    assert not kept.exists()
    cache.put(key, (package,))
    assert [path.read_bytes() for path in cache.get(key)] == [b"one"]
