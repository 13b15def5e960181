import zipfile

import pytest

from sluice.digest import Digest
from sluice.sources import Pip, Source, SourceError, Store, WrongDigestError

METADATA = "Metadata-Version: 2.1\nName: demo-wheel\nVersion: 1.0\nRequires-Dist: nonsuch==9\n"


def wheel(folder, tag="py3-none-any", text="x = 1\n"):
    path = folder / f"demo_wheel-1.0-{tag}.whl"
    info = "demo_wheel-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("demo_wheel.py", text)
        archive.writestr(f"{info}/METADATA", METADATA)
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def index(tmp_path, monkeypatch):
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    return folder


def source(path, digest=None):
    return Source("demo", digest or Digest.of_file(path), path.name, (Pip("demo-wheel==1.0"),))


def test_pip_gives_the_wheel_without_what_it_requires(tmp_path, index):
    path = wheel(index)
    got = Store(tmp_path / "store").fetch(source(path))
    assert got.read_bytes() == path.read_bytes()
    assert got.name == path.name


def test_the_pinned_one_of_several_wheels_of_a_version_is_taken(tmp_path, index):
    pinned = wheel(index)
    wheel(index, tag="cp311-cp311-linux_x86_64", text="x = 2\n")  # what pip likes better
    assert Store(tmp_path / "store").fetch(source(pinned)).read_bytes() == pinned.read_bytes()


def test_a_wheel_for_another_interpreter_can_be_had(tmp_path, index):
    path = wheel(index, tag="cp39-cp39-manylinux2014_aarch64")
    assert Store(tmp_path / "store").fetch(source(path)).read_bytes() == path.read_bytes()


def test_a_wheel_with_another_hash_is_named(tmp_path, index):
    path = wheel(index)
    with pytest.raises(WrongDigestError) as caught:
        Store(tmp_path / "store").fetch(source(path, Digest("0" * 64)))
    message = str(caught.value)
    assert Digest.of_file(path).hex in message
    assert "0" * 64 in message
    assert "pip demo-wheel==1.0" in message
    assert not list((tmp_path / "store").rglob("*.whl"))


def test_a_version_that_nobody_has_is_one_line(tmp_path, index):
    missing = Source("demo", Digest("0" * 64), "nonsuch-1.0-py3-none-any.whl", (Pip("nonsuch==1.0"),))
    with pytest.raises(SourceError, match=r"pip nonsuch==1\.0: ") as caught:
        Store(tmp_path / "store").fetch(missing)
    assert "\n" not in str(caught.value)
