import re

import pytest
import yaml
from packaging.requirements import Requirement

from sluice import export
from sluice.digest import Digest
from sluice.export.formats import ExportError
from sluice.lock import Lock, LockedPackage, LockError
from sluice.package import PackageId
from sluice.spec import EnvSpec

URL = "http://h/main"
# conda/misc.py: what `conda create --file` takes for a line, here in our words.
CONDA_LINE = re.compile(
    r"https?://[^#]+/[^/#]+\.(?:conda|tar\.bz2)#(?:[0-9a-f]{32}|(?:sha256:)?[0-9a-f]{64})"
)


def package(name, version, build, *depends, subdir="noarch", md5="b" * 32):
    return LockedPackage(
        PackageId(name, version, build), subdir, f"{URL}/{subdir}/{name}-{version}-{build}.conda",
        Digest("a" * 64), md5=md5, depends=depends,
    )  # fmt: skip


PACKAGES = (
    package("digits", "1.0.0", "h4616a5c_0", "python >=3.11", "pytorch ==2.13.0"),
    package("huggingface_hub", "2.4.0", "pyhf298194_0", "python >=3.10"),
    package("numpy", "2.4.6", "py311hc164dc1_0", "python >=3.11,<3.12.0a0", "python_abi 3.11.* *_cp311"),
    package("python", "3.11.2", "h0c7e068_0_cpython", "__glibc >=2.36", subdir="linux-64"),
    package("python_abi", "3.11", "2_cp311", md5=None),
    package(
        "pytorch", "2.13.0", "cpu_py311h6619dc3_0", "numpy", "huggingface_hub", "python", subdir="linux-64"
    ),
)
LOCK = Lock(Digest("0" * 64), (URL,), {"osx-arm64": PACKAGES[3:5], "linux-64": PACKAGES})
SPEC = EnvSpec("x", ("main",), ("digits", "python 3.11.*"))


def test_explicit_is_what_conda_takes_and_puts_needs_first():
    text = export.explicit(LOCK, "linux-64")
    comment, marker, *lines = text.splitlines()
    assert (comment, marker) == ("# platform: linux-64", "@EXPLICIT")
    assert len(lines) == len(PACKAGES)
    assert all(CONDA_LINE.fullmatch(line) for line in lines)
    names = [line.rpartition("/")[2].rsplit("-", 2)[0] for line in lines]
    assert names.index("python") < names.index("numpy") < names.index("pytorch") < names.index("digits")
    with pytest.raises(LockError, match="no packages for win-64"):
        export.explicit(LOCK, "win-64")


def test_environment_names_only_what_was_asked_for_without_builds():
    assert yaml.safe_load(export.environment(LOCK, "linux-64", "x", SPEC)) == {
        "name": "x",
        "channels": [URL],
        "dependencies": ["digits=1.0.0", "python=3.11.2"],
    }
    guessed = yaml.safe_load(export.environment(LOCK, "linux-64", "x", None))
    assert guessed["dependencies"] == ["digits=1.0.0"]


def test_conda_lock_holds_every_platform():
    document = yaml.safe_load(export.conda_lock(LOCK))
    assert document["version"] == 1
    assert document["metadata"]["platforms"] == ["linux-64", "osx-arm64"]
    assert set(document["metadata"]["content_hash"]) == {"linux-64", "osx-arm64"}
    assert len(document["package"]) == 2 + len(PACKAGES)
    torch = next(item for item in document["package"] if item["name"] == "pytorch")
    assert torch["dependencies"] == {"numpy": "", "huggingface_hub": "", "python": ""}
    assert torch["hash"] == {"md5": "b" * 32, "sha256": "a" * 64}
    abi = next(item for item in document["package"] if item["name"] == "python_abi")
    assert abi["hash"] == {"sha256": "a" * 64}


def test_requirements_are_pypis_and_say_what_is_left_out():
    text, others = export.requirements(LOCK, "linux-64")
    assert others == ("digits", "python", "python_abi")
    assert text.splitlines() == [
        "# not Python projects: digits, python, python_abi",
        "huggingface-hub==2.4.0",
        "numpy==2.4.6",
        "torch==2.13.0",
    ]
    for line in text.splitlines()[1:]:
        Requirement(line)
    better = export.requirements(LOCK, "linux-64", {"digits": "my-digits"})[0]
    assert "my-digits==1.0.0" in better.splitlines()
    with pytest.raises(ExportError, match="no package of this lock for osx-arm64"):
        export.requirements(LOCK, "osx-arm64")


def test_equal_locks_give_equal_bytes():
    again = Lock(Digest("0" * 64), (URL,), {"linux-64": PACKAGES, "osx-arm64": PACKAGES[3:5]})
    assert export.conda_lock(LOCK) == export.conda_lock(again)
    assert export.explicit(LOCK, "linux-64") == export.explicit(again, "linux-64")
