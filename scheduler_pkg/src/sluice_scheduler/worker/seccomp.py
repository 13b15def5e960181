"""Which system calls a process and its descendants may make: a filter that anyone may give to himself.

`seccomp(2)`, filter mode. Calls that are refused fail with EACCES. Sockets are refused as a whole where there is to be
no network, `AF_UNIX` included: services of the machine listen there too. `socketpair` stays.
"""

from __future__ import annotations

import errno
import os
import struct

from . import kernel

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_LOAD, _JUMP_EQUAL, _JUMP_GREATER, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _ARCHITECTURE = 0, 4  # offsets in `struct seccomp_data`
_X32 = 0x40000000  # calls of x86-64 with short pointers begin there

# AUDIT_ARCH of each machine, `socket`, and what leads out of the confinement or into other processes: io_uring_setup
# (opens sockets too), ptrace, process_vm_readv, process_vm_writev, unshare, setns, mount, bpf, perf_event_open,
# add_key, request_key, keyctl, userfaultfd.
_MACHINES = {
    "x86_64": (0xC000003E, 41, (425, 101, 310, 311, 272, 308, 165, 321, 298, 248, 249, 250, 323)),
    "aarch64": (0xC00000B7, 198, (425, 117, 270, 271, 97, 268, 40, 280, 241, 217, 218, 219, 282)),
}


def restrict(*, network: bool) -> None:
    """Refuse the calls for this process and every descendant; sockets too unless `network`.

    Raises:
        KernelError: the kernel does not filter, or the machine's calls are not known here.

    """
    machine = os.uname().machine
    if machine not in _MACHINES or struct.calcsize("P") != 8:  # noqa: PLR2004 - bytes
        raise kernel.KernelError(f"the system calls of {machine} are not known here")
    instructions = _program(machine, network=network)
    program = kernel.pack("=" + "HBBI" * len(instructions), *(part for one in instructions for part in one))
    given = kernel.pack("@HP", len(instructions), kernel.address(program))
    kernel.prctl(_PR_SET_SECCOMP, _MODE_FILTER, given)


def _program(machine: str, *, network: bool) -> list[tuple[int, int, int, int]]:
    architecture, socket, others = _MACHINES[machine]
    refused = others if network else (socket, *others)
    refuse = _ERRNO | errno.EACCES
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, refuse),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if machine == "x86_64":
        program += [(_JUMP_GREATER, 0, 1, _X32), (_RETURN, 0, 0, refuse)]
    for number in refused:
        program += [(_JUMP_EQUAL, 0, 1, number), (_RETURN, 0, 0, refuse)]
    return [*program, (_RETURN, 0, 0, _ALLOW)]
