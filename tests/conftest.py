"""What every test stands on."""

import signal

# A shell starts what runs in its background with Ctrl-C ignored, and so would everything that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
