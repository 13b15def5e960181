"""Two stacks of one channel, each pinned by a package of its own, and what a solver makes of them."""

import asyncio

import pytest
from rattler import (
    BuildString,
    ChannelPriority,
    Gateway,
    GenericVirtualPackage,
    MatchSpec,
    PackageName,
    Version,
    solve,
)
from rattler.exceptions import SolverError
from rattler.index import index_fs

from sluice.digest import Digest
from sluice.wheels import PinnedWheel, Target, WheelSet, import_sets
from sluice.wheels.manifest import dump, load
from sluice.wheels.mark import UNMARKED, Mark

BINARY = "cp311-cp311-manylinux_2_17_x86_64"
CUDA = Mark("cuda130", ("__cuda >=13",), 200)


class Shelf:
    def __init__(self):
        self.files = {}

    def fetch_all(self, sources, _progress=None):
        return tuple(self.files[source.sha256] for source in sources)


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture
def stack(shelf, tmp_path):
    def write(name, *paths, mark=UNMARKED):
        wheels = []
        for path in paths:
            project, version = path.name.split("-")[:2]
            shelf.files[Digest.of_file(path)] = path
            own = mark if project == "torch" else UNMARKED
            wheels.append(PinnedWheel(project, version, path.name, Digest.of_file(path), mark=own))
        version = next(wheel.version for wheel in wheels if wheel.name == "torch").partition("+")[0]
        folder = tmp_path / "sets" / name
        dump(WheelSet(name, version, Target(), f"{name}.", tuple(wheels), "torch"), folder / "wheels.toml")
        return folder

    return write


@pytest.fixture
def sets(wheel, stack, tmp_path):
    """A stack for CPUs, one for CUDA of the same version, and an old one with an old numpy."""
    numpy = wheel(name="numpy", version="2.4", tag=BINARY).write()
    lib = wheel(name="lib", date=(2026, 5, 6, 7, 8, 10)).write()
    needs = "Requires-Dist: lib\n"
    cpu = wheel(name="torch", version="2.13.0+cpu", tag=BINARY, metadata=needs).write()
    cuda = wheel(name="torch", version="2.13.0", tag=BINARY, metadata=needs).write()
    old = wheel(name="torch", version="1.13.1", tag=BINARY, metadata=needs).write()
    old_numpy = wheel(name="numpy", version="1.26", tag=BINARY).write()
    return [
        stack("pytorch-cpu", cpu, numpy, lib),
        stack("pytorch-cuda130", cuda, numpy, lib, mark=CUDA),
        stack("pytorch-113", old, old_numpy, lib, mark=Mark("cuda117")),
    ]


@pytest.fixture
def channel(sets, shelf, wheel, tmp_path):
    imported = import_sets(sets, shelf, tmp_path / "channel", cache_dir=tmp_path / "cache")
    # What else a solve needs, in place of CPython.
    python = wheel(name="python", version="3.11.2", folder=tmp_path / "python").write()
    shelf.files[Digest.of_file(python)] = python
    pin = PinnedWheel("python", "3.11.2", python.name, Digest.of_file(python))
    folder = tmp_path / "sets" / "python"
    dump(WheelSet("cpython", "1", Target(), "In place of it.", (pin,)), folder / "wheels.toml")
    import_sets([folder], shelf, tmp_path / "channel", cache_dir=tmp_path / "cache")
    asyncio.run(index_fs(tmp_path / "channel"))
    return tmp_path / "channel", imported


def solved(channel, *specs, cuda=None):
    offers = [("__glibc", "2.36"), ("__linux", "6.1"), ("__unix", "0"), *([("__cuda", cuda)] if cuda else [])]
    records = asyncio.run(
        solve(
            [channel.as_uri()],
            [MatchSpec(spec) for spec in specs],
            gateway=Gateway(),
            platforms=["linux-64", "noarch"],
            virtual_packages=[
                GenericVirtualPackage(PackageName(name), Version(version), BuildString("0"))
                for name, version in offers
            ],
            channel_priority=ChannelPriority.Strict,
        )
    )
    return {record.name.normalized: (str(record.version), str(record.build)) for record in records}


def test_a_stack_pins_every_package_of_its_set_by_version_and_build(channel, opened):
    _, imported = channel
    (path,) = (path for path in imported.packages if path.name.startswith("pytorch-113-"))
    package = opened(path)
    index = package.json("index.json")
    assert path.parent.name == index["subdir"] == "linux-64"
    assert "noarch" not in index
    assert (index["version"], index["build"][:9]) == ("1.13.1", "cuda117_h")
    others = [other.name.removesuffix(".conda").rsplit("-", 2) for other in imported.packages]
    built = {f"{name} =={version} {build}" for name, version, build in others}
    assert {spec.split()[0] for spec in index["depends"]} == {"lib", "numpy", "pytorch", "python_abi"}
    assert built.issuperset(index["depends"])
    assert [spec.split()[1] for spec in index["depends"]] == ["==1.0", "==1.26", "==3.11", "==1.13.1"]
    assert index["timestamp"] == 1778051290_000  # of the youngest wheel
    assert package.dates == {1778051290}
    assert package.files == {}
    assert b'name = "pytorch-113"' in package.info["wheels.toml"]


def test_another_pin_is_another_build_and_the_same_pins_are_the_same_bytes(
    sets, shelf, stack, wheel, tmp_path
):
    def made(name, folder):
        paths = import_sets([folder], shelf, tmp_path / name, cache_dir=tmp_path / f"cache-{name}").packages
        return next(path for path in paths if path.name.startswith("pytorch-113-"))

    one, two = made("c1", sets[2]), made("c2", sets[2])
    assert one.read_bytes() == two.read_bytes()
    newer = wheel(name="lib", files={"fixed.py": ""}, folder=tmp_path / "newer").write()
    torch, numpy = (shelf.files[pin.sha256] for pin in load(sets[2]).wheels if pin.name in {"torch", "numpy"})
    again = made("c3", stack("pytorch-113", torch, numpy, newer, mark=Mark("cuda117")))
    assert again.name != one.name


def test_a_stack_is_had_by_its_name(channel):
    folder, _ = channel
    found = solved(folder, "pytorch-cpu=2.13")
    assert found["pytorch"][0] == "2.13.0"
    assert found["pytorch"][1].startswith("cpu_py311h")
    assert found["numpy"][0] == "2.4"
    found = solved(folder, "pytorch-113=1.13")
    assert found["pytorch"][1].startswith("cuda117_")
    assert found["numpy"][0] == "1.26"


def test_two_stacks_do_not_mix(channel):
    folder, _ = channel
    with pytest.raises(SolverError, match=r"numpy|pytorch"):
        solved(folder, "pytorch-113", "pytorch 2.13.*")


def test_only_a_machine_with_a_driver_gets_the_build_for_cuda(channel):
    folder, _ = channel
    assert solved(folder, "pytorch")["pytorch"][1].startswith("cpu_")
    assert solved(folder, "pytorch", cuda="12.8")["pytorch"][1].startswith("cpu_")
    assert solved(folder, "pytorch", cuda="13.0")["pytorch"][1].startswith("cuda130_")
    assert solved(folder, "pytorch-cpu", cuda="13.0")["pytorch"][1].startswith("cpu_")
    with pytest.raises(SolverError, match="__cuda"):
        solved(folder, "pytorch-cuda130")
