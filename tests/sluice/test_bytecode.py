import py_compile
import sys
from pathlib import Path

import pytest

from sluice.bytecode import Suspect, check, source_of
from sluice.realise import PrefixStore, realise
from sluice.solve import lock_spec
from sluice.spec import EnvSpec
from sluice.testing import File, TinyPackage, index
from sluice.verify import verify

MODES = [
    py_compile.PycInvalidationMode.TIMESTAMP,
    py_compile.PycInvalidationMode.CHECKED_HASH,
    py_compile.PycInvalidationMode.UNCHECKED_HASH,
]
SITE = "lib/python3.11/site-packages"
CACHED = f"{SITE}/__pycache__/pure.cpython-311.pyc"
SOURCE = b"def f(x):\n    return x in {1.0, 2, 'a'} and (lambda: -0.0)()\n"


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """Compile the module as a package would bring it."""
    folder = tmp_path_factory.mktemp("shipped")
    (folder / "brought.py").write_bytes(SOURCE)
    made = py_compile.compile(str(folder / "brought.py"), dfile="brought.py", invalidation_mode=MODES[2])
    return Path(made).read_bytes()


@pytest.fixture
def prefix(tmp_path, tmp_path_factory, shipped):
    """Realise a prefix whose interpreter is the one that runs the tests."""
    root = tmp_path / "channel"
    python = TinyPackage(
        "python", "3.11.2", "0_cpython", subdir="linux-64", noarch=None,
        extra={"python_site_packages_path": SITE},
        files={"bin/python": File(f'#!/bin/sh\nexec {sys.executable} "$@"\n'.encode(), executable=True)},
    )  # fmt: skip
    pure = TinyPackage("pure", depends=["python"], subdir="linux-64", noarch=None, files={
        f"{SITE}/pure.py": File(SOURCE),
        f"{SITE}/brought.py": File(SOURCE),
        f"{SITE}/__pycache__/brought.cpython-311.pyc": File(shipped),
    })  # fmt: skip
    for package in (python, pure):
        package.write(root)
    index(root)
    lock = tmp_path / "pixi.lock"
    lock.write_bytes(lock_spec(EnvSpec("x", (root.as_uri(),), ("pure",)), {}))
    return realise(lock, PrefixStore(tmp_path_factory.mktemp("p"))).prefix


def compile_(prefix, mode, source=None, optimize=-1):
    """Let Python write the .pyc of the module, of another source if one is given; give it."""
    target = prefix / SITE / "pure.py"
    if source is None:
        return Path(py_compile.compile(str(target), invalidation_mode=mode, optimize=optimize))
    original, times = target.read_bytes(), target.stat()
    made = Path(py_compile.compile(str(target), invalidation_mode=mode))
    header = made.read_bytes()[:16]
    spare = prefix.parent / "other.py"
    spare.write_bytes(source)
    other = Path(py_compile.compile(str(spare), dfile=str(target)))
    made.write_bytes(header + other.read_bytes()[16:])
    assert (target.read_bytes(), target.stat().st_mtime_ns) == (original, times.st_mtime_ns)
    return made


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("optimize", [0, 1, 2])
def test_what_python_wrote_is_not_a_change(prefix, mode, optimize):
    compile_(prefix, mode, optimize=optimize)
    assert verify(prefix) == ()
    assert verify(prefix, deep=True) == ()


@pytest.mark.parametrize("mode", MODES)
def test_code_that_its_source_does_not_give_is_found_under_a_right_header(prefix, mode):
    compile_(prefix, mode, SOURCE.replace(b"-0.0", b"0.0"))
    assert verify(prefix) == ()
    differences = verify(prefix, deep=True)
    assert [(item.path, item.change, item.found) for item in differences] == [
        (CACHED, "bytecode", "code that its source does not give")
    ]


@pytest.mark.parametrize("mode", MODES)
def test_a_header_of_another_source_is_found_without_deep(prefix, mode):
    made = compile_(prefix, mode)
    data = bytearray(made.read_bytes())
    data[9] ^= 1
    made.write_bytes(data)
    assert [(item.path, item.change) for item in verify(prefix)] == [(CACHED, "bytecode")]


def test_a_brought_pyc_that_was_altered_is_found_without_deep_and_one_made_anew_is_none(prefix):
    made = prefix / SITE / "__pycache__/brought.cpython-311.pyc"
    data = made.read_bytes()
    made.unlink()
    made.write_bytes(data.replace(b"\x02", b"\x03", 1) if data[16:].count(b"\x02") else data[:-1])
    (difference,) = verify(prefix)
    assert (difference.path, difference.change, difference.package) == (
        f"{SITE}/__pycache__/brought.cpython-311.pyc", "bytecode", "pure-1.0-0"
    )  # fmt: skip
    py_compile.compile(str(prefix / SITE / "brought.py"), invalidation_mode=MODES[1])
    assert verify(prefix, deep=True) == ()
    made.unlink()
    assert verify(prefix, deep=True) == ()


def test_byte_code_without_its_source_is_named(prefix):
    compile_(prefix, MODES[0]).rename(prefix / SITE / "lonely.pyc")
    (difference,) = verify(prefix)
    assert (difference.path, difference.found) == (f"{SITE}/lonely.pyc", "byte code without its source")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"short", "cut short"),
        (b"\0" * 16, "time or size"),
        (b"HEADER", "cannot be read"),
        (b"HEADER" + b"\xff" * 50, "cannot be read"),
    ],
)
def test_damaged_byte_code_is_named_and_what_follows_is_still_looked_at(prefix, data, said):
    made = compile_(prefix, MODES[0])
    made.write_bytes(data.replace(b"HEADER", made.read_bytes()[:16]))
    assert [said in item.found for item in verify(prefix, deep=True)] == [True]


def test_byte_code_of_another_python_is_never_run_and_so_no_change(prefix):
    made = compile_(prefix, MODES[1])
    data = bytearray(made.read_bytes())
    data[0] ^= 1
    made.with_name("pure.cpython-399.pyc").write_bytes(data[:20])
    assert verify(prefix, deep=True) == ()


def test_an_interpreter_that_differs_is_not_run(prefix, tmp_path):
    compile_(prefix, MODES[1])
    python = prefix / "bin/python"
    python.unlink()
    python.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    python.chmod(0o755)
    assert {item.path for item in verify(prefix, deep=True)} == {"bin/python", CACHED}
    assert not (tmp_path / "ran").exists()


def test_byte_code_that_kills_its_reader_is_named_and_the_rest_is_checked(tmp_path):
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin/python"
    python.write_text(f'#!/bin/sh\nexec timeout 0.0001 {sys.executable} "$@"\n')
    python.chmod(0o755)
    for name in "ab":
        (tmp_path / f"{name}.py").write_bytes(b"")
        py_compile.compile(str(tmp_path / f"{name}.py"), str(tmp_path / f"{name}.pyc"))
    found = check(tmp_path, [Suspect("a.pyc", code=True), Suspect("b.pyc", code=True)], trusted=True)
    assert set(found) == {"a.pyc", "b.pyc"}
    assert "ends the interpreter" in found["a.pyc"]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("lib/__pycache__/a.cpython-311.pyc", "lib/a.py"),
        ("lib/__pycache__/a.b.cpython-311.opt-1.pyc", "lib/a.b.py"),
        ("__pycache__/a.pypy-73.pyc", "a.py"),
        ("lib/a.pyc", "lib/a.py"),
    ],
)
def test_a_pyc_names_its_source(path, source):
    assert source_of(path) == source


def test_checking_leaves_nothing_behind(prefix):
    compile_(prefix, MODES[0])
    before = sorted(path.name for path in prefix.rglob("*"))
    verify(prefix, deep=True)
    assert sorted(path.name for path in prefix.rglob("*")) == before
