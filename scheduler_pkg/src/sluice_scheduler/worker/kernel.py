"""System calls that Python's standard library has no name for, through ctypes where this Python was built with it."""

# ruff: noqa: ANN401 - what ctypes gives has no types

from __future__ import annotations

import os
import sys
from typing import Any


class KernelError(Exception):
    """The kernel, or this Python, does not do it."""


def call(name: str, *arguments: Any) -> int:
    """Call a function of the C library whose arguments are numbers, texts in bytes, ctypes objects or None.

    Raises:
        KernelError: it failed, saying how.

    """
    if not sys.platform.startswith("linux"):
        raise KernelError("not Linux")
    try:
        import ctypes  # noqa: PLC0415 - a Python may be built without it
    except ImportError:
        raise KernelError("this Python has no ctypes") from None
    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    function.restype = ctypes.c_long
    given = [ctypes.c_ulong(value & _WORD) if isinstance(value, int) else value for value in arguments]
    result = int(function(*given))
    # Functions that return an `int` leave the upper half of the register as it was.
    if result & _MINUS_ONE == _MINUS_ONE:
        raise KernelError(os.strerror(ctypes.get_errno()))
    return result


def prctl(option: int, *arguments: Any) -> int:
    """Change what the kernel keeps of this process; arguments that are not given are 0.

    Raises:
        KernelError: it failed.

    """
    return call("prctl", option, *arguments, *(0 for _ in range(4 - len(arguments))))


def pack(format_: str, *values: int) -> Any:
    """Return values as a structure in memory that a call takes the address of.

    Raises:
        KernelError: this Python has no ctypes.

    """
    import struct  # noqa: PLC0415 - as above

    try:
        import ctypes  # noqa: PLC0415 - as above
    except ImportError:
        raise KernelError("this Python has no ctypes") from None
    return ctypes.create_string_buffer(struct.pack(format_, *values))


def address(buffer: Any) -> int:
    """Return where a `pack`ed structure lies."""
    import ctypes  # noqa: PLC0415 - as above

    return ctypes.addressof(buffer)


_WORD = (1 << 64) - 1
_MINUS_ONE = (1 << 32) - 1
