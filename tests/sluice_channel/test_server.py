"""The real server on a socket, asked by httpx and by hand-written requests."""

from __future__ import annotations

import json
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest

from sluice.digest import Digest


def raw(url: str, target: str, *headers: str) -> tuple[int, bytes]:
    """Send a target as it stands: httpx would tidy it."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as connection:
        lines = [f"GET {target} HTTP/1.1", "Host: x", "Connection: close", *headers, "", ""]
        connection.sendall("\r\n".join(lines).encode("latin-1"))
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    return int(answer.split(b" ", 2)[1]), answer.partition(b"\r\n\r\n")[2]


IMMUTABLE = "public, max-age=31536000, immutable"


def large(package, channel, megabytes):
    """Write a package of some MB, which does not compress to less than half of that."""
    return package(channel, "large", files={"share/large.txt": os.urandom(megabytes << 19).hex()})


def test_files_and_their_headers(served, channel):
    for name, life in (
        ("noarch/repodata.json", "no-cache"),
        ("noarch/repodata.json.zst", "no-cache"),
        ("noarch/repodata_shards.msgpack.zst", "no-cache"),
        ("linux-64/run_exports.json", "no-cache"),
        ("channeldata.json", "no-cache"),
        ("noarch/base-1.0-0.conda", IMMUTABLE),
        ("linux-64/old-3.0-0.tar.bz2", IMMUTABLE),
    ):
        answer = served.get(name, headers={"Accept-Encoding": "identity"})
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == life
        assert answer.headers["content-length"] == str(len(answer.content))
        assert answer.headers["x-content-type-options"] == "nosniff"
        if life == IMMUTABLE:
            assert answer.content == (channel / name).read_bytes()
            assert answer.headers["etag"] == f'"{Digest.of(answer.content)}"'
        head = served.head(name, headers={"Accept-Encoding": "identity"})
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == answer.headers["content-length"]
        assert head.headers["etag"] == answer.headers["etag"]


def test_an_unchanged_file_is_not_sent_again(served, package, channel, command, tmp_path):
    first = served.get("noarch/repodata.json")
    condition = {"If-None-Match": first.headers["etag"]}
    again = served.get("noarch/repodata.json", headers=condition)
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    done = command("publish", channel, package(tmp_path / "more", "news"))
    assert done.returncode == 0, done.stderr
    news = served.get("noarch/repodata.json", headers=condition).json()
    assert "news-1.0-0.conda" in news["packages.conda"]


def test_ranges(served, channel):
    content = (channel / "noarch/base-1.0-0.conda").read_bytes()
    part = served.get("noarch/base-1.0-0.conda", headers={"Range": "bytes=10-29"})
    assert (part.status_code, part.content) == (206, content[10:30])
    assert part.headers["content-range"] == f"bytes 10-29/{len(content)}"
    beyond = served.get("noarch/base-1.0-0.conda", headers={"Range": f"bytes={len(content)}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(content)}")


def test_a_large_file_arrives_whole_for_several_at_once(package, channel, serving, tmp_path):
    path = large(package, channel, 12)
    with serving(channel, ready=tmp_path / "ready") as url:

        def download(_: int) -> Digest:
            return Digest.of(httpx.get(f"{url}/noarch/{path.name}", timeout=30).content)

        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(download, range(4))) == {Digest.of_file(path)}


def test_clients_that_leave_in_the_middle_leave_nothing_open(package, channel, serving, tmp_path):
    path = large(package, channel, 32)
    with serving(channel, ready=tmp_path / "ready") as url:
        for _ in range(5):
            with httpx.stream("GET", f"{url}/noarch/{path.name}") as answer:
                next(answer.iter_raw(1024))
        assert httpx.get(httpx.URL(url).join("/health")).json() == {"status": "ok"}


@pytest.mark.parametrize(
    "target",
    [
        "/main/noarch/%2e%2e/%2e%2e/secret-1-0.conda",
        "/main/noarch/../../secret-1-0.conda",
        "/main/noarch/..%2f..%2fsecret-1-0.conda",
        "/main/noarch/%2e%2e%2fsecret-1-0.conda",
        "/main/..%2fnoarch/repodata.json",
        "/main/noarch/base-1.0-0.conda%00",
        "/main/noarch/%00",
        "/main/noarch//repodata.json",
        "/main//etc/passwd",
        "//etc/passwd",
        "/main/.sluice/lock",
        "/main/.sluice/site/catalogue.sqlite",
        "/main/noarch/..%2f.sluice%2fsite%2fcatalogue.sqlite",
        "/main/noarch/.cache",
        "/main/noarch/index.html",
        "/main/envs/%2e%2e/pixi.lock",
        "/main/envs/..%2f..%2f/pixi.lock",
        "/main/envs/.sluice/pixi.lock",
        "/main/envs/vision-digits-pt213-cpu/secret",
        "/main/packages/%3Cscript%3E",
        "/main/environments/%00",
        "/other/noarch/repodata.json",
        "/main/noarch/" + "a" * 5000 + "-1-0.conda",
        "/%c3%28/",
    ],
)
def test_hostile_paths(hostile, target):
    status, body = raw(hostile, target)
    assert status == 404
    assert b"secret text" not in body
    assert list(json.loads(body)) == ["error"]


@pytest.fixture(scope="module")
def hostile(package, serving, tmp_path_factory):
    root = tmp_path_factory.mktemp("hostile")
    channel = root / "channel"
    package(channel, "base")
    (root / "secret-1-0.conda").write_text("secret text")
    (channel / "secret-1-0.conda").write_text("secret text")
    (channel / "noarch/index.html").write_text("secret text")
    with serving(channel, ready=root / "ready") as url:
        yield url


def test_other_methods_and_odd_requests(hostile):
    assert httpx.post(f"{hostile}/noarch/repodata.json").status_code == 405
    assert httpx.delete(f"{hostile}/noarch/base-1.0-0.conda").json() == {
        "error": "DELETE is not answered here"
    }
    long = httpx.get(f"{hostile}/", params={"q": "x" * 201})
    assert (long.status_code, long.json()["error"]) == (400, "q: String should have at most 200 characters")
    assert httpx.get(hostile, follow_redirects=True).url.path == "/main/"
    assert raw(hostile, "/health", "Range: bytes=zzz")[0] == 200


def test_a_directory_without_packages(tmp_path, serving):
    (tmp_path / "channel/noarch").mkdir(parents=True)
    with serving(tmp_path / "channel", "--name", "new", ready=tmp_path / "ready") as url:
        assert url.endswith("/new")
        assert httpx.get(f"{url}/noarch/repodata.json").json()["packages.conda"] == {}
        assert httpx.get(f"{url}/").status_code == 200


def test_the_access_log_is_quiet_unless_asked_for(channel, tmp_path, starting):
    for options, lines in (((), 0), (("--access-log",), 1)):
        with starting(channel, *options, ready=tmp_path / "ready") as (process, url):
            httpx.get(f"{url}/noarch/none-1-0.conda")
            process.terminate()
            output = process.communicate(timeout=30)[0]
        assert output.count("none-1-0.conda") == lines
        assert process.returncode == 0


def test_a_port_in_use_is_one_line(channel, command):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = command("serve", channel, "--port", port)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"error: 127.0.0.1 port {port} is in use; stop what listens there, or choose another with --port (0: any free one)"
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--name", "No Name"], "cannot name a channel"),
        (["--name", "health"], "cannot name a channel"),
        (["--host", "192.0.2.1", "--port", "0"], "cannot listen on 192.0.2.1 port 0"),
        (["--port", "0", "--ready-file", "/proc/none/ready"], "cannot write the ready file"),
    ],
)
def test_what_cannot_be_served_is_one_line(channel, command, arguments, message):
    done = command("serve", channel, *arguments)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr


@pytest.mark.parametrize(
    ("name", "message"), [("none", "not a directory"), ("", "holds neither a catalogue")]
)
def test_what_is_neither_a_catalogue_nor_packages(tmp_path, command, name, message):
    done = command("serve", tmp_path / name, "--port", "0")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert message in done.stderr
    assert not list(tmp_path.iterdir())


def test_ctrl_c_stops_it_even_while_a_client_is_slow(package, channel, tmp_path, starting):
    large(package, channel, 32)
    with starting(channel, "--grace", "0.2", ready=tmp_path / "ready") as (process, url):
        parts = urlsplit(url)
        with socket.create_connection((parts.hostname, parts.port)) as slow:
            slow.sendall(b"GET /main/noarch/large-1.0-0.conda HTTP/1.1\r\nHost: x\r\n\r\n")
            slow.recv(1024)
            process.send_signal(signal.SIGINT)
            output = process.communicate(timeout=30)[0]
    assert process.returncode == 0
    assert "Traceback" not in output, output
