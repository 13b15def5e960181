"""Frames: what the daemon and its workers say to each other over a unix stream socket.

A frame is the header's length (u32-LE), the body's length (u64-LE), the header (a JSON object in UTF-8) and the
body. A header's `tensors` lists `{"name", "datatype", "shape", "size"}`; the body is their bytes, one after the
other. A body of more than `sealed.LARGE` bytes travels beside the socket instead: the frame's own is empty, its header
says `"sealed": SIZE`, and a sealed memory file of that size comes with its first byte. Both ends bound what they take.
Standard library only: the worker runs this under any Python.
"""

from __future__ import annotations

import array
import json
import os
import socket
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from . import sealed

PREFIX = struct.Struct("<IQ")
MAX_HEADER_BYTES = 1 << 20
MAX_BODY_BYTES = 256 << 20
MAX_FDS = 4  # accepted with one frame
SEALED = "sealed"  # the header's key for the size of a body that came as a file
_CHUNK = 1 << 20  # bytes
_RIGHTS = socket.CMSG_SPACE(MAX_FDS * array.array("i").itemsize)
_ENCODER = json.JSONEncoder(separators=(",", ":"))

if TYPE_CHECKING:  # evaluated by no Python, so by 3.8 neither
    from collections.abc import Iterable, Sequence

    Header = dict[str, Any]
    Buffer = bytes | bytearray | memoryview


class FrameError(Exception):
    """The other end of a socket does not speak in frames."""


class WireTensor(NamedTuple):
    """A tensor on its way: little-endian bytes in C order; BYTES elements each with a u32-LE length."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Buffer


class Frame(NamedTuple):
    """A header, its body, and the descriptors that came along."""

    header: Header
    body: Buffer
    fds: list[int]


def encode(header: Header, body_bytes: int = 0) -> bytes:
    """Return everything of a frame before its body.

    Raises:
        FrameError: the frame is larger than the other end would take.

    """
    text = _ENCODER.encode(header).encode()
    check_lengths(len(text), body_bytes)
    return PREFIX.pack(len(text), body_bytes) + text


def check_lengths(header_bytes: int, body_bytes: int) -> None:
    """Refuse what nobody would send on purpose.

    Raises:
        FrameError: header or body is too large.

    """
    if not 0 < header_bytes <= MAX_HEADER_BYTES:
        raise FrameError(f"a frame's header of {header_bytes} bytes; 1 to {MAX_HEADER_BYTES} are taken")
    if body_bytes > MAX_BODY_BYTES:
        raise FrameError(f"a frame's body of {body_bytes} bytes; at most {MAX_BODY_BYTES} are taken")


def decode(text: Buffer) -> Header:
    """Read a header.

    Raises:
        FrameError: it is not a JSON object.

    """
    try:
        header = json.loads(bytes(text).decode())
    except (ValueError, RecursionError) as error:
        raise FrameError(f"a frame's header is not JSON: {error}") from None
    if not isinstance(header, dict):
        raise FrameError("a frame's header is not a JSON object")
    return header


def send(sock: socket.socket, header: Header, body: Sequence[Buffer] = (), fds: Sequence[int] = ()) -> None:
    """Send a frame, descriptors with its first byte, a large body as a file.

    Raises:
        FrameError: the frame is too large.
        OSError: the other end is gone, or there is no room for the file.

    """
    size = sum(len(part) for part in body)
    check_lengths(1, size)
    if size > sealed.LARGE and not fds:
        file = sealed.create(body)
        if file is not None:
            try:
                send(sock, {**header, SEALED: size}, fds=[file])
            finally:
                os.close(file)
            return
    head = encode(header, size)
    if size <= sealed.LARGE:  # to copy is cheaper than to call the kernel again
        head, body = b"".join((head, *body)), ()
    if fds:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        head = head[sock.sendmsg([head], rights) :]
    sock.sendall(head)
    for part in body:
        sock.sendall(part)


def receive(sock: socket.socket) -> Frame | None:
    """Wait for a frame; None when the other end closed between frames. A body that came as a file is mapped.

    Raises:
        FrameError: it closed within a frame, or sent something else.
        OSError: the socket is broken.

    """
    fds: list[int] = []
    try:
        prefix = _prefix(sock, fds)
        if not prefix:
            return None
        header_bytes, body_bytes = PREFIX.unpack(prefix)
        check_lengths(header_bytes, body_bytes)
        rest = memoryview(_exactly(sock, header_bytes + body_bytes))
        header = decode(rest[:header_bytes])
        if SEALED in header:
            return Frame(header, _mapped(header, fds), fds)
        return Frame(header, rest[header_bytes:], fds)
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise


def _mapped(header: Header, fds: list[int]) -> memoryview:
    """Map a frame's file, and take it from the descriptors."""
    size = sealed_size(header)
    if len(fds) != 1:
        raise FrameError("a frame's body is to come as one file; it came with another number")
    try:
        sealed.check(fds[0], size)
        body = sealed.mapped(fds[0], size)
    except (sealed.SealError, OSError) as error:
        raise FrameError(str(error)) from None
    os.close(fds.pop())
    return body


def sealed_size(header: Header) -> int:
    """Return the size that a header gives a body that comes as a file.

    Raises:
        FrameError: it is none.

    """
    size = header.get(SEALED)
    if type(size) is not int or not sealed.LARGE < size <= MAX_BODY_BYTES:
        raise FrameError(f"a file's size is a whole number from {sealed.LARGE + 1} to {MAX_BODY_BYTES}")
    return size


def describe(tensors: Iterable[Any]) -> list[Header]:
    """Return a header's `tensors` for values with name, datatype, shape and data."""
    return [
        {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": list(tensor.shape),
            "size": len(tensor.data),
        }
        for tensor in tensors
    ]


def tensors_of(header: Header, body: Buffer) -> list[WireTensor]:
    """Return the tensors that a header lists, their data being views of the body.

    Raises:
        FrameError: the list is malformed or does not add up to the body.

    """
    view, offset, tensors = memoryview(body), 0, []
    try:
        for item in header["tensors"]:
            shape = tuple(int(size) for size in item["shape"])
            size = int(item["size"])
            if size < 0 or offset + size > len(view):
                raise FrameError("a frame's tensors do not add up to its body")
            data = view[offset : offset + size]
            tensors.append(WireTensor(str(item["name"]), str(item["datatype"]), shape, data))
            offset += size
    except (KeyError, TypeError, ValueError):
        raise FrameError("a frame's tensors are not a list of name, datatype, shape and size") from None
    if offset != len(view):
        raise FrameError("a frame's tensors do not add up to its body")
    return tensors


def _prefix(sock: socket.socket, fds: list[int]) -> bytes:
    """Read a frame's first bytes and the descriptors with them (`socket.recv_fds` is younger than 3.8)."""
    data = b""
    while len(data) < PREFIX.size:
        part, ancillary, _, _ = sock.recvmsg(PREFIX.size - len(data), _RIGHTS, socket.MSG_CMSG_CLOEXEC)
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                received = array.array("i")
                received.frombytes(content[: len(content) - len(content) % received.itemsize])
                fds += received
        if not part:
            if data:
                raise FrameError("the socket closed within a frame")
            return b""
        data += part
    return data


def _exactly(sock: socket.socket, size: int) -> bytearray:
    buffer = bytearray(min(size, _CHUNK))  # grows as bytes arrive: a length alone takes no memory
    filled = 0
    while filled < size:
        if filled == len(buffer):
            buffer += bytes(min(size - filled, max(_CHUNK, filled)))
        with memoryview(buffer) as view:
            count = sock.recv_into(view[filled:])
        if not count:
            raise FrameError("the socket closed within a frame")
        filled += count
    return buffer
