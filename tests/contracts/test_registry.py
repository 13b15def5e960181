"""What every Registry does, run on each."""

import pytest

from sluice.digest import Digest
from sluice.lock import Lock, LockedPackage
from sluice.package import PackageId
from sluice_channel.catalogues.database import Database
from sluice_channel.errors import ConflictError, NoEnvironmentError
from sluice_channel.registries.memory import MemoryRegistry
from sluice_channel.registries.sqlite import SqliteRegistry
from sluice_channel.registry import Deployment, Named, Registration

NAME = "vision-digits-pt213-cpu"
OTHER = "vision-digits-pt213-mps"


def locked(filename, subdir="linux-64"):
    return LockedPackage(
        PackageId.parse(filename),
        subdir,
        f"http://h/main/{subdir}/{filename}",
        Digest.of(filename.encode()),
        "0" * 32,
        9,
        ("python >=3",),
        ("pkg:pypi/a",),
    )


def registration(*filenames, name=NAME, spec="name: x\n", generation=0, platforms=("linux-64",), by="ann"):
    text = ("\n".join((*filenames, *platforms))).encode()
    packages = tuple(sorted(locked(filename) for filename in filenames))
    lock = Lock(
        Digest.of(text),
        ("http://h/main",),
        dict.fromkeys(platforms, packages),
        {"linux-64": ("__glibc=2.28",)},
    )
    return Registration(name, spec, "pixi", text, lock, generation, None, by)


A, AB = registration("a-1-0.conda"), registration("a-1-0.conda", "b-1-0.conda")


@pytest.fixture(params=["memory", "sqlite"])
def registry(request, tmp_path):
    if request.param == "memory":
        yield MemoryRegistry()
        return
    database = Database(tmp_path / "c.sqlite")
    yield SqliteRegistry(database)
    database.close()


def test_a_registration_is_kept_whole(registry):
    version, new = registry.register("main", AB, now=7)
    assert new
    assert (version.number, version.made_at, version.packages, version.by) == (1, 7, 2, "ann")
    assert (version.lock, version.size) == (AB.lock.digest, len(AB.text))
    assert version.platforms == ("linux-64",)
    assert registry.newest("main", NAME) == version
    assert registry.spec("main", version) == AB.spec
    assert registry.text("main", version) == AB.text
    lock = registry.lock("main", version)
    assert (lock, lock.on("linux-64")[0].depends) == (AB.lock, ("python >=3",))
    assert lock.on("linux-64")[0].purls == ("pkg:pypi/a",)


def test_the_same_again_changes_nothing_and_a_change_of_either_text_does(registry):
    first, _ = registry.register("main", A, now=1)
    stamp = registry.stamp()
    assert registry.register("main", A, now=2) == (first, False)
    assert registry.stamp() == stamp
    again = registration("a-1-0.conda", spec="name: y\n")
    second, new = registry.register("main", again, now=3)
    assert (new, second.number, second.lock) == (True, 2, first.lock)
    assert registry.spec("main", first) == A.spec
    assert registry.spec("main", second) == "name: y\n"


def test_going_back_to_an_old_lock_is_a_new_version(registry):
    for number, each in enumerate((A, AB, A), 1):
        assert registry.register("main", each, now=number)[0].number == number
    assert [version.number for version in registry.history("main", NAME)] == [3, 2, 1]
    assert registry.version("main", NAME, A.lock.digest).number == 3
    assert registry.version("main", NAME, 1).lock == A.lock.digest
    assert [each.number for each in registry.history("main", NAME, before=3, limit=1)] == [2]


def test_environments_are_seen_as_they_were_at_a_generation(registry):
    registry.register("main", registration("a-1-0.conda", generation=3), now=1)
    registry.register("main", registration("b-1-0.conda", generation=5), now=2)
    registry.register("main", registration("c-1-0.conda", name=OTHER, generation=5), now=3)
    assert registry.newest("main", NAME, 4).number == 1
    assert registry.newest("main", NAME, 5).number == 2
    assert [each.environment for each in registry.environments("main", 4)] == [NAME]
    assert [each.environment for each in registry.environments("main")] == [NAME, OTHER]
    with pytest.raises(NoEnvironmentError, match="generation 2"):
        registry.newest("main", NAME, 2)


def test_channels_are_apart(registry):
    registry.register("main", A, now=1)
    registry.register("main/label/dev", AB, now=1)
    assert registry.newest("main/label/dev", NAME).packages == 2
    assert registry.environments("other") == ()
    assert registry.users("other", "a", limit=9) == ()


def test_what_is_not_there_is_said_not_to_be_there(registry):
    version, _ = registry.register("main", A, now=1)
    for call in (
        lambda: registry.newest("main", OTHER),
        lambda: registry.version("main", OTHER, 1),
        lambda: registry.version("main", NAME, 2),
        lambda: registry.version("main", NAME, AB.lock.digest),
        lambda: registry.history("main", OTHER),
        lambda: registry.text("other", version),
        lambda: registry.withdraw("main", OTHER, "d"),
        lambda: registry.deployments("main", OTHER, now=1),
        lambda: registry.report("main", Deployment(NAME, "d", AB.lock.digest, 1, 2), limit=9),
    ):
        with pytest.raises(NoEnvironmentError):
            call()


def test_who_uses_a_package_by_name_and_by_file_name(registry):
    registry.register("main", AB, now=1)
    registry.register("main", A, now=2)
    registry.register("main", registration("b-1-0.conda", name=OTHER), now=3)
    found = registry.users("main", "b", limit=9)
    assert [(each.version.environment, each.version.number, each.current) for each in found] == [
        (NAME, 1, False),
        (OTHER, 1, True),
    ]
    assert [each.version.number for each in registry.users("main", "a", limit=9)] == [2, 1]
    assert [each.version.environment for each in registry.users("main", "b", limit=9, current=True)] == [
        OTHER
    ]
    assert registry.users("main", "b-1-0.conda", limit=9) == found
    assert registry.users("main", "b-2-0.conda", limit=9) == ()
    assert len(registry.users("main", "b", limit=1)) == 1
    user = found[0]
    assert (user.platform, user.filename) == ("linux-64", "b-1-0.conda")
    assert user.sha256 == Digest.of(b"b-1-0.conda")


def test_every_package_of_every_version_is_named_for_ever(registry):
    registry.register("main", AB, now=1)
    registry.register("main", A, now=2)
    registry.register("main", registration("c-1-0.conda", name=OTHER), now=2)
    expected = sorted(Digest.of(f"{name}-1-0.conda".encode()) for name in "abc")
    assert list(registry.named_digests()) == expected
    assert registry.named(Digest.of(b"b-1-0.conda")) == (Named("main", NAME, 1),)
    assert registry.named(Digest.of(b"a-1-0.conda")) == (Named("main", NAME, 2),)
    assert registry.named(Digest.of(b"x")) == ()


def test_deployments_are_kept_for_their_time(registry):
    registry.register("main", A, now=1)
    registry.register("main", registration("c-1-0.conda", name=OTHER), now=1)
    one = Deployment(NAME, "gpu-1", A.lock.digest, 10, 20, {"host": "h"})
    registry.report("main", one, limit=2)
    assert registry.deployments("main", now=19) == (one,)
    assert registry.deployments("main", NAME, now=19) == (one,)
    assert registry.deployments("main", OTHER, now=19) == ()
    assert registry.deployments("main", now=20) == ()
    later = Deployment(NAME, "gpu-1", A.lock.digest, 15, 30)
    registry.report("main", later, limit=1)
    assert registry.deployments("main", now=20) == (later,)
    registry.withdraw("main", NAME, "gpu-1")
    registry.withdraw("main", NAME, "gpu-1")
    assert registry.deployments("main", now=20) == ()


def test_deployments_are_bounded_and_those_whose_time_is_up_do_not_count(registry):
    registry.register("main", A, now=1)
    for number in range(2):
        registry.report("main", Deployment(NAME, f"d{number}", A.lock.digest, 10, 20), limit=2)
    with pytest.raises(ConflictError, match="2 deployments"):
        registry.report("main", Deployment(NAME, "d2", A.lock.digest, 10, 20), limit=2)
    registry.report("main", Deployment(NAME, "d1", A.lock.digest, 11, 21), limit=2)
    registry.report("main", Deployment(NAME, "d2", A.lock.digest, 20, 30), limit=2)
    assert [each.id for each in registry.deployments("main", now=20)] == ["d1", "d2"]


def test_what_changed_since_a_stamp(registry):
    assert (registry.stamp(), registry.changed(0)) == (0, ())
    registry.register("main", A, now=1)
    stamp = registry.stamp()
    assert registry.changed(stamp) == ()
    registry.register("main", registration("c-1-0.conda", name=OTHER), now=2)
    assert registry.changed(stamp) == (("main", OTHER),)
    assert registry.changed(0) == (("main", NAME), ("main", OTHER))


def test_two_platforms_count_a_package_once(registry):
    both = registration("a-1-0.conda", platforms=("linux-64", "linux-aarch64"))
    version, _ = registry.register("main", both, now=1)
    assert (version.packages, version.platforms) == (1, ("linux-64", "linux-aarch64"))
    assert [each.platform for each in registry.users("main", "a", limit=9)] == ["linux-64", "linux-aarch64"]
