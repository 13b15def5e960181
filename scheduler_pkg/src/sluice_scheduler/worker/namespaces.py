"""A network and a `/dev/shm` of a process's own, in a user namespace where that is how one gets them without root.

`user_namespaces(7)`, `network_namespaces(7)`, `mount_namespaces(7)`.
"""

# ruff: noqa: PTH123 - of files in /proc

from __future__ import annotations

import os

from . import kernel

_NEW_MOUNTS, _NEW_USER, _NEW_NETWORK = 0x00020000, 0x10000000, 0x40000000
_SLAVE, _RECURSIVE = 1 << 19, 1 << 14  # flags of mount(2)
_NOSUID, _NODEV, _NOEXEC = 2, 4, 8
_SHARED_MEMORY = b"/dev/shm"
_SHARED_MEMORY_OPTIONS = b"size=256m,mode=1777"


def leave_if_allowed(*, network: bool) -> None:
    """Leave the machine's mounts and, unless `network`, its network; the new one has not even a loopback that is up.

    Raises:
        KernelError: the kernel does not let this user; the process is where it was.

    """
    read, write = os.pipe()
    child = os.fork()  # tries first: half of the way there is no way back
    if not child:
        try:
            _leave(network=network)
        except kernel.KernelError as error:
            os.write(write, str(error).encode()[:200])
        except BaseException:  # noqa: BLE001 - whatever it is, it must not go on in the child
            os.write(write, b"failed")
        finally:
            os._exit(0)
    os.close(write)
    with open(read, "rb") as told:
        reason = told.read().decode(errors="replace")
    os.waitpid(child, 0)
    if reason:
        raise kernel.KernelError(reason)
    _leave(network=network)


def _leave(*, network: bool) -> None:
    wanted = _NEW_MOUNTS if network else _NEW_MOUNTS | _NEW_NETWORK
    user, group = os.geteuid(), os.getegid()
    kernel.call("unshare", _NEW_USER | wanted)
    try:
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{user} {user} 1")
        _write("/proc/self/gid_map", f"{group} {group} 1")
        _write("/proc/sys/user/max_user_namespaces", "0")  # no further ones, and none of their privileges
    except OSError as error:
        raise kernel.KernelError(f"{error.filename}: {error.strerror}") from None


def own_shared_memory() -> None:
    """Put an empty `/dev/shm` over the machine's, for processes that have left its mounts.

    Raises:
        KernelError: the kernel does not let them.

    """
    kernel.call("mount", b"none", b"/", None, _SLAVE | _RECURSIVE, None)
    flags = _NOSUID | _NODEV | _NOEXEC
    kernel.call("mount", b"tmpfs", _SHARED_MEMORY, b"tmpfs", flags, _SHARED_MEMORY_OPTIONS)


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
