"""The real server on a socket, asked by httpx and by hand-written requests."""

from __future__ import annotations

import json
import re
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest

from sluice.digest import Digest
from sluice_channel.reindex import index

ENV = "vision-digits-pt213-cpu"


def raw(url: str, target: str, *headers: str) -> tuple[int, bytes]:
    """Send a target as it stands: httpx would tidy it."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as connection:
        lines = [f"GET {target} HTTP/1.1", "Host: x", "Connection: close", *headers, "", ""]
        connection.sendall("\r\n".join(lines).encode("latin-1"))
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    return int(answer.split(b" ", 2)[1]), answer.partition(b"\r\n\r\n")[2]


def test_files_and_their_headers(served, channel):
    for name, life in (
        ("noarch/repodata.json", "no-cache"),
        ("noarch/repodata.json.zst", "no-cache"),
        ("noarch/repodata_shards.msgpack.zst", "no-cache"),
        ("linux-64/run_exports.json", "no-cache"),
        ("channeldata.json", "no-cache"),
        ("noarch/base-1.0-0.conda", "public, max-age=31536000, immutable"),
        ("linux-64/old-3.0-0.tar.bz2", "public, max-age=31536000, immutable"),
    ):
        answer = served.get(name, headers={"Accept-Encoding": "identity"})
        content = (channel / name).read_bytes()
        assert answer.status_code == 200
        assert answer.content == content
        assert answer.headers["cache-control"] == life
        assert answer.headers["etag"] == f'"{Digest.of(content)}"'
        assert answer.headers["content-length"] == str(len(content))
        assert answer.headers["x-content-type-options"] == "nosniff"
        head = served.head(name)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == answer.headers["content-length"]
        assert head.headers["etag"] == answer.headers["etag"]


def test_an_unchanged_file_is_not_sent_again(served, package, channel):
    first = served.get("noarch/repodata.json")
    condition = {"If-None-Match": first.headers["etag"]}
    again = served.get("noarch/repodata.json", headers=condition)
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    package(channel, "news")
    index(channel)
    assert (
        "news-1.0-0.conda" in served.get("noarch/repodata.json", headers=condition).json()["packages.conda"]
    )


def test_ranges(served, channel):
    content = (channel / "noarch/base-1.0-0.conda").read_bytes()
    part = served.get("noarch/base-1.0-0.conda", headers={"Range": "bytes=10-29"})
    assert (part.status_code, part.content) == (206, content[10:30])
    assert part.headers["content-range"] == f"bytes 10-29/{len(content)}"
    beyond = served.get("noarch/base-1.0-0.conda", headers={"Range": f"bytes={len(content)}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(content)}")


def test_a_large_file_arrives_whole_for_several_at_once(served, channel):
    block = bytes(range(256)) * 4096
    path = channel / "noarch/large-1.0-0.conda"
    path.write_bytes(block * 9 + b"end")

    def download(_: int) -> Digest:
        return Digest.of(served.get("noarch/large-1.0-0.conda").content)

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(download, range(4))) == {Digest.of_file(path)}


def test_clients_that_leave_in_the_middle_leave_nothing_open(served, channel):
    path = channel / "noarch/large-1.0-0.conda"
    path.write_bytes(bytes(64 << 20))
    for _ in range(5):
        with served.stream("GET", "noarch/large-1.0-0.conda") as answer:
            next(answer.iter_raw(1024))
    assert httpx.get(served.base_url.join("/health")).json() == {"status": "ok"}


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
        "/main/noarch/link-1.0-0.conda",
        "/main/noarch/folder-1.0-0.conda",
        "/main/noarch/pipe-1.0-0.conda",
        "/main/noarch/circle-1.0-0.conda",
        "/main/.sluice/lock",
        "/main/.sluice/cache",
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
    import os

    root = tmp_path_factory.mktemp("hostile")
    channel = root / "channel"
    package(channel, "base")
    index(channel)
    (root / "secret-1-0.conda").write_text("secret text")
    (channel / "secret-1-0.conda").write_text("secret text")
    (channel / "noarch/link-1.0-0.conda").symlink_to(root / "secret-1-0.conda")
    (channel / "noarch/circle-1.0-0.conda").symlink_to("circle-1.0-0.conda")
    (channel / "noarch/folder-1.0-0.conda").mkdir()
    os.mkfifo(channel / "noarch/pipe-1.0-0.conda")
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
    assert httpx.get(hostile).headers["location"] == "/main/"
    assert raw(hostile, "/health", "Range: bytes=zzz")[0] == 200


def test_a_link_inside_the_channel_is_followed(served, channel):
    (channel / "noarch/alias-1.0-0.conda").symlink_to("base-1.0-0.conda")
    assert (
        served.get("noarch/alias-1.0-0.conda").content == (channel / "noarch/base-1.0-0.conda").read_bytes()
    )


def test_environments(served, channel, environment, command):
    assert served.get("envs").json() == served.get("envs/").json() == []
    assert command("register", channel, environment).returncode == 0
    digest = Digest.of_file(environment / "pixi.lock").hex
    summary = {
        "name": ENV,
        "lock_sha256": digest,
        "size": (environment / "pixi.lock").stat().st_size,
        "url": f"{served.base_url}envs/{ENV}/pixi.lock",
    }
    assert served.get("envs").json() == served.get("envs/").json() == [summary]
    spec = (environment / "environment.yml").read_text()
    assert served.get(f"envs/{ENV}").json() == summary | {
        "spec": spec,
        "packages": 2,
        "platforms": ["linux-64"],
    }
    lock = served.get(f"envs/{ENV}/pixi.lock")
    assert (lock.headers["etag"], lock.headers["cache-control"]) == (f'"{digest}"', "no-cache")
    assert (
        served.get(f"envs/{ENV}/pixi.lock", headers={"If-None-Match": lock.headers["etag"]}).status_code
        == 304
    )
    kept = served.get(f"envs/{ENV}/{digest}.lock")
    assert kept.content == lock.content
    assert "immutable" in kept.headers["cache-control"]
    assert served.get(f"envs/{ENV}/{'0' * 64}.lock").status_code == 404
    assert served.get(f"envs/{ENV}/environment.yml").text == spec
    assert served.get("envs/vision-digits-pt213-mps").status_code == 404
    assert "2 packages at an exact level, for linux-64" in served.get(f"environments/{ENV}").text


def test_pages(served):
    base = str(served.base_url)
    home = httpx.get(served.base_url.join("/"))
    assert '<a href="/main/">main</a>' in home.text
    policy = home.headers["content-security-policy"]
    assert "script" not in policy
    assert "'unsafe-inline'" not in policy
    listed = served.get("").text
    for name in ("app", "base", "native", "old"):
        assert f'<a href="/main/packages/{name}">{name}</a>' in listed
    assert "Says &lt;b&gt;hello&lt;/b&gt; &amp; more" in listed
    assert "<b>hello" not in listed
    page = served.get("packages/base").text
    assert f"conda install -c {base.rstrip('/')} base" in page
    assert page.index("base-1.10-0.conda") < page.index("base-1.0-0.conda")
    assert '<a href="/main/packages/base">base</a>' in served.get("packages/app").text
    for href in re.findall(r'href="(/[^"]*)"', page):
        assert httpx.get(served.base_url.join(href)).status_code == 200


def test_search(served):
    found = served.get("", params={"q": "HELLO says"}).text
    assert "/packages/app" in found
    assert "/packages/base" not in found
    nothing = served.get("", params={"q": '"><script>alert(1)</script>'})
    assert nothing.status_code == 200
    assert "<script" not in nothing.text
    assert "No package has" in nothing.text


def test_the_style_sheet_is_the_one_the_policy_allows(served):
    import base64
    import hashlib

    answer = served.get("")
    style = re.search("<style>(.*?)</style>", answer.text, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in answer.headers["content-security-policy"]


def test_a_directory_that_was_never_indexed(tmp_path, serving):
    (tmp_path / "channel").mkdir()
    with serving(tmp_path / "channel", "--name", "new", ready=tmp_path / "ready") as url:
        assert url.endswith("/new")
        assert httpx.get(f"{url}/noarch/repodata.json").status_code == 404
        assert "no packages yet" in httpx.get(f"{url}/").text


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
        (["--name", "No Name"], "not a channel's name"),
        (["--name", "health"], "not a channel's name"),
        (["--host", "192.0.2.1", "--port", "0"], "cannot listen on 192.0.2.1 port 0"),
        (["--port", "0", "--ready-file", "/proc/none/ready"], "cannot write the ready file"),
    ],
)
def test_what_cannot_be_served_is_one_line(channel, command, arguments, message):
    done = command("serve", channel, *arguments)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr


def test_a_missing_directory(tmp_path, command):
    done = command("serve", tmp_path / "none", "--port", "0")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)


def test_ctrl_c_stops_it_even_while_a_client_is_slow(channel, tmp_path, starting):
    (channel / "noarch/large-1.0-0.conda").write_bytes(bytes(64 << 20))
    with starting(channel, "--grace", "0.2", ready=tmp_path / "ready") as (process, url):
        parts = urlsplit(url)
        with socket.create_connection((parts.hostname, parts.port)) as slow:
            slow.sendall(b"GET /main/noarch/large-1.0-0.conda HTTP/1.1\r\nHost: x\r\n\r\n")
            slow.recv(1024)
            process.send_signal(signal.SIGINT)
            output = process.communicate(timeout=30)[0]
    assert process.returncode == 0
    assert "Traceback" not in output, output
