import base64
import hashlib

import pytest
from rattler import IndexJson, MatchSpec, PackageRecord, PathsJson

from sluice.digest import Digest
from sluice.pack import PLACEHOLDER
from sluice.wheels import Target, WheelError, convert
from sluice.wheels.convert import convert_wheel
from sluice.wheels.generated import write_alias, write_python_abi
from sluice.wheels.mark import Mark

TARGET = Target()
COMMANDS = """\
[console_scripts]
demo = demo.cli:main
Other.Tool=demo.cli : Group.run [extra]
[gui_scripts]
window = demo:show
[demo.plugins]
x = y
"""
PURE = {
    "demo/__init__.py": "x = 1\n",
    "demo-1.0.dist-info/entry_points.txt": COMMANDS,
    "demo-1.0.dist-info/licenses/LICENSE": "free\n",
    "demo-1.0.dist-info/licenses/sub/NOTICE": "noted\n",
    "demo-1.0.dist-info/REQUESTED": "",
    "demo-1.0.dist-info/INSTALLER": "pip\n",
    "demo-1.0.dist-info/direct_url.json": "{}",
    "demo-1.0.data/scripts/demo-run": "#!python\nprint(1)\n",
    "demo-1.0.data/scripts/demo.sh": "#!/bin/sh\n",
    "demo-1.0.data/data/share/demo/a,b.txt": "data",
    "demo-1.0.data/purelib/demo_extra.py": "y = 2\n",
}
BINARY = {"tag": "cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64"}


def hashed(data):
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"sha256={digest},{len(data)}"


def test_a_pure_wheel_becomes_a_package_for_every_python(wheel, opened, tmp_path):
    metadata = "License-Expression: MIT\nRequires-Python: >=3.9\nRequires-Dist: Typing.Extensions>=4\nSummary: A demo\n"
    path = convert(wheel(files=PURE, metadata=metadata).write(), TARGET, tmp_path / "out")
    package = opened(path)
    index = package.json("index.json")
    assert path.name == f"demo-1.0-{index['build']}.conda"
    assert index["build"].startswith("pyh")
    assert index["build"].endswith("_0")
    assert (index["subdir"], index["noarch"], index["license"]) == ("noarch", "python", "MIT")
    assert index["depends"] == ["python >=3.9", "typing_extensions >=4"]
    assert package.json("link.json") == {
        "noarch": {
            "entry_points": ["Other.Tool = demo.cli:Group.run", "demo = demo.cli:main", "window = demo:show"],
            "type": "python",
        },
        "package_metadata_version": 1,
    }
    assert sorted(package.files) == [
        "python-scripts/demo-run",
        "python-scripts/demo.sh",
        "share/demo/a,b.txt",
        "site-packages/demo-1.0.dist-info/INSTALLER",
        "site-packages/demo-1.0.dist-info/METADATA",
        "site-packages/demo-1.0.dist-info/RECORD",
        "site-packages/demo-1.0.dist-info/WHEEL",
        "site-packages/demo-1.0.dist-info/entry_points.txt",
        "site-packages/demo-1.0.dist-info/licenses/LICENSE",
        "site-packages/demo-1.0.dist-info/licenses/sub/NOTICE",
        "site-packages/demo/__init__.py",
        "site-packages/demo_extra.py",
    ]
    assert package.files["site-packages/demo-1.0.dist-info/INSTALLER"] == b"conda\n"
    assert package.info["licenses/LICENSE"] == b"free\n"
    assert package.info["licenses/sub/NOTICE"] == b"noted\n"
    assert package.json("about.json") == {
        "license": "MIT",
        "license_file": ["LICENSE", "sub/NOTICE"],
        "summary": "A demo",
    }


def test_record_tells_where_and_what_everything_will_be(wheel, opened, tmp_path):
    package = opened(convert(wheel(files=PURE).write(), TARGET, tmp_path / "out"))
    record = package.record("site-packages/demo-1.0.dist-info/RECORD")
    assert record.pop("demo-1.0.dist-info/RECORD") == ","
    for command in ("demo", "window", "Other.Tool", "demo-run"):  # their bytes depend on the prefix
        assert record.pop(f"../../../bin/{command}") == ","
    assert record.pop("../../../share/demo/a,b.txt") == hashed(b"data")
    assert record.pop("../../../bin/demo.sh") == hashed(b"#!/bin/sh\n")
    for path, line in record.items():
        assert line == hashed(package.files[f"site-packages/{path}"])
    assert set(record) == {
        path.removeprefix("site-packages/")
        for path in package.files
        if path.startswith("site-packages/") and not path.endswith("RECORD")
    }


def test_paths_json_and_files_describe_the_payload(wheel, opened, tmp_path):
    path = convert(wheel(files=PURE).write(), TARGET, tmp_path / "out")
    package = opened(path)
    assert package.info["files"].decode().splitlines() == sorted(package.files) == list(package.paths)
    for name, entry in package.paths.items():
        assert entry["sha256"] == hashlib.sha256(package.files[name]).hexdigest()
        assert entry["size_in_bytes"] == len(package.files[name])
        assert entry["path_type"] == "hardlink"
    script = package.paths["python-scripts/demo-run"]
    assert (script["file_mode"], script["prefix_placeholder"]) == ("text", PLACEHOLDER)
    assert package.files["python-scripts/demo-run"].startswith(f"#!{PLACEHOLDER}/bin/python\n".encode())
    assert [name for name, entry in package.paths.items() if "file_mode" in entry] == [
        "python-scripts/demo-run"
    ]
    PathsJson.from_package_archive(path)
    assert [MatchSpec(spec).name.normalized for spec in IndexJson.from_package_archive(path).depends] == [
        "python"
    ]


def test_a_binary_wheel_becomes_a_package_for_one_python(wheel, opened, tmp_path):
    files = {
        "demo/_c.so": b"\x7fELF",
        "demo-1.0.dist-info/entry_points.txt": COMMANDS,
        "demo-1.0.dist-info/COPYING": "old style",
        "demo-1.0.dist-info/licenses/COPYING": "old style",
        "demo-1.0.data/headers/demo.h": "int x;",
        "demo-1.0.data/platlib/demo/plat.py": "",
    }
    built = wheel(**BINARY, files=files, executables=("demo/_c.so",), version="1.0")
    package = opened(convert(built.write(), TARGET, tmp_path / "out"))
    index = package.json("index.json")
    assert (index["subdir"], index["arch"], index["platform"]) == ("linux-64", "x86_64", "linux")
    assert "noarch" not in index
    assert "link.json" not in package.info
    assert index["build"].startswith("py311h")
    assert index["depends"] == ["__glibc >=2.17", "python >=3.11,<3.12.0a0", "python_abi 3.11.* *_cp311"]
    site = "lib/python3.11/site-packages"
    script = package.files["bin/Other.Tool"].decode()
    assert script.startswith(f"#!{PLACEHOLDER}/bin/python\n")
    assert "from demo.cli import Group\n" in script
    assert "sys.exit(Group.run())" in script
    assert package.modes["bin/demo"] == 0o755
    assert package.paths["bin/demo"]["prefix_placeholder"] == PLACEHOLDER
    assert package.modes[f"{site}/demo/_c.so"] == 0o755
    assert package.modes[f"{site}/demo/plat.py"] == 0o644
    assert package.info["licenses/COPYING"] == b"old style"
    record = package.record(f"{site}/demo-1.0.dist-info/RECORD")
    assert record["../../../include/python3.11/demo/demo.h"] == hashed(b"int x;")
    assert record["../../../bin/window"] == ","
    assert package.files["include/python3.11/demo/demo.h"] == b"int x;"


@pytest.mark.parametrize(
    ("tag", "subdir", "build", "depends"),
    [
        ("cp39-abi3-manylinux_2_28_x86_64", "linux-64", "py39h", ["__glibc >=2.28", "python >=3.9"]),
        ("py3-none-manylinux1_x86_64", "linux-64", "py3h", ["__glibc >=2.5", "python"]),
        ("py2.py3-none-any", "noarch", "pyh", ["python"]),
        ("py311-none-any", "noarch", "pyh", ["python >=3.11"]),
        ("cp311-none-any", "noarch", "py311h", ["python >=3.11,<3.12.0a0"]),
    ],
)
def test_tags_decide_what_a_package_serves(wheel, opened, tmp_path, tag, subdir, build, depends):
    index = opened(convert(wheel(tag=tag).write(), TARGET, tmp_path / "out")).json("index.json")
    assert (index["subdir"], index["noarch"], index["depends"]) == (subdir, "python", depends)
    assert index["build"].startswith(build)


def test_headers_tie_a_pure_wheel_to_one_python(wheel, opened, tmp_path):
    built = wheel(files={"demo-1.0.data/headers/a.h": ""})
    index = opened(convert(built.write(), TARGET, tmp_path / "out")).json("index.json")
    assert index["subdir"] == "linux-64"
    assert "noarch" not in index


def test_a_local_version_becomes_the_start_of_the_build_string(wheel, opened, tmp_path):
    built = wheel(name="torch", version="2.13.0+cpu", **BINARY)
    path = convert(built.write(), TARGET, tmp_path / "out")
    package = opened(path)
    assert path.name.startswith("pytorch-2.13.0-cpu_py311h")
    assert (
        b"Version: 2.13.0+cpu"
        in package.files["lib/python3.11/site-packages/torch-2.13.0+cpu.dist-info/METADATA"]
    )


def test_the_source_is_recorded(wheel, opened, tmp_path):
    path = wheel().write()
    stated = opened(convert(path, TARGET, tmp_path / "out")).json("wheel.json")
    assert stated["filename"] == path.name
    assert stated["sha256"] == Digest.of_file(path).hex
    assert {"converter", "compression", "target"} < stated.keys()


def test_a_build_tag_becomes_the_build_number(wheel, opened, tmp_path):
    path = convert(wheel(filename="demo-1.0-7b-py3-none-any.whl").write(), TARGET, tmp_path / "out")
    assert path.stem.endswith("_7")
    assert opened(path).json("index.json")["build_number"] == 7


def test_two_conversions_are_equal_to_the_byte(wheel, opened, tmp_path):
    path = wheel(files=PURE, metadata="Requires-Dist: b\nRequires-Dist: a\n").write()
    one = convert(path, TARGET, tmp_path / "one")
    two = convert(path, TARGET, tmp_path / "two")
    assert one.read_bytes() == two.read_bytes()
    assert opened(one).dates == {1767323046}  # the wheel's own, 2026-01-02 03:04:06


def test_the_order_inside_the_wheel_shows_only_in_its_digest(wheel, opened, tmp_path):
    one = opened(convert(wheel(files=PURE, folder=tmp_path / "a").write(), TARGET, tmp_path / "one"))
    two = opened(
        convert(wheel(files=PURE, folder=tmp_path / "b", reverse=True).write(), TARGET, tmp_path / "two")
    )
    assert list(one.files.items()) == list(two.files.items())
    for name in set(one.info) - {"index.json", "wheel.json"}:
        assert one.info[name] == two.info[name]
    assert {**one.json("index.json"), "build": ""} == {**two.json("index.json"), "build": ""}


GARBAGE = b"PK\x03\x04 not a zip"
BAD = {
    "no zip file": ({}, "not a whole zip", lambda path: path.write_bytes(GARBAGE)),
    "truncated": ({}, "not a whole zip", lambda path: path.write_bytes(path.read_bytes()[:-40])),
    "name is another's": ({"filename": "other-1.0-py3-none-any.whl"}, "says it is demo 1.0", None),
    "version is another's": ({"filename": "demo-1.1-py3-none-any.whl"}, "says it is demo 1.0", None),
    "no wheel's name": ({"filename": "demo.whl"}, "not a wheel file name", None),
    "no METADATA": (
        {"without": ("demo-1.0.dist-info/METADATA",)},
        "has no demo-1.0.dist-info/METADATA",
        None,
    ),
    "no WHEEL": ({"without": ("demo-1.0.dist-info/WHEEL",)}, "has no demo-1.0.dist-info/WHEEL", None),
    "no RECORD": ({"without": ("demo-1.0.dist-info/RECORD",)}, "has no demo-1.0.dist-info/RECORD", None),
    "two dist-infos": ({"files": {"x-1.dist-info/A": ""}}, "has 2 .dist-info", None),
    "path upwards": ({"files": {"../evil.py": ""}}, "unsafe path", None),
    "absolute path": ({"files": {"/etc/evil": ""}}, "unsafe path", None),
    "backslash": ({"files": {"..\\evil": ""}}, "unsafe path", None),
    "control character": ({"files": {"a\nb": ""}}, "unsafe path", None),
    "not in RECORD": ({"files": {"a.py": ""}, "record": {"a.py": None}}, "'a.py' is not in RECORD", None),
    "only in RECORD": ({"record": {"b.py": "b.py,sha256=x,1"}}, "names 'b.py', which is not", None),
    "no hash": ({"files": {"a.py": ""}, "record": {"a.py": "a.py,,"}}, "'a.py' has no sha256", None),
    "weak hash": (
        {"files": {"a.py": ""}, "record": {"a.py": "a.py,md5=AAAA,0"}},
        "'a.py' has no sha256",
        None,
    ),
    "wrong hash": (
        {"files": {"a.py": "1"}, "record": {"a.py": f"a.py,{hashed(b'2')}"}},
        "a.py does not match its hash",
        None,
    ),
    "wrong hash of an empty file": (
        {"files": {"a.py": ""}, "record": {"a.py": f"a.py,{hashed(b'2').partition(',')[0]},0"}},
        "a.py does not match its hash",
        None,
    ),
    "wrong size": ({"files": {"a.py": "1"}, "record": {"a.py": f"a.py,{hashed(b'1')}7"}}, "in RECORD", None),
    "RECORD is no table": ({"record": {"a.py": "a.py"}}, "RECORD is not lines", None),
    "for another platform": ({"tag": "cp311-cp311-win_amd64"}, "is for cp311-cp311-win_amd64, not for", None),
    "for musl": ({"tag": "cp311-cp311-musllinux_1_2_x86_64"}, "not for Python 3.11 on linux-64", None),
    "for another processor": ({"tag": "cp311-cp311-manylinux2014_aarch64"}, "not for Python 3.11", None),
    "for another Python": ({"tag": "cp312-cp312-manylinux2014_x86_64"}, "not for Python 3.11", None),
    "for newer Pythons": ({"metadata": "Requires-Python: >=3.12\n"}, "needs Python >=3.12", None),
    "bad requirement": ({"metadata": "Requires-Dist: ???\n"}, "no known form: '\\?\\?\\?'", None),
    "bad entry point": (
        {"files": {"demo-1.0.dist-info/entry_points.txt": "[console_scripts]\n../../x = a:b\n"}},
        "is not NAME = MODULE:FUNCTION",
        None,
    ),
    "code in an entry point": (
        {"files": {"demo-1.0.dist-info/entry_points.txt": "[console_scripts]\nx = a:b; import os\n"}},
        "is not NAME = MODULE:FUNCTION",
        None,
    ),
    "two files at one path": (
        {"files": {"a.py": "", "demo-1.0.data/purelib/a.py": ""}},
        "two of its files would lie at 'site-packages/a.py'",
        None,
    ),
    "a file where a folder is": (
        {"files": {"a/b.py": "", "a-b.py": "", "demo-1.0.data/purelib/a": ""}},
        "two of its files would lie at 'site-packages/a'",
        None,
    ),
    "data in info": ({"files": {"demo-1.0.data/data/info/index.json": ""}}, "the package's own info/", None),
    "unknown data": ({"files": {"demo-1.0.data/magic/x": ""}}, "unknown folder of .data", None),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_wheel_is_named_with_its_reason_and_leaves_nothing(wheel, tmp_path, case):
    knobs, reason, spoil = BAD[case]
    path = wheel(**knobs).write()
    if spoil:
        spoil(path)
    out = tmp_path / "out"
    with pytest.raises(WheelError, match=reason) as error:
        convert(path, TARGET, out)
    assert str(error.value).startswith(f"{path.name}: ")
    assert "\n" not in str(error.value)
    assert not out.exists() or not list(out.iterdir())


@pytest.mark.parametrize(("mode", "reason"), [(0o120777, "a symbolic link"), (0o010644, "a special file")])
def test_links_and_devices_are_refused(wheel, entry, tmp_path, mode, reason):
    path = wheel(extra_entries=((entry("demo/link", mode), b"/etc/passwd"),)).write()
    with pytest.raises(WheelError, match=f"'demo/link' is {reason}"):
        convert(path, TARGET, tmp_path / "out")


def test_a_wheel_that_unpacks_to_too_much_is_refused(wheel, monkeypatch, tmp_path):
    path = wheel(files={"zeros": bytes(5000)}).write()
    monkeypatch.setattr("sluice.wheels.wheelfile.MAX_SIZE", 4000)
    with pytest.raises(WheelError, match=r"unpacks to .* more than 4000"):
        convert(path, TARGET, tmp_path / "out")
    monkeypatch.setattr("sluice.wheels.wheelfile.MAX_MEMBERS", 3)
    with pytest.raises(WheelError, match="has 4 members, more than 3"):
        convert(path, TARGET, tmp_path / "out")


def test_a_byte_flipped_inside_is_noticed(wheel, tmp_path):
    path = wheel(files={"noise.bin": hashlib.shake_128(b"seed").digest(9000)}).write()
    data = bytearray(path.read_bytes())
    data[data.index(b"noise.bin") + 4000] ^= 1
    path.write_bytes(data)
    with pytest.raises(WheelError, match=r"noise\.bin"):
        convert(path, TARGET, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_file_that_is_not_the_pinned_one_is_refused(wheel, tmp_path):
    pinned = Digest.of(b"other")
    with pytest.raises(WheelError, match=f"pinned is {pinned}"):
        convert(wheel().write(), TARGET, tmp_path / "out", sha256=pinned)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(WheelError, match=r"^demo-1\.0-py3-none-any\.whl: cannot be read"):
        convert(tmp_path / "demo-1.0-py3-none-any.whl", TARGET, tmp_path)


def test_the_second_spelling_of_a_name_is_an_empty_package(wheel, opened, tmp_path):
    built = wheel(name="typing_extensions", version="4.16.0")
    converted = convert_wheel(built.write(), TARGET, lambda subdir: tmp_path / subdir)
    (alias,) = write_alias(converted.path, tmp_path / "noarch")
    package = opened(alias)
    assert alias.name == "typing-extensions-4.16.0-0.conda"
    assert package.files == {}
    assert package.json("index.json")["depends"] == ["typing_extensions ==4.16.0"]


def test_python_abi_is_what_binary_packages_ask_for(opened, tmp_path):
    package = opened(write_python_abi(TARGET, tmp_path))
    assert package.path.name == "python_abi-3.11-2_cp311.conda"
    assert package.json("index.json")["constrains"] == ["python 3.11.*"]
    (tmp_path / "index.json").write_bytes(package.info["index.json"])
    record = PackageRecord.from_index_json(tmp_path / "index.json")
    assert MatchSpec("python_abi 3.11.* *_cp311").matches(record)
    assert not MatchSpec("python_abi 3.11.* *_cp312").matches(record)


def test_a_mark_shows_in_build_string_depends_and_record(wheel, opened, tmp_path):
    path = wheel(tag="cp311-cp311-manylinux_2_28_x86_64").write()
    plain = opened(convert(path, TARGET, tmp_path / "1"))
    mark = Mark("cuda130", ("__cuda >=13",), 200)
    package = opened(convert(path, TARGET, tmp_path / "2", mark=mark))
    index = package.json("index.json")
    assert index["build"].startswith("cuda130_py311h")
    assert index["build"].endswith("_200")
    assert index["build_number"] == 200
    assert set(index["depends"]) - set(plain.json("index.json")["depends"]) == {"__cuda >=13"}
    assert package.json("wheel.json")["mark"] == mark.document()
    assert "mark" not in plain.json("wheel.json")
    assert package.files == plain.files
