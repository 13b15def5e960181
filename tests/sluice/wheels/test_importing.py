import hashlib
import json
import multiprocessing
from contextlib import contextmanager

import pytest

from sluice.digest import Digest
from sluice.progress import Silent
from sluice.wheels import PinnedWheel, Target, WheelError, WheelSet, WheelSetError, import_set, import_sets
from sluice.wheels.cache import staging
from sluice.wheels.manifest import dump
from sluice.wheels.mark import UNMARKED, Mark

TARGET = Target()
BINARY = "cp311-cp311-manylinux_2_17_x86_64"


class Shelf:
    """A store that has the wheels already, and remembers what was asked of it."""

    def __init__(self):
        self.files, self.asked = {}, []

    def fetch_all(self, sources, _progress=None):
        wanted = list(sources)
        self.asked += [source.name for source in wanted]
        return tuple(self.files[source.filename] for source in wanted)


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture
def pinned(shelf, tmp_path):
    """Write a wheels.toml for wheels and put them on the shelf."""

    def write(name, *paths, stack="", mark=UNMARKED, target=TARGET):
        wheels = []
        for path in paths:
            project, version = path.name.split("-")[:2]
            shelf.files[path.name] = path
            own = mark if project == stack else UNMARKED
            wheels.append(
                PinnedWheel(project.replace("_", "-"), version, path.name, Digest.of_file(path), mark=own)
            )
        folder = tmp_path / "sets" / name
        version = next((wheel.version for wheel in wheels if wheel.name == stack), "1")
        dump(WheelSet(name, version, target, name, tuple(wheels), stack), folder / "wheels.toml")
        return folder

    return write


def contents(channel):
    return {
        path.relative_to(channel).as_posix(): path.read_bytes()
        for path in channel.rglob("*")
        if path.is_file()
    }


def test_a_set_is_converted_once(wheel, pinned, shelf, tmp_path):
    folder = pinned(
        "demo",
        wheel(name="a").write(),
        wheel(name="b", tag=BINARY).write(),
        wheel(name="typing_extensions").write(),
    )
    channel = tmp_path / "channel"
    first = import_set(folder, shelf, channel, cache_dir=tmp_path / "cache")
    assert first.converted == 3
    names = [f"{path.parent.name}/{path.name.rpartition('-')[0]}" for path in first.packages]
    assert names == [
        "linux-64/b-1.0",
        "noarch/a-1.0",
        "noarch/python_abi-3.11",
        "noarch/typing-extensions-1.0",
        "noarch/typing_extensions-1.0",
    ]
    made = contents(channel)
    assert sorted(channel / name for name in made) == list(first.packages)
    shelf.asked.clear()
    shelf.files.clear()
    second = import_set(folder, shelf, channel, cache_dir=tmp_path / "cache")
    assert (second.converted, second.packages, shelf.asked) == (0, first.packages, [])
    assert contents(channel) == made
    elsewhere = import_set(folder, shelf, tmp_path / "other", cache_dir=tmp_path / "cache")
    assert (elsewhere.converted, contents(tmp_path / "other")) == (0, made)
    assert not list((tmp_path / "cache").glob(".staging-*"))


def test_two_caches_give_equal_channels(wheel, pinned, shelf, tmp_path):
    one = pinned("one", wheel(name="a").write(), wheel(name="b").write())
    two = pinned("two", wheel(name="b").write(), wheel(name="a").write())
    import_set(one, shelf, tmp_path / "c1", cache_dir=tmp_path / "k1")
    import_set(two, shelf, tmp_path / "c2", cache_dir=tmp_path / "k2")
    assert contents(tmp_path / "c1") == contents(tmp_path / "c2")


def test_what_was_damaged_is_made_again(wheel, pinned, shelf, tmp_path):
    folder = pinned("demo", wheel(name="a").write())
    channel = tmp_path / "channel"
    (package,) = import_set(folder, shelf, channel, cache_dir=tmp_path / "cache").packages
    good = package.read_bytes()
    package.write_bytes(b"damaged")
    assert import_set(folder, shelf, channel, cache_dir=tmp_path / "cache").converted == 0
    assert package.read_bytes() == good
    for kept in (tmp_path / "cache").rglob("*.conda"):
        kept.write_bytes(good[:-1])
    package.unlink()
    assert import_set(folder, shelf, channel, cache_dir=tmp_path / "cache").converted == 1
    assert package.read_bytes() == good
    for entry in (tmp_path / "cache").rglob("entry.json"):
        entry.write_text("[]")
    assert import_set(folder, shelf, channel, cache_dir=tmp_path / "cache").converted == 1


def test_an_extra_is_taken_from_the_wheel_that_has_it(wheel, pinned, shelf, opened, tmp_path):
    asks = wheel(name="asks", metadata="Requires-Dist: has[fast]\n").write()
    slow = wheel(name="has", metadata='Requires-Dist: c; extra == "fast"\n', folder=tmp_path / "1").write()
    quick = wheel(
        name="has", metadata='Requires-Dist: rust; extra == "fast"\n', folder=tmp_path / "2"
    ).write()

    def depends(folder, channel):
        imported = import_set(folder, shelf, tmp_path / channel, cache_dir=tmp_path / "cache")
        (path,) = (path for path in imported.packages if path.name.startswith("asks"))
        return opened(path).json("index.json")["depends"], opened(path).json("wheel.json")["extras_of"]

    assert depends(pinned("one", asks, slow), "c1") == (["c", "has", "python"], {"has": "1.0"})
    # The same wheel beside another file of its companion is another conversion.
    assert depends(pinned("two", asks, quick), "c2") == (["has", "python", "rust"], {"has": "1.0"})


def test_a_bad_wheel_stops_the_import_and_is_named(wheel, pinned, shelf, tmp_path):
    bad = wheel(name="bad", files={"../x": ""}).write()
    folder = pinned("demo", bad, wheel(name="good").write())
    with pytest.raises(WheelError, match=r"^bad-1\.0-py3-none-any\.whl: member '\.\./x' has an unsafe path$"):
        import_set(folder, shelf, tmp_path / "channel", cache_dir=tmp_path / "cache")
    assert not (tmp_path / "channel").exists()
    assert not list((tmp_path / "cache").glob(".staging-*"))
    assert multiprocessing.active_children() == []


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_has_is_not(wheel, pinned, shelf, tmp_path):
    root = tmp_path / "cache"
    (root / ".staging-dead").mkdir(parents=True)
    (root / ".staging-dead" / "half.conda").write_bytes(b"x")
    with staging(root) as living:
        import_set(pinned("demo", wheel(name="a").write()), shelf, tmp_path / "channel", cache_dir=root)
        assert living.exists()
    assert [path.name for path in root.iterdir() if path.name.startswith(".")] == []


class Interrupting(Silent):
    """Interrupts as the user would, while wheels are being converted."""

    @contextmanager
    def step(self, name, total=None, unit=""):
        with super().step(name, total, unit) as step:
            if name == "convert wheels":

                def interrupt(amount=1):
                    if amount:
                        raise KeyboardInterrupt

                step.advance = interrupt
            yield step


def test_an_interrupt_ends_the_workers_and_a_second_run_finishes(wheel, pinned, shelf, tmp_path):
    noise = hashlib.shake_128(b"seed").digest(1 << 20) * 16
    big = [wheel(name=name, files={f"{name}.bin": noise}).write() for name in "abc"]
    folder = pinned("demo", *big)
    with pytest.raises(KeyboardInterrupt):
        import_set(folder, shelf, tmp_path / "channel", Interrupting(), cache_dir=tmp_path / "cache")
    assert multiprocessing.active_children() == []
    assert not list((tmp_path / "cache").glob(".staging-*"))
    assert not (tmp_path / "channel").exists()
    imported = import_set(folder, shelf, tmp_path / "channel", cache_dir=tmp_path / "cache")
    assert len(imported.packages) == 3
    assert imported.converted > 0


def test_progress_tells_every_byte(wheel, pinned, shelf, tmp_path):
    told = {}

    class Counting(Silent):
        @contextmanager
        def step(self, name, total=None, unit=""):
            with super().step(name, total, unit) as step:
                step.advance = lambda amount=1: told.__setitem__(name, told.get(name, 0) + amount)
                yield step
            told[name] = (told.get(name, 0), total)

    folder = pinned("demo", wheel(name="a", files={"a.bin": bytes(5000)}).write())
    import_set(folder, shelf, tmp_path / "channel", Counting(), cache_dir=tmp_path / "cache")
    for done, total in told.values():
        assert done == total


def test_a_store_that_gives_another_file_is_not_believed(wheel, pinned, shelf, tmp_path):
    folder = pinned("demo", wheel(name="a").write())
    shelf.files["a-1.0-py3-none-any.whl"] = wheel(
        name="a", files={"a.py": "x"}, folder=tmp_path / "evil"
    ).write()
    with pytest.raises(WheelError, match="pinned is"):
        import_set(folder, shelf, tmp_path / "channel", cache_dir=tmp_path / "cache")


def test_a_channel_that_cannot_be_written_is_said_in_one_line(wheel, pinned, shelf, tmp_path):
    folder = pinned("demo", wheel(name="a").write())
    (tmp_path / "channel").write_text("a file")
    with pytest.raises(
        WheelSetError, match=r"cannot write .*channel/noarch.*: (Not a directory|File exists)"
    ):
        import_set(folder, shelf, tmp_path / "channel", cache_dir=tmp_path / "cache")


def test_sets_that_pin_other_files_are_stacks_of_one_channel(wheel, pinned, shelf, tmp_path):
    old = wheel(name="a", tag=BINARY, folder=tmp_path / "1").write()
    new = wheel(name="a", version="2.0", tag=BINARY).write()
    twin = wheel(name="a", version="2.0", tag="cp311-cp311-manylinux_2_28_x86_64").write()
    shared = wheel(name="b").write()
    sets = [
        pinned("one", old, shared, stack="a"),
        pinned("two", new, shared, stack="a"),
        pinned("three", twin, shared, stack="a", mark=Mark("cuda130", ("__cuda >=13",), 200)),
    ]
    channel = tmp_path / "channel"
    imported = import_sets(sets, shelf, channel, cache_dir=tmp_path / "cache")
    names = sorted(path.name.rsplit("-", 2)[0] for path in imported.packages)
    assert names == ["a", "a", "a", "b", "one", "python_abi", "three", "two"]
    assert imported.converted == 4
    assert (
        import_sets(reversed(sets), shelf, channel, cache_dir=tmp_path / "cache").packages
        == imported.packages
    )


def test_sets_for_other_targets_are_imported_apart(wheel, pinned, shelf, tmp_path):
    one = pinned("one", wheel(name="a").write())
    two = pinned("two", wheel(name="a").write(), target=Target("3.12"))
    with pytest.raises(WheelSetError, match=r"two is for .*3\.12.*one for .*3\.11.*one after the other"):
        import_sets([one, two], shelf, tmp_path / "channel", cache_dir=tmp_path / "cache")


def test_sets_that_give_two_packages_of_one_name_are_refused(wheel, pinned, shelf, tmp_path):
    # What differs is recorded inside, but decides neither `depends` nor the name.
    asks = wheel(name="asks", metadata="Requires-Dist: has[fast]\n").write()
    extra = 'Provides-Extra: fast\nRequires-Dist: c; extra == "fast"\n'
    one = pinned("one", asks, wheel(name="has", metadata=extra).write())
    two = pinned("two", asks, wheel(name="has", version="2.0", metadata=extra).write())
    with pytest.raises(WheelSetError, match=r"^asks-1\.0-pyh.*\.conda: wheel sets give different packages"):
        import_sets([one, two], shelf, tmp_path / "channel", cache_dir=tmp_path / "cache")


def test_sets_share_what_they_share(wheel, pinned, shelf, tmp_path):
    shared = wheel(name="a").write()
    one, two = pinned("one", shared), pinned("two", shared, wheel(name="b").write())
    imported = import_sets([one, two], shelf, tmp_path / "channel", cache_dir=tmp_path / "cache")
    assert (len(imported.packages), imported.converted) == (2, 2)
    assert json.loads(next((tmp_path / "cache").rglob("entry.json")).read_text())["companions"] == {}
