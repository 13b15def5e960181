"""The process that runs conda-index: one JSON job on standard input, JSON lines on standard output.

It is a process of its own because conda-index keeps module globals, because the stand-ins for conda
must not be seen by anything else, and because rattler's runtime may crash an interpreter at its exit
(docs/decisions/0006-channel.md). It ends with `os._exit`; its caller judges it by its last line.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sqlite3
import sys
import traceback
from pathlib import Path

from sluice_channel.indexers import conda_names


def main() -> None:
    """Read the job, index, report."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches the whole group; die quietly
    job = json.load(sys.stdin)
    conda_names.supply()
    from sluice_channel.indexers import conda_index_run as run  # noqa: PLC0415 - needs conda's names

    logging.disable(logging.CRITICAL)  # what matters is raised
    try:
        run.build(
            channel=Path(job["channel"]),
            name=job["name"],
            subdirs=tuple(job["subdirs"]),
            stage=Path(job["stage"]),
            cache=Path(job["cache"]),
            tell=_tell,
        )
    except run.BrokenPackageError as error:
        _tell({"broken": str(error)})
    except OSError as error:
        _tell({"failed": f"{error.filename or job['channel']}: {error.strerror or error}"})
    except sqlite3.Error as error:
        _tell({"failed": f"the index cache {job['cache']}: {error}"})
    else:
        _tell({"finished": True})


def _tell(message: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        main()
    except BaseException:  # noqa: BLE001 - the caller shows the last line of it
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)
