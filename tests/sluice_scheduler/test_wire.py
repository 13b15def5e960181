"""Frames from a worker are taken for hostile: model code runs at the other end."""

import asyncio
import json
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_scheduler import payload
from sluice_scheduler.errors import WorkerError
from sluice_scheduler.tensors import Tensor
from sluice_scheduler.wire import FrameSocket, encode


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
            return await reading
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
                await frames.send(encode({}))
            assert ours.fileno() == -1

    asyncio.run(work())


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
