import asyncio
import base64
import functools
import hashlib
import http.server
import threading
import zipfile

import pytest
from packaging.utils import canonicalize_name
from rattler.index import index_fs

from sluice.adapters.rattler_build import RattlerBuild
from sluice.build import Workshop
from sluice.digest import Digest
from sluice.rebuild import Bench
from sluice.rebuild.elsewhere import Elsewhere
from sluice.sources import Store
from sluice.wheels import PinnedWheel, Target, WheelSet
from sluice.wheels.manifest import dump
from sluice.wheels.mark import UNMARKED


def index(channel):
    asyncio.run(index_fs(channel))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Keep everything below the test's folder."""
    monkeypatch.setenv("RATTLER_CACHE_DIR", str(tmp_path / "rattler"))
    monkeypatch.setenv("SLUICE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SLUICE_CONFIG", str(tmp_path / "none.toml"))
    (tmp_path / "recipes").mkdir()
    return tmp_path


@pytest.fixture
def store(place):
    return Store(place / "cache/sources")


@pytest.fixture
def build(place, store):
    """Build a recipe into the channel and return its packages."""
    workshop = Workshop(RattlerBuild(), store, place / "cache", index)
    return lambda folder: workshop.build(folder, place / "channel")


@pytest.fixture
def bench(place, store):
    return Bench(RattlerBuild(), store, index, Elsewhere(place / "else/where", 7))


@pytest.fixture
def recipe(place):
    """Write a recipe whose script is given and return its folder."""

    def write(name, script, more=""):
        folder = place / "recipes" / name
        folder.mkdir(parents=True, exist_ok=True)
        body = "".join(f"      {line}\n" for line in ["mkdir -p $PREFIX/share", *script.splitlines()])
        (folder / "recipe.yaml").write_text(
            f'package:\n  name: {name}\n  version: "1.0"\n'
            "build:\n  noarch: generic\n  script:\n"
            '    env:\n      SOURCE_DATE_EPOCH: "1700000000"\n'
            f"    content: |\n{body}{more}"
        )
        return folder

    return write


@pytest.fixture
def wheel_set(place, store):
    """Write a wheel set and put its wheels, {name: Requires-Dist}, into the store."""

    def write(set_name, wheels, version="1.0", stack="", mark=UNMARKED):
        pins = []
        for name, requires in wheels.items():
            data = _wheel(place / f"{name}.zip", name, version, requires)
            own = mark if name == stack else UNMARKED
            filename = f"{name}-{version}-py3-none-any.whl"
            pin = PinnedWheel(canonicalize_name(name), version, filename, Digest.of(data), mark=own)
            path = store.path(pin.source())
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            pins.append(pin)
        folder = place / "recipes" / set_name
        folder.mkdir(exist_ok=True)
        of_set = version if stack else "1"
        dump(WheelSet(set_name, of_set, Target(), "For a test.", tuple(pins), stack), folder / "wheels.toml")
        return folder

    return write


def _wheel(path, name, version, requires):
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nProvides-Extra: more\n"
    files = {
        f"{name}.py": b"x = 1\n",
        f"{info}/METADATA": (metadata + "".join(f"Requires-Dist: {each}\n" for each in requires)).encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{info}/RECORD,,\n"
    for member, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record += f"{member},sha256={digest},{len(data)}\n"
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in {**files, f"{info}/RECORD": record.encode()}.items():
            archive.writestr(zipfile.ZipInfo(member, (2026, 1, 2, 3, 4, 6)), data)
    return path.read_bytes()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def served(place):
    """Serve the test's folder; gives the URL."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(place)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()
