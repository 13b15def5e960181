import os
import socket
import struct
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_scheduler.worker import frames
from sluice_scheduler.worker.frames import FrameError

json_objects = st.dictionaries(
    st.text(max_size=5), st.none() | st.integers() | st.text(max_size=5), max_size=4
)


@pytest.fixture
def pair():
    left, right = socket.socketpair()
    with left, right:
        right.settimeout(10)
        yield left, right


@given(json_objects, st.lists(st.binary(max_size=2000), max_size=3))
def test_a_frame_arrives_as_it_was_sent(header, body):
    left, right = socket.socketpair()
    with left, right:
        frames.send(left, header, body)
        frame = frames.receive(right)
    assert (frame.header, bytes(frame.body), frame.fds) == (header, b"".join(body), [])


def test_a_body_larger_than_the_sockets_buffer_arrives_in_pieces(pair):
    left, right = pair
    body = os.urandom(5 << 20)
    sender = threading.Thread(target=frames.send, args=(left, {}, [body]))
    sender.start()
    assert bytes(frames.receive(right).body) == body
    sender.join()


def test_descriptors_come_with_their_frame_only(pair):
    left, right = pair
    read, write = os.pipe()
    frames.send(left, {"n": 1})
    frames.send(left, {"n": 2}, [b"body"], fds=[write])
    os.close(write)
    assert frames.receive(right).fds == []
    (received,) = frames.receive(right).fds
    os.write(received, b"x")
    os.close(received)
    assert os.read(read, 9) == b"x"
    assert os.read(read, 9) == b""
    os.close(read)


@pytest.mark.parametrize(
    "sent",
    [
        struct.pack("<IQ", 2, 0) + b"[]",
        struct.pack("<IQ", 2, 0) + b"{",
        struct.pack("<IQ", 2, 0) + b"\xff\xff",
        struct.pack("<IQ", 0, 0),
        struct.pack("<IQ", (1 << 20) + 1, 0),
        struct.pack("<IQ", 2, (256 << 20) + 1) + b"{}",
        struct.pack("<IQ", 2, 256 << 20) + b"{}abc",
        struct.pack("<IQ", 1 << 20, 0) + b"[" * (1 << 20),
        b"abc",
    ],
)
def test_anything_else_is_refused_without_taking_its_length_of_memory(pair, sent):
    left, right = pair

    def send():
        left.sendall(sent)
        left.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send)
    sender.start()
    with pytest.raises(FrameError):
        frames.receive(right)
    sender.join()


def test_a_closed_socket_is_the_end(pair):
    left, right = pair
    left.close()
    assert frames.receive(right) is None


@pytest.mark.parametrize(
    "listed",
    [
        None,
        3,
        [{"name": "x"}],
        [{"name": "x", "datatype": "UINT8", "shape": [4], "size": 5}],
        [{"name": "x", "datatype": "UINT8", "shape": [4], "size": 3}],
        [{"name": "x", "datatype": "UINT8", "shape": [4], "size": -1}],
        [{"name": "x", "datatype": "UINT8", "shape": "ab", "size": 4}],
    ],
)
def test_tensors_that_do_not_add_up_are_refused(listed):
    with pytest.raises(FrameError):
        frames.tensors_of({"tensors": listed}, b"1234")


def test_an_answer_too_large_to_send_is_refused_before_a_byte_is_sent(pair):
    left, _ = pair
    with pytest.raises(FrameError, match="1 to 1048576 are taken"):
        frames.send(left, {"x": "y" * (1 << 20)})
