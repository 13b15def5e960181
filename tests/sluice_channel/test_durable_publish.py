"""What a power cut leaves of a publish: the real server's system calls, in their order, before it says 201."""

import hashlib
import re
import shutil
import signal
import subprocess
import time

import httpx
import pytest

from sluice_channel import publish
from sluice_channel.site import open_site

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not here"),
]
CALLS = "openat,fsync,fdatasync,rename,renameat,renameat2,write,writev,sendto,sendmsg,pwrite64"


def calls(text):
    """Return the calls of a trace in the order in which they ended."""
    begun, ended = {}, []
    for line in text.splitlines():
        thread, _, call = line.partition(" ")
        call = call.strip()
        if call.endswith("<unfinished ...>"):
            begun[thread] = call
        elif call.startswith("<..."):
            ended.append(begun.pop(thread, "") + call)
        else:
            ended.append(call)
    return ended


def first(made, pattern, after=0):
    """Return the number of the first call from `after` on that a pattern matches."""
    for number in range(after, len(made)):
        if re.match(pattern, made[number]):
            return number
    raise AssertionError(f"nothing matches {pattern} in:\n" + "\n".join(made[after:]))


def test_everything_a_publish_needs_is_on_the_disk_before_it_is_accepted(starting, package, tmp_path):
    root, trace = tmp_path / "site", tmp_path / "trace"
    with open_site(root, create=True) as site:
        publish.create(site, "main")
    path = package(tmp_path / "made", "one")
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    with (
        starting(root, "--open", ready=tmp_path / "ready") as (process, url),
        httpx.Client(base_url=url.removesuffix("/main"), timeout=60) as http,
    ):
        assert http.put(f"/api/v1/channels/main/uploads/{sha256}", content=content).status_code == 204
        command = ["strace", "-f", "-y", "-s", "64", "-e", f"trace={CALLS}", "-o", trace, "-p"]
        with subprocess.Popen([*command, str(process.pid)], stderr=subprocess.PIPE, text=True) as tracer:
            said = tracer.stderr.readline()
            if "attached" not in said:
                pytest.skip(f"nothing can be traced here: {said}")
            document = {"sha256": sha256, "filename": path.name}
            assert http.post("/api/v1/channels/main/packages", json=document).status_code == 201
            deadline = time.monotonic() + 10
            while " 201 " not in trace.read_text():
                assert time.monotonic() < deadline, "the answer was not traced"
                time.sleep(0.05)
            tracer.send_signal(signal.SIGINT)
            tracer.wait()
    made = calls(trace.read_text())
    upload, blob, folder = f"uploads/{sha256}", f"blobs/{sha256[:2]}/{sha256}", f"blobs/{sha256[:2]}"
    log = r"\(\d+<[^>]*/catalogue\.sqlite-wal>"
    synced = first(made, rf"fsync\(\d+<[^>]*/{upload}>")
    renamed = first(made, rf"rename\w*\(.*/{upload}.*/{blob}\"", synced)
    listed = first(made, rf"fsync\(\d+<[^>]*/{folder}>", renamed)
    answered = first(made, r".*\"HTTP/1\.1 201 ", listed)
    # The last that is done to the log before the answer is to write it out.
    logged = [call for call in made[listed:answered] if re.match(rf"(pwrite64|fdatasync|fsync){log}", call)]
    assert len(logged) > 1
    assert re.match(rf"f(data)?sync{log}.* = 0$", logged[-1]), logged[-1]
