"""What every audit log promises, on memory and SQLite."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_channel import audit
from sluice_channel.audit import Actor
from sluice_channel.catalogues.database import Database
from sluice_channel.errors import CatalogueError
from sluice_channel.ledger import Line, Sealed, chained, walk
from sluice_channel.ledgers.memory import MemoryLedger
from sluice_channel.ledgers.sqlite import SqliteLedger

NOW = 1_800_000_000_000
LINE = Line(NOW, "a1", "job", "127.0.0.1", "publish", "main", "noarch/a-1-0.conda", 7, "more")


@pytest.fixture(params=["memory", "sqlite"])
def ledger(request, tmp_path):
    if request.param == "memory":
        yield MemoryLedger()
        return
    database = Database(tmp_path / "catalogue.sqlite")
    yield SqliteLedger(database)
    database.close()


def test_lines_are_numbered_chained_and_come_back_as_they_were(ledger):
    lines = [replace(LINE, detail=str(n), generation=None if n % 2 else n) for n in range(25)]
    sealed = [ledger.append(line) for line in lines]
    assert [each.number for each in sealed] == list(range(1, 26))
    assert [each.line for each in sealed] == lines
    assert sealed[0].digest == chained(None, lines[0])
    assert all(after.digest == chained(before.digest, after.line) for before, after in pairwise(sealed))
    assert list(walk(ledger)) == sealed
    assert ledger.lines(after=20, limit=2) == tuple(sealed[20:22])
    assert ledger.last(3) == tuple(sealed[-3:])
    assert audit.verify(ledger) == audit.Verdict(25, sealed[-1].digest)


def test_a_head_that_was_noted_must_be_there(ledger):
    first = ledger.append(LINE)
    ledger.append(LINE)
    assert not audit.verify(ledger, first.digest).problem
    assert "cut off" in audit.verify(ledger, chained(first.digest, replace(LINE, who="x"))).problem


def test_what_is_recorded_does_a_terminal_no_harm(ledger):
    sealed = audit.record(ledger, Actor("-", "a\x1b[2Jb\n", "x" * 900), "denied", now=NOW)
    assert sealed.line.name == "a\ufffd[2Jb\ufffd"
    assert len(sealed.line.address) == 500


@given(
    st.lists(
        st.builds(replace, st.just(LINE), who=st.text(max_size=5), detail=st.text(max_size=5)),
        min_size=2,
        max_size=8,
    ),
    st.data(),
)
def test_any_change_is_found(lines, data):
    """Changed, taken out, swapped or put in: the chain says so."""
    ledger = MemoryLedger()
    for line in lines:
        ledger.append(line)
    kept = list(ledger._lines)
    where = data.draw(st.integers(0, len(lines) - 2))
    match data.draw(st.sampled_from(["change", "take out", "swap", "put in"])):
        case "change":
            kept[where] = replace(kept[where], line=replace(kept[where].line, at=1))
        case "take out":
            del kept[where]
        case "swap":
            kept[where], kept[where + 1] = kept[where + 1], kept[where]
        case "put in":
            forged = replace(LINE, who="forged")
            kept.insert(
                where, Sealed(where + 1, forged, chained(kept[where - 1].digest if where else None, forged))
            )
    ledger._lines = kept
    assert audit.verify(ledger).problem


COPY = "SELECT {number}, at, who, name, address, action, channel, package, generation, 'forged', digest FROM audit"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET who = 'me' WHERE number = 1",
        "DELETE FROM audit WHERE number = 2",
        "DELETE FROM audit",
        f"INSERT OR REPLACE INTO audit {COPY.format(number=1)} WHERE number = 1",
        f"INSERT INTO audit {COPY.format(number=9)} WHERE number = 1",
    ],
)
def test_the_file_refuses_everything_but_the_next_line(tmp_path, statement):
    database = Database(tmp_path / "catalogue.sqlite")
    ledger = SqliteLedger(database)
    before = [ledger.append(LINE), ledger.append(LINE)]
    other = sqlite3.connect(tmp_path / "catalogue.sqlite")
    with pytest.raises(sqlite3.IntegrityError, match="only appended to"):
        other.execute(statement)
    other.close()
    assert list(walk(ledger)) == before
    database.close()


def test_a_line_changed_behind_the_triggers_is_found(tmp_path):
    database = Database(tmp_path / "catalogue.sqlite")
    ledger = SqliteLedger(database)
    for _ in range(3):
        ledger.append(LINE)
    other = sqlite3.connect(tmp_path / "catalogue.sqlite", isolation_level=None)
    other.execute("DROP TRIGGER audit_no_update")
    other.execute("UPDATE audit SET who = 'somebody else' WHERE number = 2")
    other.close()
    assert audit.verify(ledger) == audit.Verdict(
        1, ledger.lines()[0].digest, "line 2 or the one before it is not what was written"
    )
    database.close()


def test_a_change_and_its_line_are_kept_or_lost_as_one(tmp_path):
    database = Database(tmp_path / "catalogue.sqlite")
    ledger = SqliteLedger(database)

    def fail():
        with ledger.together():
            ledger.append(replace(LINE, detail="lost"))
            with database.writing() as db:
                db.execute("SELECT * FROM nothing")

    with pytest.raises(CatalogueError):
        fail()
    assert ledger.lines() == ()
    with ledger.together():
        ledger.append(LINE)
        with pytest.raises(CatalogueError):
            fail()
        ledger.append(LINE)
    assert [each.line for each in walk(ledger)] == [LINE, LINE]
    assert not audit.verify(ledger).problem
    database.close()


def test_processes_write_one_chain(tmp_path):
    path = tmp_path / "catalogue.sqlite"
    script = (
        "import sys; from pathlib import Path\n"
        "from sluice_channel.catalogues.database import Database\n"
        "from sluice_channel.ledger import Line\n"
        "from sluice_channel.ledgers.sqlite import SqliteLedger\n"
        "database = Database(Path(sys.argv[1])); ledger = SqliteLedger(database)\n"
        "[ledger.append(Line(n, sys.argv[2], '', '', 'x')) for n in range(50)]\n"
        "database.close()\n"
    )
    database = Database(path)
    SqliteLedger(database)
    database.close()
    processes = [subprocess.Popen([sys.executable, "-c", script, str(path), str(n)]) for n in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    database = Database(path)
    assert audit.verify(SqliteLedger(database)).lines == 100
    database.close()
