"""What of the host decides the bytes of a compiled package."""

from __future__ import annotations

import platform
import re
import shutil
from pathlib import Path

from sluice.build.recipe import BuildError
from sluice.digest import Digest
from sluice.sources import command

TIMEOUT = 30  # seconds for a compiler to say its version
_LIBRARY = re.compile(rb"lib[\w+.-]+\.so[\w.]*")
_ELF = b"\x7fELF"


def glibc() -> str:
    """Return the version of the host's C library, `MAJOR.MINOR`, or nothing if it is not glibc."""
    name, version = platform.libc_ver()
    return version if name == "glibc" else ""


def environment() -> dict[str, str]:
    """Return what recipes are told of the host."""
    return {"SLUICE_GLIBC": glibc()} if glibc() else {}


def toolchain() -> dict[str, str]:
    """Return what the compiler, the linker and the C library say about themselves.

    Raises:
        BuildError: there is no compiler.

    """
    found = {"machine": platform.machine(), "glibc": glibc()}
    for program in ("cc", "ld"):
        if shutil.which(program) is None:
            raise BuildError(f"no `{program}` on this machine; run deploy/system-packages.sh")
        found[program] = command.run([program, "--version"], timeout=TIMEOUT).output.splitlines()[0]
    return found


def libraries(names: tuple[str, ...]) -> dict[str, str]:
    """Return file name -> sha256 of the shared libraries that `cc -lNAME` would take."""
    found: dict[str, str] = {}
    pending = [f"lib{name}.so" for name in names]
    while pending:
        name = pending.pop()
        answer = command.run(["cc", f"-print-file-name={name}"], timeout=TIMEOUT).output.strip()
        path = Path(answer).resolve()
        if name in found or not path.is_absolute() or not path.is_file():
            found.setdefault(name, "absent")
            continue
        found[name] = Digest.of_file(path).hex
        with path.open("rb") as file:
            start = file.read(4096)
        if not start.startswith(_ELF):  # a linker script that names the real ones
            pending += [word.decode() for word in _LIBRARY.findall(start)]
    return found
