"""Gives up what a worker does not need, before any code of a model runs. What the kernel refuses is told, not hidden.

Everything here holds for all descendants and cannot be taken back.
"""

# ruff: noqa: PTH120, PTH123 - of files in /proc, and before a model is there

from __future__ import annotations

import contextlib
import os
import resource
import sys
from typing import TYPE_CHECKING, Any

from . import kernel, landlock, namespaces, seccomp

if TYPE_CHECKING:  # evaluated by no Python, so by 3.8 neither
    from collections.abc import Callable

_OPEN_FILES = 4096
_FILE_BYTES = 1 << 30  # of one file, memory files included
_OOM_SCORE = "500"  # when memory runs out the kernel ends workers before the daemon

_READABLE = (  # what a program needs of a machine: its libraries and what it says of itself
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/proc", "/sys"),
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ld.so.preload", "/etc/alternatives"),
    *(
        "/etc/localtime",
        "/etc/timezone",
        "/etc/passwd",
        "/etc/group",
        "/etc/nsswitch.conf",
        "/etc/mime.types",
    ),
    *("/etc/os-release", "/etc/machine-id", "/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/fonts"),
    *("/etc/hosts", "/etc/resolv.conf", "/etc/host.conf", "/etc/gai.conf", "/etc/services", "/etc/protocols"),
    *("/etc/OpenCL", "/etc/vulkan", "/etc/nvidia", "/etc/inputrc", "/etc/profile", "/etc/locale.alias"),
)
_DEVICES = ("null", "zero", "full", "random", "urandom", "nvidia", "dri", "kfd")  # or whose names begin so
_PR_SET_NO_NEW_PRIVS, _PR_CAPBSET_DROP = 38, 24
_CAPABILITIES = 64
_CAPSET_VERSION = 0x20080522


def drop_privileges() -> None:
    """Give up gaining privileges."""
    with contextlib.suppress(kernel.KernelError):  # told by `apply`, whose steps fail with it
        kernel.prctl(_PR_SET_NO_NEW_PRIVS, 1)


def apply(wanted: dict[str, Any]) -> dict[str, Any]:
    """Confine this process, which has one thread; says what holds.

    `wanted` has `read` and `write` (lists of paths), `network` (whether it may be used) and `memory` (bytes of private
    memory that a process may have, or null). The answer has `files`, `network`, `signals`, `shared_memory`,
    `capabilities`, `memory`, and `refused`: what the kernel did not do, a line each.
    """
    network = bool(wanted.get("network"))
    refused: list[str] = []

    def tried(what: str, do: Callable[[], object]) -> bool:
        try:
            do()
        except (kernel.KernelError, OSError, ValueError) as error:
            refused.append(f"{what}: {error}")
            return False
        return True

    memory = wanted.get("memory")
    tried("resource limits", lambda: _limit(memory))
    left = tried("namespaces", lambda: namespaces.leave_if_allowed(network=network))
    shared_memory = left and tried("a /dev/shm of its own", namespaces.own_shared_memory)
    capabilities = tried("dropping capabilities", _drop_capabilities)
    versions: list[int] = []
    rules = _rules(wanted.get("read", ()), wanted.get("write", ()))
    files = tried("landlock", lambda: versions.append(landlock.restrict(rules, network=network)))
    filtered = tried("seccomp", lambda: seccomp.restrict(network=network))
    scoped = bool(versions) and versions[0] >= landlock.SCOPE_ABI
    if files and not scoped:
        refused.append(
            f"signals to other processes of this user: landlock ABI {versions[0]} cannot refuse them"
        )
    return {
        "files": "landlock" if files else "unconfined",
        "network": "open" if network else "none" if filtered else "namespace" if left else "unconfined",
        "signals": "landlock" if scoped else "unconfined",
        "shared_memory": "own" if shared_memory else "shared",
        "capabilities": "none" if capabilities else "unconfined",
        "memory": memory,
        "refused": refused,
    }


def _limit(memory: Any) -> None:  # noqa: ANN401 - as it came
    _at_most(resource.RLIMIT_CORE, 0)
    _at_most(resource.RLIMIT_NOFILE, _OPEN_FILES)
    _at_most(resource.RLIMIT_FSIZE, _FILE_BYTES)
    if memory is not None:
        _at_most(resource.RLIMIT_DATA, int(memory))
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write(_OOM_SCORE)


def _at_most(which: int, limit: int) -> None:
    hard = resource.getrlimit(which)[1]
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(which, (limit, limit))


def _drop_capabilities() -> None:
    for number in range(_CAPABILITIES):
        try:
            kernel.prctl(_PR_CAPBSET_DROP, number)
        except kernel.KernelError:
            continue  # there is none of that number, or it was never to be had
    header = kernel.pack("=Ii", _CAPSET_VERSION, 0)
    kernel.call("capset", header, kernel.pack("=6I", *(0,) * 6))


def _rules(read: Any, write: Any) -> list[tuple[str, int]]:  # noqa: ANN401 - as it came
    roots = {os.path.dirname(os.path.realpath(sys.executable)), sys.prefix, sys.base_prefix, sys.exec_prefix}
    roots -= {"/"}
    rules = [(path, landlock.READ) for path in (*_READABLE, *sorted(roots), *map(str, read))]
    try:
        devices = [name for name in os.listdir("/dev") if name.startswith(_DEVICES)]  # noqa: PTH208 - names
    except OSError:
        devices = []
    rules += [(f"/dev/{name}", landlock.DEVICE | landlock.READ_DIR) for name in sorted(devices)]
    rules.append(("/dev/shm", landlock.ALL))  # noqa: S108 - OpenMP cannot do without
    return [*rules, *((str(path), landlock.ALL) for path in write)]
