"""What a real daemon says over gRPC to messages that are none: one status, and the next one is answered."""

import os
import socket
import struct
import time
from pathlib import Path

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as triton

INFER = "/inference.GRPCInferenceService/ModelInfer"
MOST_MEMORY = 160 << 20  # bytes that a bad message may cost: a text without length is two bytes on the wire
LIMIT = 8 << 20  # the default of --max-request-bytes


def memory(daemon):
    """Read the most that a process ever had in memory, in bytes."""
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) << 10


@pytest.fixture(scope="module")
def channel_to(rpc_daemon):
    with grpc.insecure_channel(rpc_daemon.rpc) as channel:
        yield channel


@pytest.fixture(autouse=True)
def unharmed(rpc_daemon, channel_to):
    """Let every test end with an answer of the same daemon, which has not grown."""
    call(channel_to, request(typed("text", "BYTES", [1], bytes_contents=[b"first"])))
    before = memory(rpc_daemon)
    yield
    answer = call(channel_to, request(typed("text", "BYTES", [1], bytes_contents=[b"next"])))
    assert answer.outputs[0].contents.bytes_contents == [b"NEXT"]
    assert memory(rpc_daemon) - before < MOST_MEMORY
    assert "Traceback" not in rpc_daemon.log()


def call(channel, message, path=INFER):
    body = message if isinstance(message, bytes) else message.SerializeToString()
    return triton.ModelInferResponse.FromString(channel.unary_unary(path)(body, timeout=30))


def refused(channel, message, path=INFER):
    """Send what is refused; returns the status and what was told."""
    with pytest.raises(grpc.RpcError) as error:
        call(channel, message, path)
    assert "\n" not in error.value.details()
    return error.value.code().name, error.value.details()


def status(channel, body):
    """Send bytes; returns the status of what comes back."""
    try:
        call(channel, body)
    except grpc.RpcError as error:
        return error.code().name
    return "OK"


def typed(name, datatype, shape, **contents):
    one = triton.ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=shape)
    for field, values in contents.items():
        getattr(one.contents, field).extend(values)
    return one


def request(*inputs, model="mirror", raw=(), **more):
    if inputs and inputs[0].name in ("text", "pixels"):
        model = "echo"
    return triton.ModelInferRequest(model_name=model, inputs=inputs, raw_input_contents=raw, **more)


PIXELS = struct.pack("<2f", 1.5, -2.0)


def pixels(shape=(1, 2), datatype="FP32", name="pixels", **contents):
    return typed(name, datatype, shape, **contents)


def sized(number, content):
    """Write a field of the wire that has a length."""
    size, length = len(content), b""
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


BAD = {
    "no tensor": (request(model="echo"), "exactly one of text, pixels; found none"),
    "no name": (
        request(pixels(name=""), raw=[PIXELS], model="echo"),
        "a tensor's name is 1 to 128 printable",
    ),
    "twice": (request(pixels(), pixels(), raw=[PIXELS, PIXELS]), "'pixels' is given twice"),
    "no datatype": (request(pixels(datatype=""), raw=[PIXELS]), "unknown datatype ''"),
    "a datatype that is none": (request(pixels(datatype="FP31" * 100)), "unknown datatype 'FP31FP31"),
    "short": (request(pixels(), raw=[PIXELS[:7]]), "needs 8 bytes, found 7"),
    "long": (request(pixels(), raw=[PIXELS + b"!"]), "needs 8 bytes, found 9"),
    "too few parts": (
        request(pixels(), typed("text", "BYTES", [1]), raw=[PIXELS]),
        "raw_input_contents has 1 parts for 2 inputs",
    ),
    "too many parts": (request(pixels(), raw=[PIXELS] * 2), "raw_input_contents has 2 parts for 1 inputs"),
    "both": (
        request(pixels(fp32_contents=[1, 2]), raw=[PIXELS]),
        "it has fp32_contents and raw_input_contents; give one of them",
    ),
    "another field": (
        request(pixels(int_contents=[1, 2])),
        "the data of FP32 is in fp32_contents, not in int_contents",
    ),
    "two fields": (
        request(pixels(fp32_contents=[1, 2], fp64_contents=[1, 2])),
        "the data of FP32 is in fp32_contents, not in fp64_contents",
    ),
    "too few values": (request(pixels(fp32_contents=[1])), "needs 2 elements, found 1"),
    "no values": (request(pixels()), "needs 2 elements, found 0"),
    "values without a field": (
        request(typed("half", "FP16", [1], fp32_contents=[1])),
        "the data of FP16 is given in raw_input_contents",
    ),
    "a value that does not fit": (
        request(typed("rows", "INT8", [1, 2], int_contents=[1, 128])),
        "element 1 is outside INT8's range -128 to 127",
    ),
    "a byte that is no BOOL": (
        request(typed("flag", "BOOL", [2]), raw=[b"\0\2"]),
        "a byte of BOOL is 0 or 1",
    ),
    "negative shape": (request(pixels(shape=[-1, -2]), raw=[PIXELS]), "whole numbers from 0"),
    "overflowing shape": (request(pixels(shape=[2**62, 2**62, 0]), raw=[PIXELS]), "whole numbers from 0"),
    "endless shape": (request(pixels(shape=[1] * 1_000_000), raw=[PIXELS]), "at most 8 whole numbers"),
    "cut element": (
        request(typed("text", "BYTES", [1]), raw=[struct.pack("<I", 2**32 - 1) + b"abcd"]),
        "ends inside an element",
    ),
    "10,000 tensors": (
        request(*(typed(f"x{number}", "FP32", [1], fp32_contents=[1]) for number in range(10_000))),
        "the message has more than 4096 fields",
    ),
    "65 tensors": (
        request(*(typed(f"x{number}", "FP32", [1], fp32_contents=[1]) for number in range(65))),
        "inputs has 65 tensors; at most 64 are taken",
    ),
    "shared memory": (
        request(
            triton.ModelInferRequest.InferInputTensor(
                name="pixels",
                datatype="FP32",
                shape=[1, 2],
                parameters={"shared_memory_region": triton.InferParameter(string_param="x")},
            )
        ),
        "shared memory are not taken here",
    ),
    "parameter of a tensor": (
        request(
            triton.ModelInferRequest.InferInputTensor(
                name="pixels", parameters={"x": triton.InferParameter(bool_param=True)}
            )
        ),
        "parameter 'x' is not taken here",
    ),
    "parameter of no kind": (
        request(pixels(), raw=[PIXELS], parameters={"priority": triton.InferParameter()}),
        "priority is a whole number from 0",
    ),
    "parameter of another kind": (
        request(pixels(), raw=[PIXELS], parameters={"priority": triton.InferParameter(string_param="1")}),
        "priority is a whole number from 0",
    ),
    "long id": (request(pixels(), raw=[PIXELS], id="x" * 1025), "id is a text of at most 1024"),
    "65 outputs": (
        request(
            pixels(),
            raw=[PIXELS],
            outputs=[triton.ModelInferRequest.InferRequestedOutputTensor(name=f"x{n}") for n in range(65)],
        ),
        "outputs is a list of at most 64",
    ),
    "an output twice": (
        request(
            pixels(),
            raw=[PIXELS],
            outputs=[triton.ModelInferRequest.InferRequestedOutputTensor(name="text")] * 2,
        ),
        "output 'text' is asked for twice",
    ),
    "no message": (b"\xff" * 100, "the message is no ModelInferRequest"),
    "half a message": (request(pixels(), raw=[PIXELS]).SerializeToString()[:-3], "is no ModelInferRequest"),
    "a number without end": (b"\x0a" + b"\xff" * 1_000_000, "is no ModelInferRequest"),
    "no text": (b"\x0a\x02\xff\xfe", "is no ModelInferRequest"),
    "deep": (b"\x0b" * 4000, "is no ModelInferRequest"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_malformed_is_refused(channel_to, name):
    message, expected = BAD[name]
    status, told = refused(channel_to, message)
    assert (status, expected in told) == ("INVALID_ARGUMENT", True), told


def test_bytes_at_random(channel_to):
    rng = np.random.default_rng(5)
    good = request(pixels(fp32_contents=[1, 2]), id="x").SerializeToString()
    for _ in range(300):
        noisy = bytearray(good)
        for place in rng.integers(0, len(good), 3):
            noisy[place] = rng.integers(0, 256)
        assert status(channel_to, bytes(noisy)) in ("OK", "INVALID_ARGUMENT", "NOT_FOUND")


def test_what_is_too_large_is_not_taken(channel_to):
    status, told = refused(channel_to, bytes(LIMIT + 1))
    assert (status, "larger than max" in told) == ("RESOURCE_EXHAUSTED", True)
    many = request(typed("text", "BYTES", [1]), raw=[bytes(64 << 20)])
    assert refused(channel_to, many)[0] == "RESOURCE_EXHAUSTED"


FULL = {
    "tensors": b"\x2a\x00" * (LIMIT // 2),
    "tensors with contents": b"\x2a\x02\x2a\x00" * (LIMIT // 4),
    "parts": b"\x3a\x00" * (LIMIT // 2),
    "outputs": b"\x32\x00" * (LIMIT // 2),
    "parameters": b"".join(b"\x22\x06\x0a\x04%04x" % number for number in range(1 << 16)),
    "parameters of a tensor": sized(5, sized(4, b"\x0a\x00") * (LIMIT // 4 - 8)),
    "unknown fields": b"\x78\x00" * (LIMIT // 2),
    "groups": b"\x7b\x7c" * (LIMIT // 2),
    "elements": sized(1, b"echo")
    + sized(5, sized(1, b"text") + sized(2, b"BYTES") + sized(5, b"\x42\x00" * (LIMIT // 2 - 32))),
    "contents": sized(1, b"echo")
    + sized(5, sized(1, b"text") + sized(2, b"BYTES") + b"\x2a\x00" * (LIMIT // 2 - 32)),
}


@pytest.mark.parametrize("name", FULL)
def test_many_small_things_in_one_message(channel_to, name):
    began = time.monotonic()
    assert refused(channel_to, FULL[name])[0] in ("INVALID_ARGUMENT", "NOT_FOUND")
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 1000,
        os.urandom(4096),
    ],
    ids=["http", "frames", "noise"],
)
def test_what_is_no_grpc(rpc_daemon, sent):
    host, _, port = rpc_daemon.rpc.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as client:
        client.sendall(sent)
        try:
            while client.recv(1 << 16):
                pass
        except ConnectionResetError:
            pass


def test_values_come_back_as_values(channel_to):
    given = request(
        typed("real", "FP64", [2], fp64_contents=[float("inf"), float("nan")]),
        typed("rows", "INT32", [2, 2], int_contents=[-(2**31), 2**31 - 1, 0, 1]),
        typed("flag", "BOOL", [2], bool_contents=[True, False]),
        typed("blob", "BYTES", [2], bytes_contents=[b"", b"\0\xff"]),
        id="mine",
    )
    answer = call(channel_to, given)
    found = {one.name: (one.datatype, list(one.shape), one.contents) for one in answer.outputs}
    assert not answer.raw_output_contents
    assert answer.id == "mine"
    assert str(list(found["real"][2].fp64_contents)) == "[inf, nan]"
    assert found["rows"][:2] == ("INT32", [2, 2])
    assert found["rows"][2].int_contents == [-(2**31), 2**31 - 1, 0, 1]
    assert found["flag"][2].bool_contents == [True, False]
    assert found["blob"][2].bytes_contents == [b"", b"\0\xff"]


def test_values_are_answered_as_bytes_on_request(channel_to):
    as_bytes = {"binary_data_output": triton.InferParameter(bool_param=True)}
    answer = call(channel_to, request(typed("real", "FP64", [1], fp64_contents=[1.5]), parameters=as_bytes))
    assert answer.raw_output_contents == [struct.pack("<d", 1.5)]
    assert not answer.outputs[0].HasField("contents")
    as_values = {"binary_data_output": triton.InferParameter(bool_param=False)}
    raw = [struct.pack("<d", 1.5)]
    answer = call(channel_to, request(typed("real", "FP64", [1]), raw=raw, parameters=as_values))
    assert answer.outputs[0].contents.fp64_contents == [1.5]


def test_bits_of_half_numbers_are_answered_as_values(channel_to):
    answer = call(channel_to, request(typed("half", "FP16", [1]), raw=[b"\0\x3c"]))
    assert answer.raw_output_contents == [b"\0\x3c"]
