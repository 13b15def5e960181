"""`python -m sluice_channel`: the same as `sluice channel`, whatever else is installed."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from sluice.errors import SluiceError
from sluice_channel.cli import app


def main() -> NoReturn:
    """Run the command line: one line and status 1 for what is refused, 130 for Ctrl-C."""
    status = 0
    try:
        app(prog_name="sluice channel")
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(bool(end.code))
    except SluiceError as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        status = 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        status = 130
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # rattler may crash an interpreter at its exit


if __name__ == "__main__":
    main()
