import base64
import csv
import hashlib
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conda_package_streaming.package_streaming import stream_conda_component

METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"


@dataclass
class WheelBuilder:
    """A wheel put together file by file; knobs spoil it in one way each."""

    folder: Path
    name: str = "demo"
    version: str = "1.0"
    tag: str = "py3-none-any"
    metadata: str = ""
    files: dict = field(default_factory=dict)
    executables: tuple = ()
    date: tuple = (2026, 1, 2, 3, 4, 6)
    record: dict = field(default_factory=dict)  # path: line that replaces the right one; None leaves it out
    without: tuple = ()
    reverse: bool = False
    filename: str = ""
    extra_entries: tuple = ()  # (ZipInfo, bytes), not in RECORD

    @property
    def dist_info(self):
        return f"{self.name}-{self.version}.dist-info"

    def write(self):
        entries = {
            f"{self.dist_info}/METADATA": METADATA.format(name=self.name, version=self.version)
            + self.metadata,
            f"{self.dist_info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {self.tag}\n",
            **self.files,
        }
        entries = {path: text if isinstance(text, bytes) else text.encode() for path, text in entries.items()}
        entries = {path: data for path, data in entries.items() if path not in self.without}
        lines = {path: _line(path, data) for path, data in entries.items()} | self.record
        record = f"{self.dist_info}/RECORD"
        text = "".join(f"{line}\n" for line in lines.values() if line is not None) + f"{record},,\n"
        if record not in self.without:
            entries[record] = text.encode()
        path = self.folder / (self.filename or f"{self.name}-{self.version}-{self.tag}.whl")
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in sorted(entries, reverse=self.reverse):
                info = zipfile.ZipInfo(name, self.date)
                info.create_system = 3
                info.compress_type = zipfile.ZIP_DEFLATED
                info.external_attr = (0o100755 if name in self.executables else 0o100644) << 16
                archive.writestr(info, entries[name])
            for info, data in self.extra_entries:
                archive.writestr(info, data)
        return path


def _line(path, data):
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    quoted = f'"{path}"' if "," in path else path
    return f"{quoted},sha256={digest},{len(data)}"


@dataclass
class Package:
    """An unpacked `.conda`."""

    path: Path

    def __post_init__(self):
        self.files, self.modes, self.dates, self.info = {}, {}, set(), {}
        for component, into in (("pkg", self.files), ("info", self.info)):
            for archive, member in stream_conda_component(self.path, None, component):
                assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")
                into[member.name.removeprefix("info/")] = archive.extractfile(member).read()
                self.dates.add(member.mtime)
                self.modes[member.name] = member.mode

    def json(self, name):
        return json.loads(self.info[name])

    @property
    def paths(self):
        return {entry["_path"]: entry for entry in self.json("paths.json")["paths"]}

    def record(self, path):
        rows = csv.reader(self.files[path].decode().splitlines())
        return {name: f"{digest},{size}" for name, digest, size in rows}


@pytest.fixture
def wheel(tmp_path):
    """Make wheels below the test's folder."""

    def build(**knobs):
        return WheelBuilder(folder=knobs.pop("folder", tmp_path / "wheels"), **knobs)

    return build


@pytest.fixture
def opened():
    """Unpack a package."""
    return Package


@pytest.fixture
def entry():
    """Make a zip entry with chosen mode bits."""

    def make(name, mode=0o100644):
        info = zipfile.ZipInfo(name, (2026, 1, 2, 3, 4, 6))
        info.create_system = 3
        info.external_attr = mode << 16
        return info

    return make
