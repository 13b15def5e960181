import contextlib
import functools
import http.server
import threading

import pytest

from sluice.testing import PLACEHOLDER, File, TinyPackage, index

P = PLACEHOLDER.encode()
PYTHON = TinyPackage(
    "python",
    "3.11.2",
    "0_cpython",
    subdir="linux-64",
    noarch=None,
    extra={"python_site_packages_path": "lib/python3.11/site-packages"},
    files={
        "bin/python3.11": File(
            b"\x7fELF\0" + P + b"/lib\0" + P + b"/a:" + P + b"/b\0end", prefix="binary", executable=True
        ),
        "bin/python": File(link="python3.11"),
        "lib/python3.11/os.py": File(b"x = 1\n"),
    },
)
TOOL = TinyPackage(
    "tool",
    depends=["python"],
    files={
        "bin/tool": File(b"#!" + P + b"/bin/python\n", prefix="text", executable=True),
        "share/tool": File(b"hello"),
    },
)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@contextlib.contextmanager
def serving(folder):
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def serve():
    """Give a context manager that serves a folder and gives its URL."""
    return serving


@pytest.fixture
def channel(tmp_path):
    """Give a channel's folder with two packages, and its URL on a real server."""
    root = tmp_path / "channel"
    for package in (PYTHON, TOOL):
        package.write(root)
    index(root)
    with serving(root) as url:
        yield root, url
