"""What the server says of packages is what conda-index writes for them, but for when each became visible."""

from __future__ import annotations

import asyncio
import bz2
import json
import os
import random
import xml.etree.ElementTree as ET
from pathlib import Path

import httpx
import msgpack
import pytest
import zstandard

from sluice.testing import File, TinyPackage
from sluice_channel.app import create_site_app
from sluice_channel.exchange.exporting import export_directory
from sluice_channel.exchange.importing import import_directory
from sluice_channel.reindex import index
from sluice_channel.site import open_site

SUBDIRS = ("linux-64", "noarch", "osx-arm64")
REAL = Path.home() / ".local/share/sluice/quickstart/channel"  # what `make quickstart` leaves
LARGE = 8 << 20  # bytes; larger packages say nothing that the others do not


def ask(app, *paths):
    async def road():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://channel.test") as client:
            return [(await client.get(path)).raise_for_status().content for path in paths]

    return asyncio.run(road())


def unpacked(content):
    return zstandard.ZstdDecompressor().decompressobj().decompress(content)


def undated(document):
    """Leave out the one thing that conda-index does not know: when a package became visible (CEP 47)."""
    for section in ("packages", "packages.conda"):
        for record in document[section].values():
            assert isinstance(record.pop("indexed_timestamp"), int)
    return document


def shards_of(index_bytes, read):
    document = msgpack.unpackb(unpacked(index_bytes))
    assert document["version"] == 1
    names = document["shards"]
    return document["info"], {
        name: msgpack.unpackb(unpacked(read(f"{digest.hex()}.msgpack.zst"))) for name, digest in names.items()
    }


@pytest.fixture
def site(tmp_path):
    opened = open_site(tmp_path / "site", create=True)
    yield opened
    opened.close()


def compare(site, directory):
    """Compare all documents of a site's channel with those that conda-index writes into its directory."""
    assert import_directory(site, directory, "main").refused == ()
    index(directory)
    app = create_site_app(site)
    for subdir in SUBDIRS:
        folder = directory / subdir
        if not folder.is_dir():
            continue
        base = f"/main/{subdir}"
        plain, packed, exports, exports_packed, shards = ask(
            app,
            f"{base}/repodata.json",
            f"{base}/repodata.json.zst",
            f"{base}/run_exports.json",
            f"{base}/run_exports.json.zst",
            f"{base}/repodata_shards.msgpack.zst",
        )
        assert undated(json.loads(plain)) == json.loads((folder / "repodata.json").read_bytes())
        assert unpacked(packed) == plain
        assert bz2.decompress(ask(app, f"{base}/repodata.json.bz2")[0]) == plain
        assert json.loads(exports) == json.loads((folder / "run_exports.json").read_bytes())
        assert unpacked(exports_packed) == exports
        info, ours = shards_of(shards, lambda name, base=base: ask(app, f"{base}/{name}")[0])
        written, theirs = shards_of(
            (folder / "repodata_shards.msgpack.zst").read_bytes(),
            lambda name, folder=folder: (folder / name).read_bytes(),
        )
        assert {name: undated(shard) for name, shard in ours.items() if any(shard.values())} == {
            name: shard for name, shard in theirs.items() if any(shard.values())
        }
        assert {**info, "created_at": ""} == {**written, "created_at": ""}
    (content,) = ask(app, "/main/channeldata.json")
    assert json.loads(content) == json.loads((directory / "channeldata.json").read_bytes())
    return json.loads(content)


def variety(seed):
    """Describe packages that use all that an index speaks of."""
    chance = random.Random(seed)
    stamp = 1_600_000_000_000
    for number in range(30):
        name = f"gen-{number % 9}" if number % 4 else f"Gen_{number % 5}".lower()
        for version in chance.sample(["0.9", "1.0", "1.0.post1", "1!0.1", "2.0rc1", "2.0"], 2):
            stamp += chance.randrange(1, 10_000_000)
            extra = {"timestamp": stamp, "build_number": chance.randrange(4)}
            if chance.random() < 0.5:
                extra |= {"license": "Öffentlich", "license_family": "MIT", "track_features": "slow"}
            if chance.random() < 0.5:
                extra |= {
                    "constrains": ["other <2"],
                    "arch": "x86_64",
                    "platform": "linux",
                    "has_prefix": True,
                }
            files = {f"lib/{name}-{number}.txt": File(b"%d" % stamp)}
            for path, odds in (
                ("etc/conda/activate.d/a.sh", 0.3),
                ("etc/conda/deactivate.d/a.sh", 0.2),
                (f"bin/.{name}-post-link.sh", 0.2),
                (f"bin/.{name}-pre-unlink.sh", 0.1),
            ):
                if chance.random() < odds:
                    files[path] = File(b"true", executable=True)
            if chance.random() < 0.3:
                files["bin/tool"] = File(b"x", prefix=chance.choice(["text", "binary"]))
            subdir = chance.choice(SUBDIRS)
            yield TinyPackage(
                name,
                version,
                f"h{number}_{chance.randrange(3)}",
                depends=("python >=3.11", "unicode 1.*")[: chance.randrange(3)],
                files=files,
                subdir=subdir,
                noarch="generic" if subdir == "noarch" else None,
                extra=extra,
            )


@pytest.mark.parametrize("seed", [1, 2])
def test_generated_packages(site, tmp_path, seed):
    directory = tmp_path / "directory"
    for each in variety(seed):
        each.write(directory)
    data = compare(site, directory)
    flags = ("activate.d", "deactivate.d", "post_link", "text_prefix", "binary_prefix")
    assert all(any(package[flag] for package in data["packages"].values()) for flag in flags)


def test_both_formats_run_exports_and_about(site, tmp_path, package):
    directory = tmp_path / "directory"
    about = {
        "summary": " Says <b>hello</b>\nto ünicode & all ",
        "description": "one\ntwo",
        "home": "https://home.example",
        "dev_url": "https://dev.example",
        "doc_url": "https://doc.example",
        "tags": ["a", "b"],
        "keywords": ["k"],
    }
    for number, version in enumerate(("1.0", "1.1", "2.0")):
        exports = {"weak": [f"both >={version}"], "strong": ["other"]} if number else {"weak": []}
        stamp = 1_700_000_000_000 + number * 1000
        for extension in (".conda", ".tar.bz2"):
            package(
                directory,
                "both",
                version,
                extension=extension,
                run_exports=exports,
                about=about if number < 2 else {"summary": ""},
                timestamp=stamp,
            )
    package(directory, "both", "2.0", subdir="linux-64", run_exports={"weak": ["native"]})
    package(directory, "old", "3.0", subdir="linux-64", extension=".tar.bz2", timestamp=1_500_000_000)
    package(directory, "bare", "0", subdir="osx-arm64")
    compare(site, directory)


def test_patches(site, tmp_path, package):
    directory = tmp_path / "directory"
    for name in ("kept", "fixed", "gone", "revoked"):
        package(directory, name, subdir="linux-64", depends=("python",))
        package(directory, name, subdir="linux-64", depends=("python",), extension=".tar.bz2")
    instructions = {
        "patch_instructions_version": 1,
        "packages": {
            "fixed-1.0-0.tar.bz2": {"depends": ["python <4"], "license": None, "extra": {"a": {"b": 1}}},
            "absent-1.0-0.tar.bz2": {"depends": []},
        },
        "packages.conda": {"fixed-1.0-0.conda": {"license": "MIT", "more": {"c": 2}}},
        "revoke": ["revoked-1.0-0.tar.bz2"],
        "remove": ["gone-1.0-0.tar.bz2"],
    }
    (directory / "linux-64/patch_instructions.json").write_text(json.dumps(instructions))
    compare(site, directory)
    unpatched, served = ask(
        create_site_app(site),
        "/main/linux-64/repodata_from_packages.json",
        "/main/linux-64/patch_instructions.json",
    )
    records = undated(json.loads(unpatched))
    assert records["removed"] == []
    assert len(records["packages"]) == len(records["packages.conda"]) == 4
    assert {record["depends"][0] for record in records["packages"].values()} == {"python"}
    # Whoever applies what is served to what is served gets the same once more.
    second = tmp_path / "second"
    for subdir in ("linux-64", "noarch"):
        (second / subdir).mkdir(parents=True)
    for path in (directory / "linux-64").iterdir():
        if path.name.endswith((".conda", ".tar.bz2")):
            os.link(path, second / "linux-64" / path.name)
    (second / "linux-64/patch_instructions.json").write_bytes(served)
    index(second)
    assert (second / "linux-64/repodata.json").read_bytes() == (
        directory / "linux-64/repodata.json"
    ).read_bytes()


def test_the_feed_is_conda_indexs_up_to_its_clock_and_its_address(site, tmp_path, package):
    directory = tmp_path / "directory"
    for number in range(120):
        package(
            directory,
            f"p{number}",
            timestamp=1_700_000_000_000 + number * 60_000,
            about={"home": f"https://{number}.example/?a=1&b=2", "summary": f"<{number}>"},
        )
    data = compare(site, directory)
    (feed,) = ask(create_site_app(site), "/main/rss.xml")
    ours = ET.fromstring(feed).find("channel")
    theirs = ET.fromstring(conda_index_feed(data)).find("channel")
    assert [read(item) for item in ours.iter("item")] == [read(item) for item in theirs.iter("item")]
    assert len(list(ours.iter("item"))) == 100
    assert ours.findtext("link") == "http://channel.test/main/"
    assert ours.findtext("title") == "main"
    assert "anaconda" not in feed.decode()


def read(element):
    return {each.tag: each.text for each in element}


def conda_index_feed(data):
    """Let conda-index's own module write the feed, without what its package imports from conda."""
    import importlib.util

    spec = importlib.util.find_spec("conda_index")
    path = Path(spec.submodule_search_locations[0], "index", "rss.py")
    spec = importlib.util.spec_from_file_location("oracle_rss", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_rss("main", data)


@pytest.mark.skipif(not REAL.is_dir(), reason="no quickstart was made on this machine")
def test_the_quickstarts_packages(site, tmp_path):
    directory = tmp_path / "directory"
    for path in REAL.glob("*/*.conda"):
        if path.stat().st_size < LARGE:
            target = directory / path.parent.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    compare(site, directory)


def test_an_exported_channel_is_what_conda_index_makes_of_it(site, tmp_path, package):
    directory, out = tmp_path / "directory", tmp_path / "out"
    package(directory, "a", run_exports={"weak": ["a"]})
    package(directory, "b", subdir="linux-64", extension=".tar.bz2")
    package(directory, "c", subdir="linux-64")
    instructions = {"packages": {"b-1.0-0.tar.bz2": {"depends": ["c"]}}, "remove": ["c-1.0-0.conda"]}
    import_directory(site, directory, "main")
    first = export_directory(site, out, "main")
    assert (first.generation, first.copied, first.removed) == (1, 3, 0)
    (directory / "linux-64/patch_instructions.json").write_text(json.dumps(instructions))
    import_directory(site, directory, "main")
    second = export_directory(site, out, "main")
    assert (second.generation, second.copied, second.removed) == (2, 0, 1)
    repodata = json.loads((out / "linux-64/repodata.json").read_bytes())
    assert repodata["packages"]["b-1.0-0.tar.bz2"]["depends"] == ["c"]
    assert repodata["packages.conda"] == {}
    _, shards = shards_of(
        (out / "linux-64/repodata_shards.msgpack.zst").read_bytes(),
        lambda name: (out / "linux-64" / name).read_bytes(),
    )
    assert shards["b"]["packages"]["b-1.0-0.tar.bz2"]["depends"] == ["c"]
    old = export_directory(site, tmp_path / "old", "main", at=1)
    assert old.summary.packages == 3
    assert not (tmp_path / "old/linux-64/patch_instructions.json").exists()
