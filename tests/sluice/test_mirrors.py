import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.adapters.rattler import InstallError
from sluice.bundle import pack, unpack
from sluice.cli import assemble, run
from sluice.lock import read
from sluice.mirrors import MirrorError, Mirrors
from sluice.oci import export_image
from sluice.realise import PrefixStore, realise
from sluice.settings import Settings, SettingsError
from sluice.solve import lock_spec
from sluice.sources import SourceError, Store
from sluice.spec import EnvSpec
from sluice.testing import TinyPackage, index
from sluice.verify import verify

NAME = "nlp-tool-pt213-cpu"


def test_the_longest_place_decides_and_a_place_ends_at_a_slash():
    given = Mirrors.of(
        {"http://a/main": "http://m/1", "http://a": "http://m/2/", "http://a/main/noarch/": "https://m/3"},
        "x",
    )
    assert given.url("http://a/main/linux-64/p.conda") == "http://m/1/linux-64/p.conda"
    assert given.url("http://a/main/noarch/p.conda") == "https://m/3/p.conda"
    assert given.url("http://a/mainly/p.conda") == "http://m/2/mainly/p.conda"
    assert given.url("http://b/main/p.conda") == "http://b/main/p.conda"


@pytest.mark.parametrize(
    "url", ["", "main", "file:///x", "http://", "http://a?x", "http://a#x", "http://[", "/x"]
)
def test_only_urls_of_the_web_are_mirrors(url):
    for pair in ({url: "http://a"}, {"http://a": url}):
        with pytest.raises(MirrorError, match=r"^here: expected a mirror as OLD=NEW"):
            Mirrors.of(pair, "here")


@given(st.text(max_size=30))
def test_no_text_makes_the_reader_fail_otherwise(text):
    with contextlib.suppress(MirrorError):
        Mirrors.of({text: text}, "x")


def test_a_flag_beats_the_environment_beats_the_file(tmp_path):
    config = tmp_path / "config.toml"
    config.write_text(
        '[mirrors]\n"http://a/x" = "http://toml"\n"http://b" = "http://toml"\n"http://c" = "http://toml"\n'
    )
    environ = {"SLUICE_CONFIG": str(config), "SLUICE_MIRRORS": "http://b=http://env http://c/=http://env"}
    found = Settings.load(environ, mirrors=["http://c=http://flag"]).mirrors
    assert found.places == {
        "http://a/x/": "http://toml/",
        "http://b/": "http://env/",
        "http://c/": "http://flag/",
    }
    with pytest.raises(SettingsError, match="--mirror: expected OLD=NEW"):
        Settings.load(environ, mirrors=["http://c"])
    config.write_text("mirrors = 1")
    with pytest.raises(SettingsError, match="'mirrors' must be a table"):
        Settings.load(environ)


@pytest.fixture
def lock(serve, channel, tmp_path):
    """Give the lock of a channel that is no longer served, with a bundle of it."""
    path = tmp_path / "env" / "pixi.lock"
    path.parent.mkdir()
    with serve(channel[0]) as url:
        path.write_bytes(lock_spec(EnvSpec("x", (url,), ("tool",)), {}))
        made = realise(path, PrefixStore(tmp_path / "a"))
        pack(path, tmp_path / "x.bundle", NAME, Store(tmp_path / "cache"))
    return path, url, made


def test_a_lock_is_realised_unchanged_from_where_its_bundle_was_unpacked(lock, serve, tmp_path):
    path, gone, there = lock
    store = PrefixStore(tmp_path / "b")
    with pytest.raises(InstallError):
        realise(path, store)
    unpack(tmp_path / "x.bundle", tmp_path / "moved", gone)
    with serve(tmp_path / "moved") as url:
        here = realise(path, store, mirrors=Mirrors.of({gone: url}, "x"))
    assert (here.lock, here.tree) == (there.lock, there.tree)
    assert here.prefix.name == there.prefix.name
    assert verify(here.prefix, deep=True) == ()
    # The prefix says where the lock does that its packages are from.
    records = [json.loads(record.read_bytes()) for record in here.prefix.glob("conda-meta/*.json")]
    assert {record["url"] for record in records} == {package.url for package in read(path).on("linux-64")}


def test_a_mirror_with_other_bytes_is_refused(lock, serve, tmp_path):
    path, gone, _ = lock
    other = tmp_path / "other"
    TinyPackage("tool", depends=["python"], files={}).write(other)
    unpack(tmp_path / "x.bundle", tmp_path / "moved", gone)
    (tmp_path / "moved/noarch/tool-1.0-0.conda").write_bytes((other / "noarch/tool-1.0-0.conda").read_bytes())
    index(tmp_path / "moved")
    with serve(tmp_path / "moved") as url, pytest.raises(InstallError, match=r"tool-1\.0-0"):
        realise(path, PrefixStore(tmp_path / "b"), mirrors=Mirrors.of({gone: url}, "x"))
    assert not list((tmp_path / "b/envs").iterdir())


def test_bundles_and_images_are_made_from_a_mirror_too(lock, serve, channel, tmp_path):
    path, gone, there = lock
    with pytest.raises(SourceError):
        pack(path, tmp_path / "y.bundle", NAME, Store(tmp_path / "empty"))
    with serve(channel[0]) as url:
        given = Mirrors.of({gone: url}, "x")
        pack(path, tmp_path / "y.bundle", NAME, Store(tmp_path / "other"), mirrors=given)
        image = export_image(path, tmp_path / "i.tar", tmp_path / "c", "linux-64", "x", mirrors=given)
    assert (tmp_path / "y.bundle").read_bytes() == (tmp_path / "x.bundle").read_bytes()
    assert (image.lock, image.tree) == (there.lock, there.tree)


def test_the_command_takes_mirrors(lock, serve, channel, tmp_path, capsys, monkeypatch):
    path, gone, there = lock
    monkeypatch.setattr(
        "sys.argv", ["sluice", "realise", str(path), "--prefixes", str(tmp_path / "b"), "--json"]
    )
    with serve(channel[0]) as url:
        monkeypatch.setenv("SLUICE_MIRRORS", f"{gone}={url}")
        assert run(assemble()) == 0
    assert json.loads(capsys.readouterr().out)["tree"] == there.tree.hex
