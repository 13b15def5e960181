"""The `sluice` command, and `python -m sluice`: nothing is imported before Ctrl-C is provided for."""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

INTERRUPTED = 130  # the shell's status for Ctrl-C


def _interrupted(*_: object) -> NoReturn:
    sys.stderr.write("interrupted\n")
    sys.stderr.flush()
    os._exit(INTERRUPTED)


def main() -> NoReturn:
    """Run the command line: one line and status 1 for what Sluice refuses, 130 for Ctrl-C.

    The process ends at once: py-rattler's runtime may crash while an interpreter shuts down.
    """
    signal.signal(signal.SIGINT, _interrupted)
    from sluice import cli  # noqa: PLC0415 - it takes a moment, in which Ctrl-C must not show a trace

    app = cli.assemble()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        status = cli.run(app)
    except KeyboardInterrupt:
        _interrupted()
    if status == INTERRUPTED:  # Typer has caught it
        _interrupted()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
