"""The SQLite file of the queue: opened, made, or brought to the version that this Sluice reads."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from sluice_scheduler.errors import QueueError
from sluice_scheduler.queues.rows import SQL

VERSION: Final = 4  # 1 had no receipts, 2 no batches, 3 no tenants, changes and tallies
_OLDEST: Final = 1


def connect(path: Path) -> sqlite3.Connection:
    """Open or create the file.

    Raises:
        QueueError: another version of Sluice wrote it.
        sqlite3.Error: it cannot be opened.

    """
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)  # `Connection` has a lock
    db.row_factory = sqlite3.Row
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA foreign_keys = ON")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version != VERSION:
            script = "\n".join(SQL[step] for step in steps(path, version))
            db.executescript(f"BEGIN; {script}\nPRAGMA user_version = {VERSION}; COMMIT;")
    except BaseException:
        db.close()
        raise
    return db


def steps(path: Path, version: int) -> list[str]:
    """Name the statements that make a file of a version one of the present version; 0 is an empty file.

    Raises:
        QueueError: it is a version that this Sluice does not know.

    """
    if version == 0:
        return ["schema", "since_4"]
    if not _OLDEST <= version < VERSION:
        raise QueueError(
            f"the queue {path} has schema {version}, this Sluice reads {VERSION}; "
            "use the version that wrote it or another state folder"
        )
    return [*(f"upgrade_{old}" for old in range(version, VERSION)), "since_4"]
