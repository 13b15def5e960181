"""What every test stands on."""

import shutil
import signal
import socket
import subprocess
import time

import pytest

# A shell starts what runs in its background with Ctrl-C ignored, and so would everything that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


class RunningRedis:
    """Debian's redis-server over a folder, at a port that stays the same when it is started again."""

    def __init__(self, folder, *options, tls=False):
        self.folder = folder
        self.flags = ("--port", "0", "--tls-port") if tls else ("--port",)
        self.options = ("--appendonly", "yes", "--appendfsync", "always", "--save", "", *options)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.process = None

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"

    def start(self, seconds=20):
        program = shutil.which("redis-server")
        assert program, "this test needs redis-server: run deploy/system-packages.sh test"
        log = self.folder / "redis.log"
        place = ("--bind", "127.0.0.1", "--dir", str(self.folder), "--logfile", str(log))
        started = log.read_text().count("Ready to accept") if log.exists() else 0
        self.process = subprocess.Popen([program, *self.flags, str(self.port), *place, *self.options])
        deadline = time.monotonic() + seconds
        while not log.exists() or log.read_text().count("Ready to accept") == started:
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise AssertionError(
                    f"redis-server does not start: {log.read_text() if log.exists() else ''}"
                )
            time.sleep(0.01)
        return self

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        self.process.wait(20)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory):
    """Give one server to all tests that keep to a prefix of their own."""
    server = RunningRedis(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.stop()


@pytest.fixture
def start_redis(tmp_path):
    """Start a server of the test's own: `start_redis("--requirepass", "secret")`."""
    servers = []

    def start(*options, tls=False):
        folder = tmp_path / f"redis{len(servers)}"
        folder.mkdir()
        servers.append(RunningRedis(folder, *options, tls=tls))
        return servers[-1].start()

    yield start
    for server in servers:
        if server.process is not None and server.process.poll() is None:
            server.stop()
