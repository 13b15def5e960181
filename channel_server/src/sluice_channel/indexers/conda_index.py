"""The indexer port by conda-index, run in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from sluice_channel.errors import IndexingError
from sluice_channel.index import Job

_PROCESS = "sluice_channel.indexers.conda_index_process"


class CondaIndex:
    """conda-index 0.13: the same documents that `conda index` writes, for the same packages."""

    def build(self, job: Job, on_package: Callable[[str, int], None]) -> None:
        """Write every document of every subdir of the job; see the port.

        Raises:
            IndexingError: a package is malformed, or conda-index failed.

        """
        fields = asdict(job)
        lock_fd = fields.pop("lock_fd")
        # A file and not a pipe: a process that says much there must not stop for want of a reader.
        with tempfile.TemporaryFile("w+", encoding="utf-8") as complaints:
            with subprocess.Popen(
                [sys.executable, "-P", "-m", _PROCESS],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                text=True,
                encoding="utf-8",
                pass_fds=(lock_fd,),
                env={**os.environ, "PYTHONHASHSEED": "0", "TZ": "UTC"},
            ) as process:
                try:
                    ending = _converse(process, json.dumps(fields, default=str), on_package)
                except BaseException:
                    process.kill()
                    raise
            if ending.get("finished"):
                return
            if "broken" in ending:
                raise IndexingError(f"{ending['broken']}; mend or remove it, and index again")
            if "failed" in ending:
                raise IndexingError(
                    f"cannot index {job.channel}: {ending['failed']}; the old index is in place"
                )
            complaints.seek(0)
            ended = f"it ended with status {process.returncode}"
            last = (complaints.read().strip().splitlines() or [ended])[-1]
        raise IndexingError(f"conda-index failed in {job.channel}: {last[:500]}")


def _converse(
    process: subprocess.Popen[str], job: str, on_package: Callable[[str, int], None]
) -> dict[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(job)
        process.stdin.close()
    except BrokenPipeError:
        return {}  # it died at once; its last words are on its standard error
    ending: dict[str, Any] = {}
    for line in process.stdout:
        try:
            message = json.loads(line)
        except ValueError:
            continue  # a library printed something
        if "package" in message:
            on_package(message["package"], message["of"])
        else:
            ending = message
    return ending
