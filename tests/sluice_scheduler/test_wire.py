"""Frames from a worker are taken for hostile: model code runs at the other end."""

import asyncio
import contextlib
import fcntl
import json
import os
import socket
import struct
from pathlib import Path

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice_scheduler import payload
from sluice_scheduler.errors import WorkerError
from sluice_scheduler.tensors import Tensor
from sluice_scheduler.wire import FrameSocket, encode
from sluice_scheduler.worker import frames as worker_frames
from sluice_scheduler.worker import sealed


def receive(data, chunk=None):
    """Receive one frame of what the other end sent before it hung up."""

    async def work():
        ours, theirs = socket.socketpair()
        frames = FrameSocket(ours)
        reading = asyncio.create_task(frames.receive())
        for start in range(0, len(data), chunk or max(1, len(data))):
            await asyncio.sleep(0)
            theirs.sendall(data[start : start + (chunk or len(data))])
        theirs.close()
        try:
            header, body = await reading
            return header, body[:]
        finally:
            frames.close()

    return asyncio.run(work())


@pytest.mark.parametrize("chunk", [None, 1, 7])
def test_a_frame_arrives_whole_in_any_pieces(chunk):
    assert receive(encode({"op": "x"}, b"body"), chunk) == ({"op": "x"}, b"body")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\1",
        encode({"op": "x"}, b"body")[:-1],
        struct.pack("<IQ", 1 << 21, 0),
        struct.pack("<IQ", 2, 1 << 40) + b"{}",
        struct.pack("<IQ", 2, 0) + b"[]",
        struct.pack("<IQ", 4, 0) + b"nope",
        struct.pack("<IQ", 1000, 0) + b"[" * 1000,
    ],
    ids=["nothing", "a byte", "cut", "large header", "large body", "list", "no JSON", "deep"],
)
def test_what_is_no_frame_is_an_error(data):
    with pytest.raises(WorkerError):
        receive(data)


def test_closing_ends_a_read_under_way():
    async def work():
        ours, theirs = socket.socketpair()
        with theirs:
            frames = FrameSocket(ours)
            reading = asyncio.create_task(frames.receive())
            await asyncio.sleep(0.01)
            frames.close()
            with pytest.raises(WorkerError, match="gone"):
                await asyncio.wait_for(reading, 5)
            with pytest.raises(WorkerError, match="gone"):
                await frames.send(({}, b""))
            assert ours.fileno() == -1

    asyncio.run(work())


class Ends:
    """The daemon's end of a socket, and a worker's."""

    def __init__(self):
        ours, self.theirs = socket.socketpair()
        self.theirs.settimeout(10)
        self.frames = FrameSocket(ours)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self.frames.close()
        self.theirs.close()

    async def received(self):
        header, body = await asyncio.wait_for(self.frames.receive(), 10)
        with contextlib.closing(body):
            return header, body.large, body[:]


def descriptors():
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize("runner", [asyncio.run, uvloop.run])
def test_what_comes_while_nobody_reads_waits_in_the_socket(runner):
    async def work():
        async with Ends() as ends:
            worker_frames.send(ends.theirs, {"n": 1})
            assert (await ends.received())[0] == {"n": 1}
            worker_frames.send(ends.theirs, {"n": 2}, [b"body"])
            for _ in range(9):
                await asyncio.sleep(0)
            assert ends.frames._watching is None  # or the event loop would find it readable for ever
            assert not ends.frames._buffer
            assert await ends.received() == ({"n": 2}, False, b"body")
            ends.theirs.close()
            with pytest.raises(WorkerError, match="gone"):
                await ends.received()
            with pytest.raises(WorkerError, match="gone"):
                await ends.received()

    runner(work())


LARGE = sealed.LARGE + 1


@pytest.mark.parametrize("size", [0, 1, sealed.LARGE, LARGE, 3 << 20])
def test_bodies_cross_both_ways_large_ones_as_files(size):
    content = os.urandom(size)

    async def work():
        async with Ends() as ends:
            before = descriptors()
            for number in range(3):
                there = asyncio.to_thread(worker_frames.receive, ends.theirs)
                sending = asyncio.gather(there, ends.frames.send(({"n": number}, content)))
                frame, _ = await asyncio.wait_for(sending, 10)
                assert (frame.header["n"], bytes(frame.body), frame.fds) == (number, content, [])
                assert (worker_frames.SEALED in frame.header) is (size > sealed.LARGE)
                del frame, sending
                back = asyncio.to_thread(
                    worker_frames.send, ends.theirs, {"n": number}, [content[:9], content[9:]]
                )
                (header, large, body), _ = await asyncio.gather(ends.received(), back)
                assert (header["n"], large, body) == (number, size > sealed.LARGE, content)
            assert descriptors() == before

    asyncio.run(work())


@given(st.lists(st.sampled_from([0, 5, LARGE, LARGE + 1]), max_size=6))
@settings(max_examples=20, deadline=None)
def test_files_stay_with_their_frames_in_any_mixture(sizes):
    contents = [bytes([number]) * size for number, size in enumerate(sizes)]

    async def work():
        async with Ends() as ends:
            there = asyncio.to_thread(lambda: [worker_frames.receive(ends.theirs) for _ in sizes])
            sending = ends.frames.send(*[({"n": n}, content) for n, content in enumerate(contents)])
            arrived, _ = await asyncio.wait_for(asyncio.gather(there, sending), 10)
            assert [bytes(frame.body) for frame in arrived] == contents
            for number, content in enumerate(contents):
                worker_frames.send(ends.theirs, {"n": number}, [content])
            assert [(await ends.received())[2] for _ in sizes] == contents

    asyncio.run(work())


def test_without_memory_files_the_socket_carries_everything(monkeypatch):
    monkeypatch.setattr(sealed, "AVAILABLE", False)
    content = os.urandom(LARGE)

    async def work():
        async with Ends() as ends:
            there = asyncio.to_thread(worker_frames.receive, ends.theirs)
            frame, _ = await asyncio.gather(there, ends.frames.send(({}, content)))
            assert (frame.header, bytes(frame.body)) == ({}, content)
            back = asyncio.to_thread(worker_frames.send, ends.theirs, {}, [content])
            assert (await asyncio.gather(ends.received(), back))[0] == ({}, False, content)

    asyncio.run(work())


def _file(size, seals=sealed._NEEDED):
    fd = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    fcntl.fcntl(fd, sealed._ADD_SEALS, seals)
    return fd


def _pipe():
    read, write = os.pipe()
    os.close(write)
    return read


@pytest.mark.parametrize(
    ("file", "size"),
    [
        (lambda: _file(LARGE, seals=0), LARGE),
        (lambda: _file(LARGE, seals=2 | 4), LARGE),
        (lambda: _file(LARGE, seals=8 | 4), LARGE),
        (lambda: _file(LARGE), LARGE + 1),
        (lambda: _file(LARGE + 1), LARGE),
        (lambda: _file(5), 5),
        (lambda: _file(LARGE), (256 << 20) + 1),
        (lambda: _file(LARGE), True),
        (lambda: _file(LARGE), "131073"),
        (_pipe, LARGE),
        (lambda: os.open("/dev/zero", os.O_RDONLY), LARGE),
        (None, LARGE),
    ],
    ids=[
        *("unsealed", "writable", "may shrink", "short", "long", "small", "huge", "bool", "text"),
        *("pipe", "device", "none"),
    ],
)
def test_a_file_that_its_sender_could_change_or_that_is_not_what_was_said_is_refused(file, size):
    async def work():
        async with Ends() as ends:
            before = descriptors()
            fd = file() if file else None
            worker_frames.send(ends.theirs, {worker_frames.SEALED: size}, fds=[fd] if file else [])
            if file:
                os.close(fd)
            with pytest.raises(WorkerError, match="no frame"):
                await asyncio.wait_for(ends.frames.receive(), 10)
            ends.frames.close()
            assert descriptors() == before - 1  # the socket

    asyncio.run(work())


def test_files_that_nobody_announced_are_refused_and_closed():
    async def work():
        async with Ends() as ends:
            before = descriptors()
            fd = _file(LARGE)
            with pytest.raises(WorkerError, match="did not announce"):  # noqa: PT012 - until it is too many
                for _ in range(9):
                    worker_frames.send(ends.theirs, {}, fds=[fd])
                    await asyncio.wait_for(ends.frames.receive(), 10)
            os.close(fd)
            ends.frames.close()
            assert descriptors() == before - 1

    asyncio.run(work())


def test_a_worker_does_not_map_a_file_that_could_shrink():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        fd = _file(LARGE, seals=8)
        worker_frames.send(ours, {worker_frames.SEALED: LARGE}, fds=[fd])
        os.close(fd)
        with pytest.raises(worker_frames.FrameError, match="can still change"):
            worker_frames.receive(theirs)


tensors = st.builds(
    lambda values, name: Tensor(name, "UINT8", (len(values),), values), st.binary(), st.sampled_from("abcdef")
)


@given(st.lists(tensors, unique_by=lambda tensor: tensor.name))
def test_tensors_come_back_as_they_were_packed(given_tensors):
    assert payload.unpack(payload.pack(given_tensors)) == tuple(given_tensors)


GOOD = {"name": "a", "datatype": "UINT8", "shape": [2], "size": 2}


@pytest.mark.parametrize(
    "header",
    [
        None,
        {},
        [{}],
        [{**GOOD, "size": 3}],
        [{**GOOD, "size": -2}],
        [{**GOOD, "size": True}],
        [{**GOOD, "shape": [3]}],
        [{**GOOD, "shape": None}],
        [{**GOOD, "datatype": "STRING"}],
        [{**GOOD, "name": ""}],
        [],
        [GOOD, GOOD],
    ],
    ids=json.dumps,
)
def test_tensors_that_do_not_fit_their_header_are_an_error(header):
    with pytest.raises(WorkerError, match="do not fit"):
        payload.assemble(header, b"\0\0")
