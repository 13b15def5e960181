"""The catalogue's file: an older one is brought up to date, an unknown one refused."""

import json
import sqlite3
from contextlib import closing

import pytest

from sluice.digest import Digest
from sluice_channel.catalogues.sqlite import SqliteCatalogue
from sluice_channel.entry import Package, Publish
from sluice_channel.errors import CatalogueError

FIRST = """
ALTER TABLE generation RENAME TO later;
CREATE TABLE generation (
    channel INTEGER NOT NULL REFERENCES channel, number INTEGER NOT NULL, made_at INTEGER NOT NULL,
    digest TEXT NOT NULL, changes TEXT NOT NULL, PRIMARY KEY (channel, number)
) STRICT, WITHOUT ROWID;
INSERT INTO generation SELECT * FROM later;
DROP TABLE later;
PRAGMA user_version = 1;
"""


def published(number):
    filename = f"app-{number}.0-0.conda"
    record = {"name": "app", "version": f"{number}.0", "build": "0", "build_number": 0, "depends": []}
    return Publish(
        Package(
            Digest(f"{number:064x}"),
            1,
            "noarch",
            filename,
            json.dumps(record | {"subdir": "noarch"}),
            "{}",
            "{}",
        )
    )


def schema(path):
    with closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT name, sql FROM sqlite_schema WHERE tbl_name = 'generation'").fetchall()


def test_a_file_of_the_first_format_is_brought_up_to_date(tmp_path):
    old, fresh = tmp_path / "old.sqlite", tmp_path / "fresh.sqlite"
    SqliteCatalogue(fresh).close()
    catalogue = SqliteCatalogue(old)
    catalogue.create("main", now=1)
    made = [catalogue.change("main", [published(number)], now=number) for number in (1, 2)]
    catalogue.close()
    with closing(sqlite3.connect(old)) as db:
        db.executescript(FIRST)
    assert schema(old) != schema(fresh)
    for _ in range(2):  # brought up to date, and then left as it is
        catalogue = SqliteCatalogue(old)
        assert [catalogue.generation("main", one.number) for one in made] == made
        assert catalogue.channel("main").generation == 2
        catalogue.close()
    catalogue = SqliteCatalogue(old)
    assert catalogue.change("main", [published(3)], now=3).number == 3
    catalogue.close()
    assert [name for name, _ in schema(old)] == [name for name, _ in schema(fresh)]


def test_a_file_of_a_later_format_is_refused(tmp_path):
    with closing(sqlite3.connect(tmp_path / "q")) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(CatalogueError, match="format 99"):
        SqliteCatalogue(tmp_path / "q")
