"""What processes take, measured on real ones."""

import os
import subprocess
import sys

from sluice_scheduler import footprint

LARGE = 64 << 20  # bytes
CHILD = f"import os, sys; held = os.urandom({LARGE}); pid = os.fork(); print(pid or 'forked', flush=True); sys.stdin.read()"


def test_pages_that_processes_share_count_once():
    with subprocess.Popen(
        [sys.executable, "-I", "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        said = [process.stdout.readline() for _ in range(2)]
        assert "forked\n" in said
        taken = footprint.of_tree(process.pid)
        process.stdin.close()
    assert LARGE < taken < 2 * LARGE


def test_what_has_ended_takes_nothing():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert footprint.of_tree(process.pid) == 0


def test_there_is_no_more_than_the_machine_has():
    assert 0 < footprint.available() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
