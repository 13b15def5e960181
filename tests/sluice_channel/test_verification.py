"""Packages as they may be published, and every way in which they may not."""

import bz2
import hashlib
import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest
import zstandard

from sluice import bounded
from sluice_channel import facts, publication
from sluice_channel.errors import PackageError
from sluice_channel.verification import Limits, verify

INDEX = {
    "name": "a",
    "version": "1.0",
    "build": "0",
    "build_number": 0,
    "depends": ["b >=1"],
    "subdir": "noarch",
    "noarch": "generic",
}
FILE = ("share/a.txt", b"hello")
LINK = tarfile.SYMTYPE


def listed(path, content=b"hello", **fields):
    sha256 = hashlib.sha256(content).hexdigest()
    entry = {"_path": path, "path_type": "hardlink", "sha256": sha256, "size_in_bytes": len(content)}
    return entry | fields


def link(path, **fields):
    return {"_path": path, "path_type": "softlink"} | fields


def tar(members):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as file:
        for name, content, *kind in members:
            info = tarfile.TarInfo(name)
            if kind:
                info.type, info.linkname = kind[0], content
                file.addfile(info)
            else:
                info.size = len(content)
                file.addfile(info, io.BytesIO(content))
    return data.getvalue()


def info(index=INDEX, paths=None, more=()):
    paths = [listed("share/a.txt")] if paths is None else paths
    index = index if isinstance(index, bytes) else json.dumps(index).encode()
    document = paths if isinstance(paths, dict) else {"paths_version": 1, "paths": paths}
    return [("info/index.json", index), ("info/paths.json", json.dumps(document).encode()), *more]


def conda(
    folder: Path, infos=None, members=(FILE,), stem="a-1.0-0", names=None, extra=(), compression=0, before=b""
):
    target = folder / f"{stem}.conda"
    names = names or (f"pkg-{stem}.tar.zst", f"info-{stem}.tar.zst")
    with target.open("wb") as out:
        out.write(before)
        with zipfile.ZipFile(out, "w", compression) as file:
            file.writestr("metadata.json", '{"conda_pkg_format_version": 2}')
            for name, content in zip(names, (members, infos or info()), strict=True):
                file.writestr(name, zstandard.compress(tar(content)))
            for name, content in extra:
                file.writestr(name, content)
    return target


def old(folder: Path, infos=None, members=(FILE,), stem="a-1.0-0"):
    target = folder / f"{stem}.tar.bz2"
    target.write_bytes(bz2.compress(tar([*(infos or info()), *members])))
    return target


def check(path: Path, limits=None):
    # A blob is not called like the package.
    blob = path.with_name("blob")
    blob.write_bytes(path.read_bytes())
    return verify(blob, path.name, limits or Limits())


@pytest.mark.parametrize("build", [conda, old])
def test_a_package_is_what_an_index_says_of_it(tmp_path, build):
    package = check(build(tmp_path))
    data = (tmp_path / package.filename).read_bytes()
    assert (package.subdir, package.size, package.name) == ("noarch", len(data), "a")
    assert package.sha256.hex == hashlib.sha256(data).hexdigest()
    record = json.loads(package.record)
    assert record == INDEX | {
        "md5": hashlib.md5(data).hexdigest(),
        "sha256": package.sha256.hex,
        "size": len(data),
    }
    assert package == facts.read(tmp_path / package.filename, package.filename)


@pytest.mark.parametrize("build", [conda, old])
@pytest.mark.parametrize(
    ("paths", "members", "said"),
    [
        ([], (FILE,), "'share/a.txt' is not in its paths.json"),
        ([listed("share/a.txt"), listed("b")], (FILE,), "'b' of its paths.json is not in it"),
        ([listed("share/a.txt", b"other")], (FILE,), "another sha256"),
        ([listed("share/a.txt", size_in_bytes=4)], (FILE,), "another size"),
        ([listed("share/a.txt", sha256=None)], (FILE,), "another sha256"),
        ([link("share/a.txt")], (FILE,), "is a file, not the softlink"),
        ([listed("share/a.txt", file_mode="odd")], (FILE,), "no way to put a prefix"),
        ([listed("share/a.txt", prefix_placeholder=3)], (FILE,), "no way to put a prefix"),
        ([listed("share/a.txt")] * 2, (FILE,), "lists 'share/a.txt' twice"),
        ([listed("info/x")], (), "would install 'info/x'"),
        ([listed("../x")], (), "not a path below the prefix"),
        ([listed("/x")], (), "not a path below the prefix"),
        ([listed("a//b")], (), "not a path below the prefix"),
        ([{"no": "path"}], (), "without a path"),
        ({"paths": [], "paths_version": 2}, (), "no paths.json of version 1"),
        ([listed("../x")], (("../x", b"hello"),), "leaves the package"),
        ([listed("/x")], (("/x", b"hello"),), "leaves the package"),
        ([listed("x")], (("x", b"hello"), ("../y", "", tarfile.DIRTYPE)), "leaves the package"),
        ([listed("x")], (("x", "", tarfile.CHRTYPE),), "neither a file nor a link"),
        ([listed("x")], (("x", "", tarfile.FIFOTYPE),), "neither a file nor a link"),
        ([listed("x")], (("x", b"hello"), ("x", b"hello")), "holds 'x' twice"),
        ([link("x")], (("x", "/etc/passwd", LINK),), "leaves the prefix"),
        ([link("x")], (("x", "..", LINK),), "leaves the prefix"),
        ([link("a/x")], (("a/x", "../../y", LINK),), "leaves the prefix"),
        ([link("x"), link("y")], (("x", "y", LINK), ("y", "x", LINK)), "in a circle"),
        # Each alone stays inside: only what one leads through takes the other outside.
        (
            [link("p/q/r"), link("m")],
            (("p/q/r", "../..", LINK), ("m", "p/q/r/../etc", LINK)),
            "leaves the prefix",
        ),
        ([link("x"), listed("x/y")], (("x", "share", LINK), ("x/y", b"hello")), "below what is no folder"),
        ([listed("x"), listed("x/y")], (("x", b"hello"), ("x/y", b"hello")), "below what is no folder"),
    ],
)
def test_members_must_be_what_paths_json_says_and_stay_inside(tmp_path, build, paths, members, said):
    with pytest.raises(PackageError, match=said) as caught:
        check(build(tmp_path, info(paths=paths), members))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("build", [conda, old])
def test_links_that_stay_inside_may_lead_anywhere(tmp_path, build):
    members = (
        ("lib/x.so.1", b"hello"),
        ("lib/x.so", "x.so.1", LINK),
        ("lib64", "lib", LINK),
        ("bin/y", "../lib64/x.so", LINK),
        ("share/z", "../gone/later", LINK),
        ("lib/same", "lib/x.so.1", tarfile.LNKTYPE),
    )
    paths = [listed("lib/x.so.1"), link("lib/x.so"), link("lib64"), link("bin/y"), link("share/z")]
    check(build(tmp_path, info(paths=[*paths, listed("lib/same")]), members))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "b"}, "index.json says 'b-1.0-0'"),
        ({"version": "2"}, "index.json says"),
        ({"subdir": "nowhere"}, "no subdir that conda knows"),
        ({"subdir": None}, "no subdir"),
        ({"depends": "b"}, "depends is not a list"),
        ({"depends": [3]}, "no string"),
        ({"depends": ["=== [["]}, "which no client can read"),
        ({"depends": ["b " + "x" * 2000]}, "no string of at most"),
        ({"constrains": {}}, "constrains is not a list"),
        ({"build_number": -1}, "build_number"),
        ({"build_number": True}, "build_number"),
        ({"timestamp": "now"}, "timestamp"),
        ({"timestamp": 2**70}, "more than 64 bits"),
        ({"license": 3}, "not what clients read"),
        ({"noarch": "maybe"}, "not what clients read"),
        ({"track_features": {"a": 1}}, "not what clients read"),
        ({"url": "http://elsewhere/a.conda"}, "'url'"),
        ({"fn": "b.conda"}, "'fn'"),
        ({"summary": float("nan")}, "is no number"),
        ({"summary": float("inf")}, "is no number"),
        ({"summary": "\ud800"}, "half a surrogate"),
    ],
)
def test_fields_that_not_every_client_can_read_are_refused(tmp_path, change, said):
    with pytest.raises(PackageError, match=said):
        check(conda(tmp_path, info(INDEX | change)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"[]", "not an object"),
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a":' * 100 + b"1" + b"}" * 100, "nested too deep"),
        (b'{"name": "a", "name": "b"}', "stands twice"),
        (b'{"a": 1e999}', "too large a number"),
        (b"{}", "has no info/index.json|index.json says"),
    ],
)
def test_an_index_that_is_no_plain_json_is_refused(tmp_path, text, said):
    with pytest.raises(PackageError, match=said):
        check(conda(tmp_path, info(text)))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([("info/run_exports.json", b'{"weak": "a"}')], "weak of its run_exports.json is not a list"),
        ([("info/run_exports.json", b'{"weak": ["[["]}')], "which no client can read"),
        (
            [("info/link.json", b'{"noarch": {"type": "python", "entry_points": ["../../x = a:b"]}}')],
            "command that is no",
        ),
        ([("info/link.json", b'{"noarch": {"entry_points": ["x"]}}')], "command that is no"),
        ([("info/link.json", b'{"noarch": {"entry_points": 3}}')], "cannot be read"),
    ],
)
def test_what_installing_would_run_is_looked_at(tmp_path, more, said):
    with pytest.raises(PackageError, match=said):
        check(conda(tmp_path, info(more=more)))


def test_commands_of_python_packages_are_fine(tmp_path):
    link_json = b'{"noarch": {"type": "python", "entry_points": ["pip3.11 = pip._internal:main"]}}'
    check(conda(tmp_path, info(more=[("info/link.json", link_json)])))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"extra": [("pkg-evil.tar.zst", b"")]}, "no package called a-1.0-0 does"),
        ({"names": ("pkg-b-1.0-0.tar.zst", "info-b-1.0-0.tar.zst")}, "no package called a-1.0-0 does"),
        ({"compression": zipfile.ZIP_DEFLATED}, "compressed twice"),
        ({"before": b"PK\3\4" + bytes(100)}, "belong to no member"),
    ],
)
def test_what_another_reader_would_take_for_another_package_is_refused(tmp_path, options, said):
    with pytest.raises(PackageError, match=said):
        check(conda(tmp_path, **options))


def test_each_half_of_a_package_holds_what_belongs_there(tmp_path):
    with pytest.raises(PackageError, match="wrong half"):
        check(conda(tmp_path, members=(FILE, ("info/recipe/meta.yaml", b"x"))))
    with pytest.raises(PackageError, match="wrong half"):
        check(conda(tmp_path, info(more=[("share/b.txt", b"x")])))
    with pytest.raises(PackageError, match=r"holds .info/index\.json. twice"):
        check(conda(tmp_path, members=(FILE, ("info/index.json", b"{}"))))


def test_headers_of_members_are_bounded(tmp_path):
    big = tarfile.TarInfo("share/a.txt")
    big.pax_headers = {"comment": "x" * (bounded.MAX_HEADERS * 2)}
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as file:
        for name, content in info():
            each = tarfile.TarInfo(name)
            each.size = len(content)
            file.addfile(each, io.BytesIO(content))
        file.addfile(big)
    path = tmp_path / "a-1.0-0.tar.bz2"
    path.write_bytes(bz2.compress(data.getvalue()))
    with pytest.raises(PackageError, match="header is too long"):
        check(path)


def test_size_and_number_are_bounded(tmp_path):
    path = conda(tmp_path)
    with pytest.raises(PackageError, match="larger than 10 bytes"):
        check(path, Limits(size=10))
    with pytest.raises(PackageError, match="more than 2 files"):
        check(path, Limits(members=2))
    documents = facts.DOCUMENTS[facts.INDEX]
    with pytest.raises(PackageError, match=r"index\.json is larger than"):
        check(conda(tmp_path, info(INDEX | {"summary": "x" * documents})))


def test_a_damaged_package_is_refused(tmp_path):
    whole = conda(tmp_path).read_bytes()
    path = tmp_path / "a-1.0-0.conda"
    for cut in range(0, len(whole), 37):
        path.write_bytes(whole[:cut])
        with pytest.raises(PackageError):
            check(path)


def test_a_patch_may_not_make_another_package_of_it():
    record = INDEX | {"sha256": "00" * 32}
    publication.check_patch(record, {"depends": ["c"], "license": None}, "a")
    for fields in ({"sha256": "11" * 32}, {"name": "b"}, {"depends": ["[["]}, {"url": "x"}, {"license": 3}):
        with pytest.raises(PackageError):
            publication.check_patch(record, fields, "a")
