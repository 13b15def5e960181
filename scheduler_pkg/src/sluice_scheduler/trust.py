"""Which files of a model may be loaded: weights that are only numbers, unless the operator says otherwise.

A pickle runs whatever its author wrote as soon as it is loaded; TorchScript and `.pt2` archives carry programs. The
check is of what a file is, by its first bytes, as well as of what its name says.

It does not stop code: what the locked environment and the model's own folder hold as Python runs in the worker, whatever
it then loads. Confinement bounds what that can do.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from sluice.digest import Digest
from sluice_scheduler.errors import DeploymentError, SettingsError

MAX_FILES: Final = 100_000  # of one model
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_ZIP: Final = b"PK\x03\x04"
_PICKLE: Final = 0x80  # the opcode that pickles of protocol 2 and later begin with
_PROTOCOLS: Final = range(2, 6)
# What can follow it in a pickle, and not in the length that a safetensors file begins with: FRAME, an opening mark or
# container, a text, a number, a global.
_OPCODES: Final = frozenset(b"\x95(}]).\x8f\x8c\x8d\x8e\x8a\x8bXTUCBGIJKLMNFPSVcilode\x88\x89")
_PROGRAMS: Final = frozenset({".pt2", ".ptl", ".torchscript"})
_PICKLES: Final = frozenset({".pkl", ".pickle", ".joblib", ".dill", ".cloudpickle"})
_WEIGHTS: Final = frozenset({".pt", ".pth", ".ckpt"})  # where nothing but torch's own formats is expected


class Kind(StrEnum):
    """What is not simply loaded."""

    PICKLE = "a pickle, which runs code when it is loaded"
    PROGRAM = "a program of TorchScript or torch.export"


class UntrustedError(DeploymentError):
    """A model has a file that this scheduler does not load unasked."""


@dataclass(frozen=True, slots=True)
class Trust:
    """What the operator lets models load beyond safetensors and the environment's code."""

    channels: tuple[str, ...] = ()  # addresses whose packages may bring programs
    pickles: frozenset[str] = frozenset()  # sha256 of files, in hexadecimal digits

    def __post_init__(self) -> None:
        for channel in self.channels:
            if not channel.startswith(("http://", "https://", "file://")):
                raise SettingsError(f"trusted_channels are addresses of channels, not {channel[:80]!r}")
        for digest in sorted(self.pickles):
            if not _SHA256.fullmatch(digest):
                raise SettingsError(f"allow_pickles are sha256 digests of files, not {digest[:80]!r}")

    def trusts(self, url: str) -> bool:
        """Say whether a package's address lies in a trusted channel."""
        return any(url.startswith(channel.rstrip("/") + "/") for channel in self.channels)

    def check(self, model: str, directory: Path, url: str) -> None:
        """Look at every file of a model that a package of an address brought.

        Raises:
            UntrustedError: one of them is not to be loaded, saying which and what can be done.

        """
        for path in _files(directory):
            kind = look(path)
            if kind is None or (kind is Kind.PROGRAM and self.trusts(url)):
                continue
            digest = _digest(path)
            if digest in self.pickles:
                continue
            advice = f"convert it to safetensors, or name its sha256 in allow_pickles: {digest}"
            if kind is Kind.PROGRAM:
                advice = f"name its channel in trusted_channels: it came from {url}"
            raise UntrustedError(f"model {model}: {path.relative_to(directory)} is {kind}; {advice}")


def look(path: Path) -> Kind | None:
    """Say what of a file is not simply loaded; None where nothing is.

    Raises:
        UntrustedError: it cannot be read.

    """
    suffix = path.suffix.lower()
    try:
        with path.open("rb") as file:
            head = file.read(16)
        if head.startswith(_ZIP) or (suffix in _PROGRAMS | _WEIGHTS and zipfile.is_zipfile(path)):
            return _of_zip(path, suffix)
    except (OSError, zipfile.BadZipFile) as error:
        raise UntrustedError(f"{path} cannot be read: {error}") from None
    if _is_pickle(head) or suffix in _PICKLES or suffix in _WEIGHTS:
        return Kind.PICKLE
    return Kind.PROGRAM if suffix in _PROGRAMS else None


def _of_zip(path: Path, suffix: str) -> Kind | None:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    last = {name.rpartition("/")[2] for name in names}
    if "archive_format" in last or "constants.pkl" in last or suffix in _PROGRAMS:
        return Kind.PROGRAM
    if any(name.endswith(".pkl") for name in last) or suffix in _WEIGHTS | _PICKLES:
        return Kind.PICKLE
    return None


def _is_pickle(head: bytes) -> bool:
    if head[3:9] == b"\0\0\0\0\0{":  # safetensors: the length of a header, and the header
        return False
    return len(head) > 2 and head[0] == _PICKLE and head[1] in _PROTOCOLS and head[2] in _OPCODES  # noqa: PLR2004


def _files(directory: Path) -> Iterator[Path]:
    count = 0
    seen: set[tuple[int, int]] = set()
    for folder, folders, names in os.walk(directory, followlinks=True):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            if not path.is_file():
                continue
            count += 1
            if count > MAX_FILES:
                raise UntrustedError(
                    f"{directory} has more than {MAX_FILES} files; nobody has looked at them"
                )
            yield path


def _digest(path: Path) -> str:
    try:
        return Digest.of_file(path).hex
    except OSError as error:
        raise UntrustedError(f"{path} cannot be read: {error.strerror or error}") from None
