"""Which files a process and its descendants may use, said to the kernel: Landlock, which needs no privileges.

https://docs.kernel.org/userspace-api/landlock.html; the ABI's version says what the running kernel knows.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from . import kernel

if TYPE_CHECKING:  # evaluated by no Python, so by 3.8 neither
    from collections.abc import Iterable

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # system calls, the same on every architecture
_VERSION = 1  # a flag of the first
_PATH_BENEATH = 1  # the type of a rule

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
TRUNCATE, IOCTL_DEV = 1 << 14, 1 << 15
_OF_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
_TCP = 1 | 2  # bind and connect, from ABI 4
_SCOPES = 1 | 2  # abstract unix sockets and signals, from ABI 6
_NET_ABI, SCOPE_ABI = 4, 6

READ = EXECUTE | READ_FILE | READ_DIR
DEVICE = READ_FILE | WRITE_FILE | IOCTL_DEV
ALL = (1 << 16) - 1
_OF_A_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV


def abi() -> int:
    """Return the version of Landlock that the kernel has.

    Raises:
        KernelError: it has none, or it is switched off.

    """
    return kernel.call("syscall", _CREATE_RULESET, None, 0, _VERSION)


def restrict(rules: Iterable[tuple[str, int]], *, network: bool) -> int:
    """Allow the rights of each path, and of what lies below it, and no others; returns the ABI's version.

    Paths that are absent are left out. `network` leaves TCP alone. From ABI 6 on, signals reach only what is
    restricted in the same way: the process, its children, and theirs.

    Raises:
        KernelError: the kernel does not do it; nothing is restricted then.

    """
    version = abi()
    known = _OF_ABI.get(version, _OF_ABI[5])
    fields = [known]
    if version >= _NET_ABI:
        fields.append(0 if network else _TCP)
    if version >= SCOPE_ABI:
        fields.append(_SCOPES & ~1 if network else _SCOPES)
    attributes = kernel.pack(f"={len(fields)}Q", *fields)
    ruleset = kernel.call("syscall", _CREATE_RULESET, attributes, 8 * len(fields), 0)
    try:
        for path, rights in rules:
            _allow(ruleset, path, rights & known)
        kernel.call("syscall", _RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return version


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            rights &= _OF_A_FILE
        if rights:
            kernel.call("syscall", _ADD_RULE, ruleset, _PATH_BENEATH, kernel.pack("=Qi", rights, fd), 0)
    finally:
        os.close(fd)
