"""The shipped nginx configuration, with the real nginx and the real server behind it."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from sluice.digest import Digest
from sluice_channel.exchange.importing import import_directory
from sluice_channel.site import open_site

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin")
SHIPPED = Path(__file__).resolve().parents[2] / "deploy/nginx/sluice.conf"
PATH = "/main/linux-64/native-0.1-h1_0.conda"

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


@pytest.fixture
def proxied(tmp_path, channel, serving):
    """A client of nginx, and of the server behind it."""
    root = tmp_path / "site"
    site = open_site(root, create=True)
    import_directory(site, channel, "main")
    site.close()
    with serving(root, "--accel-prefix", "/_blobs/", ready=tmp_path / "ready") as url:
        origin = url.removesuffix("/main")
        with nginx(tmp_path, origin, root / "blobs") as front, httpx.Client(base_url=front) as client:
            yield client, origin


@contextmanager
def nginx(folder, origin, blobs):
    """Run nginx with the shipped configuration, its places set as its comments ask; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    text = SHIPPED.read_text()
    for before, after in (
        ("127.0.0.1:8710", origin.removeprefix("http://")),
        ("listen 80;", f"listen 127.0.0.1:{port};"),
        ("/srv/sluice/blobs/", f"{blobs}/"),
    ):
        assert text.count(before) == 1
        text = text.replace(before, after)
    work = folder / "nginx"
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    for each in kinds:
        (work / each).mkdir(parents=True)
    (work / "sluice.conf").write_text(text)
    user = f"user {getpass.getuser()};" if os.geteuid() == 0 else ""
    (work / "nginx.conf").write_text(
        f"daemon off; {user} pid {work}/pid; worker_processes 1; events {{}}\n"
        f"http {{ {' '.join(f'{each}_temp_path {work}/{each};' for each in kinds)}\n"
        f"include {work}/sluice.conf; }}\n"
    )
    with (work / "log").open("w") as log:
        process = subprocess.Popen(
            [NGINX, "-p", work, "-c", work / "nginx.conf", "-e", work / "log"], stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + 30
        while True:
            assert process.poll() is None, (work / "log").read_text()
            assert time.monotonic() < deadline, "nginx did not listen"
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def test_nginx_sends_package_files_with_what_sluice_says_of_them(proxied):
    client, origin = proxied
    whole = client.get(PATH)
    digest = Digest.of(whole.content)
    assert whole.headers["etag"] == f'"{digest}"'
    assert whole.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert whole.headers["content-type"] == "application/octet-stream"
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert "last-modified" in whole.headers  # nginx sent it: Sluice says no such thing
    assert "x-accel-redirect" not in whole.headers
    assert httpx.get(f"{origin}{PATH}").headers["x-accel-redirect"].startswith("/_blobs/")
    part = client.get(PATH, headers={"Range": "bytes=3-8"})
    assert (part.status_code, part.content) == (206, whole.content[3:9])
    resumed = client.get(PATH, headers={"Range": "bytes=3-8", "If-Range": f'"{digest}"'})
    assert (resumed.status_code, resumed.content) == (206, whole.content[3:9])
    head = client.head(PATH)
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(whole.content)))
    same = client.get(PATH, headers={"If-None-Match": f'"{digest}"'})
    assert (same.status_code, same.content) == (304, b"")


def test_nobody_gets_a_file_past_sluice(proxied):
    client, _ = proxied
    digest = client.get(PATH).headers["etag"].strip('"')
    for path in (f"/_blobs/{digest[:2]}/{digest}", "/_blobs/../catalogue.sqlite", "/_blobs/"):
        assert client.get(path).status_code == 404
    assert client.get("/other/linux-64/native-0.1-h1_0.conda").status_code == 404


def test_documents_go_through_unchanged(proxied):
    client, origin = proxied
    for path in (
        "/main/linux-64/repodata.json",
        "/main/linux-64/repodata.json.zst",
        "/main/linux-64/repodata_shards.msgpack.zst",
        "/main/@1/noarch/repodata.json",
    ):
        through, direct = client.get(path), httpx.get(f"{origin}{path}")
        assert through.content == direct.content
        for name in ("etag", "cache-control", "content-type"):
            assert through.headers[name] == direct.headers[name]
        again = client.get(path, headers={"If-None-Match": through.headers["etag"]})
        assert again.status_code == 304
