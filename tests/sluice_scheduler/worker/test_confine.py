"""What is said where a kernel does less than this one. What a whole one does is shown with real daemons."""

import errno
import os
import struct

import pytest

from sluice_scheduler.confinement import Confined
from sluice_scheduler.worker import confine, kernel, landlock, namespaces, seccomp

WANTED = {"read": ["/usr"], "write": ["/nowhere"], "network": False, "memory": None}


def refuse(*_, **__):
    raise kernel.KernelError("Function not implemented")


def give(*_, **__):
    return 0


@pytest.fixture
def parts(monkeypatch):
    """Let a kernel do, or refuse, each part by itself."""

    def make(**does):
        for name, (module, function) in {
            "limits": (confine, "_limit"),
            "namespaces": (namespaces, "leave_if_allowed"),
            "shm": (namespaces, "own_shared_memory"),
            "capabilities": (confine, "_drop_capabilities"),
            "landlock": (landlock, "restrict"),
            "seccomp": (seccomp, "restrict"),
        }.items():
            monkeypatch.setattr(module, function, does.get(name, give))
        return Confined.parse(confine.apply(WANTED))

    return make


def test_a_kernel_that_does_nothing_confines_nothing_and_each_of_it_is_said(parts):
    held = parts(limits=refuse, namespaces=refuse, capabilities=refuse, landlock=refuse, seccomp=refuse)
    assert (held.files, held.network, held.signals, held.shared_memory, held.capabilities) == (
        "unconfined",
        "unconfined",
        "unconfined",
        "shared",
        "unconfined",
    )
    assert [line.partition(":")[0] for line in held.refused] == [
        "resource limits",
        "namespaces",
        "dropping capabilities",
        "landlock",
        "seccomp",
    ]


def test_either_a_filter_or_a_namespace_is_enough_against_the_network(parts):
    assert parts(namespaces=refuse).network == "none"
    assert parts(seccomp=refuse).network == "namespace"


def test_a_landlock_that_cannot_scope_signals_is_said(parts):
    old, new = parts(landlock=lambda *_, **__: 5), parts(landlock=lambda *_, **__: 6)
    assert (old.files, old.signals, len(old.refused)) == ("landlock", "unconfined", 1)
    assert (new.files, new.signals, new.refused) == ("landlock", "landlock", ())


@pytest.mark.parametrize(
    ("abi", "size", "handled"),
    [
        (1, 8, 0x1FFF),
        (2, 8, 0x3FFF),
        (3, 8, 0x7FFF),
        (4, 16, 0x7FFF),
        (5, 16, 0xFFFF),
        (6, 24, 0xFFFF),
        (99, 24, 0xFFFF),
    ],
)
def test_landlock_is_asked_for_what_its_version_knows(monkeypatch, tmp_path, abi, size, handled):
    calls = []

    def call(_, number, *arguments):
        calls.append((number, arguments))
        if number == 444 and arguments[0] is None:
            return abi
        return os.open(tmp_path, os.O_RDONLY) if number == 444 else 0  # a ruleset is a descriptor

    monkeypatch.setattr(kernel, "call", call)
    (tmp_path / "file").touch()
    landlock.restrict(
        [(str(tmp_path), landlock.ALL), (str(tmp_path / "file"), landlock.ALL), ("/no", 1)], network=False
    )
    made = next(arguments for number, arguments in calls if number == 444 and arguments[0] is not None)
    assert (struct.unpack_from("=Q", made[0].raw)[0], made[1]) == (handled, size)
    allowed = [struct.unpack_from("=Q", arguments[2].raw)[0] for number, arguments in calls if number == 445]
    assert allowed == [handled, handled & 0xC007]  # of a file: no rights of folders


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("network", [True, False])
def test_the_filter_refuses_what_it_lists_and_other_machines_calls(machine, network):
    program = seccomp._program(machine, network=network)
    architecture, socket, others = seccomp._MACHINES[machine]

    def run(number, arch):
        place, value = 0, 0
        while True:
            code, yes, no, k = program[place]
            place += 1
            if code == seccomp._LOAD:
                value = {0: number, 4: arch}[k]
            elif code == seccomp._RETURN:
                return k
            else:
                place += yes if (value == k if code == seccomp._JUMP_EQUAL else value >= k) else no

    allow, deny = seccomp._ALLOW, seccomp._ERRNO | errno.EACCES
    assert run(0, architecture) == allow
    assert run(0, 0x40000003) == deny
    assert {run(number, architecture) for number in others} == {deny}
    assert run(socket, architecture) == (allow if network else deny)
    assert run(socket + 12, architecture) == allow
    if machine == "x86_64":
        assert run(0x40000000, architecture) == deny


def test_machines_whose_calls_are_not_known_are_not_filtered(monkeypatch):
    monkeypatch.setattr(seccomp, "_MACHINES", {})
    with pytest.raises(kernel.KernelError, match="not known"):
        seccomp.restrict(network=False)
