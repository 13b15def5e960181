"""What every MirrorStore does, run on each."""

import pytest

from sluice_channel.catalogues.database import Database
from sluice_channel.mirror.memory import MemoryMirrors
from sluice_channel.mirror.rules import Rules
from sluice_channel.mirror.sqlite import SqliteMirrors
from sluice_channel.mirror.upstream import Seen

RULES = Rules("https://example.org/forge", allow=("numpy", "py*"), deny=("pyx",), fresh=5, stale=50)


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    if request.param == "memory":
        yield MemoryMirrors()
        return
    database = Database(tmp_path / "c.sqlite")
    yield SqliteMirrors(database)
    database.close()


def test_a_mirror_is_kept_with_its_rules(store):
    assert store.find("forge") is None
    store.follow("forge", RULES)
    found = store.find("forge")
    assert (found.channel, found.rules, found.checked_at, found.problem) == ("forge", RULES, 0, "")
    assert store.mirrors() == (found,)


def test_what_was_seen_is_kept_until_the_rules_change(store):
    store.follow("forge", RULES)
    assert store.seen("forge", "noarch") == Seen()
    seen = Seen("repodata.json", '"tag"', {"a": "b"})
    store.note("forge", "noarch", seen)
    store.note("forge", "linux-64", Seen("x", "y"))
    assert store.seen("forge", "noarch") == seen
    store.checked("forge", 7, "")
    store.follow("forge", Rules("file:///other"))
    assert store.seen("forge", "noarch") == Seen()
    assert store.find("forge").checked_at == 0


def test_a_problem_leaves_the_time_of_the_last_answer(store):
    store.follow("forge", RULES)
    store.checked("forge", 7, "")
    store.checked("forge", 9, "no answer")
    assert (store.find("forge").checked_at, store.find("forge").problem) == (7, "no answer")
    store.checked("forge", 11, "")
    assert (store.find("forge").checked_at, store.find("forge").problem) == (11, "")
    store.checked("other", 1, "")


def test_unfollowing_forgets(store):
    store.follow("forge", RULES)
    store.note("forge", "noarch", Seen("x"))
    store.unfollow("forge")
    store.unfollow("forge")
    assert store.find("forge") is None
    assert store.seen("forge", "noarch") == Seen()
