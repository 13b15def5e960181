"""Tiny real packages made with conda-package-streaming, and a real server on a port of its own."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from conda_package_streaming.create import conda_builder

TIMESTAMP = 1_700_000_000_000  # milliseconds


def make(
    channel: Path,
    name: str,
    version: str = "1.0",
    build: str = "0",
    *,
    subdir: str = "noarch",
    depends: tuple[str, ...] = (),
    files: dict[str, str] | None = None,
    extension: str = ".conda",
    run_exports: dict | None = None,
    about: dict | None = None,
    **record,
) -> Path:
    """Write `channel/subdir/name-version-build.conda` and return it."""
    content = {
        path: text.encode() for path, text in (files or {f"share/{name}.txt": f"{name} {version}\n"}).items()
    }
    index = {
        "name": name,
        "version": version,
        "build": build,
        "build_number": 0,
        "depends": list(depends),
        "subdir": subdir,
        "timestamp": TIMESTAMP,
        "license": "BSD-3-Clause",
    } | record
    if subdir == "noarch":
        index.setdefault("noarch", "generic")
    paths = [
        {
            "_path": path,
            "path_type": "hardlink",
            "sha256": hashlib.sha256(data).hexdigest(),
            "size_in_bytes": len(data),
        }
        for path, data in content.items()
    ]
    members = {
        "info/index.json": json.dumps(index).encode(),
        "info/paths.json": json.dumps({"paths": paths, "paths_version": 1}).encode(),
        "info/files": "".join(f"{path}\n" for path in content).encode(),
        "info/about.json": json.dumps({"summary": f"The {name} package"} | (about or {})).encode(),
    }
    if run_exports is not None:
        members["info/run_exports.json"] = json.dumps(run_exports).encode()
    members |= content
    folder = channel / subdir
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{name}-{version}-{build}"
    (folder / (stem + extension)).unlink(missing_ok=True)
    if extension == ".conda":
        with conda_builder(stem, folder, compression_level=1) as tar:
            _fill(tar, members)
    else:
        with tarfile.open(folder / f"{stem}.tar.bz2", "w:bz2") as tar:
            _fill(tar, members)
    return folder / (stem + extension)


def _fill(tar: tarfile.TarFile, members: dict[str, bytes]) -> None:
    for path, data in members.items():
        info = tarfile.TarInfo(path)
        info.size = len(data)
        info.mtime = TIMESTAMP // 1000
        tar.addfile(info, io.BytesIO(data))


@pytest.fixture(scope="session")
def package():
    return make


@pytest.fixture
def channel(tmp_path: Path) -> Path:
    """A plain directory with a few packages."""
    root = tmp_path / "channel"
    make(root, "base", "1.0")
    make(root, "base", "1.10")
    make(root, "app", "2.0", depends=("base >=1.5",), about={"summary": "Says <b>hello</b> & more"})
    make(root, "native", "0.1", "h1_0", subdir="linux-64", run_exports={"weak": ["native >=0.1,<0.2.0a0"]})
    make(root, "old", "3.0", subdir="linux-64", extension=".tar.bz2")
    return root


@contextmanager
def start(channel: Path, *options: str, ready: Path) -> Iterator[tuple[subprocess.Popen, str]]:
    """Start the real command; yields the process, to be ended by the caller, and the channel's URL."""
    command = [sys.executable, "-m", "sluice_channel", "serve", str(channel), "--port", "0"]
    with subprocess.Popen(
        [*command, "--ready-file", str(ready), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            deadline = time.monotonic() + 30
            while not ready.exists():
                assert process.poll() is None, process.stdout.read()
                assert time.monotonic() < deadline, "the server did not become ready"
                time.sleep(0.02)
            yield process, ready.read_text().strip()
        finally:
            if process.poll() is None:
                process.kill()


@contextmanager
def serve(channel: Path, *options: str, ready: Path) -> Iterator[str]:
    """Serve a channel, yield its URL, and stop as `kill` does, in good order."""
    with start(channel, *options, ready=ready) as (process, url):
        yield url
        process.send_signal(signal.SIGTERM)
        output = process.communicate(timeout=30)[0]
        assert process.returncode == 0, output
        assert "Traceback" not in output, output
        assert not ready.exists()


@pytest.fixture(scope="session")
def starting():
    return start


@pytest.fixture(scope="session")
def serving():
    return serve


@pytest.fixture
def served(channel: Path, tmp_path: Path) -> Iterator[httpx.Client]:
    """A client whose base is the channel of the plain directory, served by the real command."""
    with serve(channel, ready=tmp_path / "ready") as url, httpx.Client(base_url=url, timeout=30) as client:
        yield client


@pytest.fixture
def lock_text():
    """A minimal pixi.lock of version 7 that keeps the promise of vision-digits-pt213-cpu."""

    def make_lock(channel: str = "http://127.0.0.1:8710/main", digest: str = "ab" * 32) -> str:
        urls = [f"{channel}/linux-64/pytorch-2.13.0-0.conda", f"{channel}/noarch/digits-1.0.0-0.conda"]
        lines = ["version: 7", "environments:", "  default:", "    channels:", f"    - url: {channel}/"]
        lines += ["    packages:", "      linux-64:", *(f"      - conda: {url}" for url in urls), "packages:"]
        lines += [line for url in urls for line in (f"- conda: {url}", f"  sha256: {digest}")]
        return "\n".join(lines) + "\n"

    return make_lock


@pytest.fixture
def environment(tmp_path: Path, lock_text) -> Path:
    """An environment's folder as `sluice lock` leaves it."""
    folder = tmp_path / "envs" / "vision-digits-pt213-cpu"
    folder.mkdir(parents=True)
    folder.joinpath("environment.yml").write_text(
        "name: vision-digits-pt213-cpu\nchannels: [main]\ndependencies: [digits, pytorch 2.13.*]\n"
    )
    folder.joinpath("pixi.lock").write_text(lock_text())
    return folder


@pytest.fixture
def command():
    """Run `sluice channel ...` and return the finished process."""

    def run(*arguments: object, **options) -> subprocess.CompletedProcess:
        words = [sys.executable, "-m", "sluice_channel", *map(str, arguments)]
        # A terminal as wide as any message, so that none is wrapped.
        environ = {**os.environ, "COLUMNS": "500", "NO_COLOR": "1"}
        return subprocess.run(
            words, check=False, capture_output=True, text=True, timeout=60, env=environ, **options
        )

    return run
