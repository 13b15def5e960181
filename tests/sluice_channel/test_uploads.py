"""What uploads may take: a disk's room, a place among the others, time."""

import asyncio
import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from sluice.digest import Digest
from sluice_channel.blobs import BlobStore
from sluice_channel.errors import FullError, OverloadedError, UploadError
from sluice_channel.stores.blobs import DiskBlobs
from sluice_channel.uploads import Bounds, Uploads

CONTENT = b"a package, or what will be one"
DIGEST = Digest.of(CONTENT)
MIB = 1 << 20

pytestmark = pytest.mark.timeout(120)


async def pieces(*parts, then=None):
    for part in parts:
        yield part
    if then is not None:
        await then


def test_an_upload_of_which_nothing_comes_ends_and_what_came_stays(tmp_path):
    blobs: BlobStore = DiskBlobs(tmp_path)
    uploads = Uploads(blobs, Bounds(patience=0.2))

    async def idle():
        forever = asyncio.Event()
        began = time.monotonic()
        with pytest.raises(UploadError, match=r"nothing came for 0\.2 s"):
            await uploads.receive(DIGEST, 0, None, pieces(CONTENT[:9], then=forever.wait()), anew=True)
        assert time.monotonic() - began < 10
        return await uploads.receive(DIGEST, 9, None, pieces(CONTENT[9:]), anew=False)

    assert asyncio.run(idle()) == len(CONTENT)
    blobs.finish(DIGEST)
    assert blobs.has(DIGEST)


def test_pieces_that_keep_coming_may_take_longer_than_the_wait_for_one(tmp_path):
    uploads = Uploads(DiskBlobs(tmp_path), Bounds(patience=0.3))

    async def slow():
        for byte in CONTENT[:8]:
            await asyncio.sleep(0.1)
            yield bytes((byte,))

    assert asyncio.run(uploads.receive(DIGEST, 0, None, slow(), anew=True)) == 8


def test_one_upload_too_many_is_told_to_come_again_and_a_place_becomes_free(tmp_path):
    uploads = Uploads(DiskBlobs(tmp_path), Bounds(uploads=1))

    async def two():
        go = asyncio.Event()
        first = asyncio.ensure_future(
            uploads.receive(DIGEST, 0, None, pieces(CONTENT, then=go.wait()), anew=True)
        )
        await asyncio.sleep(0.1)
        other = Digest.of(b"other")
        with pytest.raises(OverloadedError):
            await uploads.receive(other, 0, None, pieces(b"other"), anew=True)
        go.set()
        assert await first == len(CONTENT)
        assert await uploads.receive(other, 0, None, pieces(b"other"), anew=True) == 5

    asyncio.run(two())


def test_what_is_announced_must_leave_the_reserve_free(tmp_path):
    blobs = DiskBlobs(tmp_path)
    free = blobs.free()
    uploads = Uploads(blobs, Bounds(reserve=free - 64 * MIB))
    with pytest.raises(FullError):
        asyncio.run(uploads.receive(DIGEST, 0, 512 * MIB, pieces(CONTENT), anew=True))
    assert blobs.received(DIGEST) == 0


@contextlib.contextmanager
def on_a_small_disk(place: Path, ready: Path, size: str):
    """Serve a new site on a disk of its own; give the server's process, its URL and the disk as seen from here."""
    script = (
        f"mount -t tmpfs -o size={size} none {place} && "
        f"{sys.executable} -m sluice_channel create {place}/site main && "
        f"exec {sys.executable} -m sluice_channel serve {place}/site --open --port 0 --ready-file {ready}"
    )
    with subprocess.Popen(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            deadline = time.monotonic() + 60
            while not ready.exists():
                if process.poll() is not None:
                    said = process.stdout.read()
                    if "unshare" in said or "mount:" in said:
                        pytest.skip(f"no disk of one's own can be mounted here: {said}")
                    pytest.fail(said)
                assert time.monotonic() < deadline, "the server did not become ready"
                time.sleep(0.05)
            yield process, ready.read_text().strip(), Path(f"/proc/{process.pid}/root{place}")
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            assert "Traceback" not in process.communicate(timeout=30)[0]


def fill(disk: Path, leave: int) -> Path:
    """Let others take a disk but for some bytes; 0: all of it."""
    filler = disk / "filler"
    status = os.statvfs(disk)
    wanted = status.f_bavail * status.f_frsize - leave
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, wanted)
    return filler


def test_a_full_disk_refuses_and_shows_what_it_showed_and_goes_on_when_there_is_room(tmp_path, package):
    place = tmp_path / "disk"
    place.mkdir()
    first, second, third = (package(tmp_path / "made", name) for name in ("one", "two", "three"))
    with (
        on_a_small_disk(place, tmp_path / "ready", "320m") as (_, url, disk),
        httpx.Client(base_url=url.removesuffix("/main"), timeout=30) as http,
    ):

        def upload(path):
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            api = f"/api/v1/channels/main/uploads/{sha256}"
            return http.put(api, content=path.read_bytes()), api

        def show(path):
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            document = {"sha256": sha256, "filename": path.name}
            return http.post("/api/v1/channels/main/packages", json=document)

        def seen():
            return sorted(http.get("/main/noarch/repodata.json").json()["packages.conda"])

        assert upload(first)[0].status_code == upload(second)[0].status_code == 204
        assert show(first).status_code == 201
        assert seen() == [first.name]

        # Less than the reserve is left: nothing more is taken, and it is said in one line.
        filler = fill(disk, 100 * MIB)
        refused, api = upload(third)
        assert refused.status_code == 507
        assert "no room" in refused.text
        assert http.head(api).headers["Upload-Offset"] == "0"

        # Nothing is left: what was sent before cannot be shown, and what is shown stays.
        filler.unlink()
        filler = fill(disk, 0)
        failed = show(second)
        assert failed.status_code in {503, 507}, failed.text
        assert http.get("/main/noarch/repodata_shards.msgpack.zst").status_code == 200
        assert http.get(f"/main/noarch/{first.name}").content == first.read_bytes()

        # Doing the same again, from the beginning as our client does, is all it takes.
        filler.unlink()
        assert upload(second)[0].status_code == 204
        assert show(second).status_code == 201
        assert upload(third)[0].status_code == 204
        assert show(third).status_code == 201
        assert seen() == sorted(each.name for each in (first, second, third))
        told = http.get("/api/v1/channels/main/generations").json()["generations"]
        assert [each["number"] for each in told] == [3, 2, 1]
