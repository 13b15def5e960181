"""`make quickstart`."""

from __future__ import annotations

import os
import signal
import sys

if __name__ == "__main__":
    # Importing takes a moment, in which Ctrl-C must not show a trace.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    from walk import main

    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
