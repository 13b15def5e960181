"""What every Advisories does, run on each."""

import pytest

from sluice.digest import Digest
from sluice_channel.catalogues.database import Database
from sluice_channel.vulnerabilities.advisories import Edition
from sluice_channel.vulnerabilities.memory import MemoryAdvisories
from sluice_channel.vulnerabilities.osv import Advisory, Affected
from sluice_channel.vulnerabilities.sqlite import SqliteAdvisories


@pytest.fixture(params=["memory", "sqlite"])
def advisories(request, tmp_path):
    if request.param == "memory":
        yield MemoryAdvisories()
        return
    database = Database(tmp_path / "c.sqlite")
    yield SqliteAdvisories(database)
    database.close()


def advisory(identifier, *projects):
    affected = tuple(Affected(each, ((("introduced", "0"), ("fixed", "2")),), ("1.0",)) for each in projects)
    return Advisory(identifier, "2026-01-01", "s", ("CVE-1",), "HIGH", 7.5, "CVSS:3.1/x", affected, 1)


def edition(number):
    return Edition(Digest.of(b"%d" % number), number, 2, 3, 4, 5)


def test_nothing_is_there_before_the_first_edition(advisories):
    assert advisories.edition() is None
    assert advisories.about(["torch"]) == {}


def test_an_edition_replaces_the_one_before(advisories):
    a, b = advisory("A", "torch", "numpy"), advisory("B", "torch")
    advisories.replace(edition(1), [b, a])
    assert advisories.edition() == edition(1)
    assert advisories.about(["torch", "numpy", "other"]) == {"torch": (a, b), "numpy": (a,)}
    assert advisories.about([]) == {}
    c = advisory("C", "numpy")
    advisories.replace(edition(2), [c])
    assert advisories.edition() == edition(2)
    assert advisories.about(["torch", "numpy"]) == {"numpy": (c,)}


def test_of_two_with_one_id_the_last_counts(advisories):
    advisories.replace(edition(1), [advisory("A", "torch"), advisory("A", "numpy")])
    assert set(advisories.about(["torch", "numpy"])) == {"numpy"}
