"""What a real daemon says to requests that are none: one line, and the next one is answered."""

import json
import socket
import struct
from contextlib import suppress
from pathlib import Path

import pytest

ENVIRONMENT = "test-echo-pt213-cpu"
INFER = f"/v2/models/echo/infer?environment={ENVIRONMENT}"
NUMBERS = struct.pack("<2f", 1.5, -2.0)
MOST_MEMORY = 48 << 20  # bytes that a bad request may cost


def raw(daemon, *parts, most=8 << 20):
    """Send bytes and read all that comes back, as a status and a body; None where the connection was cut."""
    address = (daemon.http.base_url.host, daemon.http.base_url.port)
    with socket.create_connection(address, timeout=20) as client:
        sent = 0
        with suppress(BrokenPipeError, ConnectionResetError):
            for part in parts:
                client.sendall(part)
                sent += len(part)
                assert sent < most, "all of it was taken"
        answer = b""
        with suppress(ConnectionResetError):
            while part := client.recv(1 << 16):
                answer += part
                head, _, body = answer.partition(b"\r\n\r\n")
                if f"content-length: {len(body)}\r\n".encode() in head.lower() + b"\r\n":
                    break
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]


def post(path=INFER, *headers, length=None, body=b"", host="localhost"):
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", *headers]
    if length is not False:
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def tensor(**more):
    return {"name": "pixels", "datatype": "FP32", "shape": [1, 2], **more}


def binary(size=8, **more):
    return json.dumps({"inputs": [tensor(parameters={"binary_data_size": size}, **more)]}).encode()


def memory(daemon):
    """Read the most that a process ever had in memory, in bytes."""
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) << 10


@pytest.fixture(autouse=True)
def unharmed(daemon):
    """Let every test end with an answer of the same daemon, which has not grown."""
    before = memory(daemon)
    yield
    assert daemon.answer("next", environment=ENVIRONMENT)["state"] == "succeeded"
    assert memory(daemon) - before < MOST_MEMORY
    assert "Traceback" not in daemon.log()


LENGTHS = ("-1", "x", "1e3", "9" * 13, "100000", "", "0x10", "+5", "\xb2", "5, 5")


@pytest.mark.parametrize("given", LENGTHS, ids=ascii)
def test_malformed_header_lengths(daemon, given):
    body = binary() + NUMBERS
    status, told = raw(daemon, post(INFER, f"Inference-Header-Content-Length: {given}", body=body))
    assert (status, "Inference-Header-Content-Length" in told) == (400, True)


@pytest.mark.parametrize("length", [0, 1, 20, -8, -1, 4], ids=str)
def test_header_lengths_that_cut_elsewhere(daemon, length):
    head = binary()
    length = len(head) + length if length < 0 else length
    headers = {"Inference-Header-Content-Length": str(length)}
    response = daemon.http.post(INFER, content=head + NUMBERS, headers=headers)
    assert response.status_code == 400
    assert "\n" not in response.json()["error"]


@pytest.mark.parametrize(
    ("head", "tail"),
    [
        (binary(9), NUMBERS),
        (binary(7), NUMBERS[:7]),
        (binary(8), NUMBERS + b"!"),
        (binary(0), b""),
        (binary(-8), NUMBERS),
        (binary(2**63), NUMBERS),
        (binary(8.5), NUMBERS),
        (binary(None), NUMBERS),
        (binary(8, shape=[2, 2]), NUMBERS),
        (binary(8, shape=[-1, -2]), NUMBERS),
        (binary(8, shape=[2**62, 2**62, 0]), NUMBERS),
        (binary(8, datatype="BYTES", shape=[1]), struct.pack("<I", 2**32 - 1) + b"abcd"),
        (binary(8, data=[1, 2]), NUMBERS),
        (binary(8, shape=[1] * 1000), NUMBERS),
        (binary(8, name="\u0000"), NUMBERS),
    ],
    ids=[
        "more",
        "odd",
        "rest",
        "none",
        "negative",
        "huge",
        "broken",
        "null",
        "shape",
        "minus",
        "overflow",
        "element",
        "data too",
        "rank",
        "name",
    ],
)
def test_wrong_byte_counts(daemon, head, tail):
    headers = {"Inference-Header-Content-Length": str(len(head))}
    response = daemon.http.post(INFER, content=head + tail, headers=headers)
    assert response.status_code == 400
    assert "\n" not in response.json()["error"]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("[NaN, 1]", "not JSON"),
        ("[1e39, 1]", "outside FP32's range"),
        ("[1e999, 1]", "number is infinity"),
        ("[true, 1]", "takes a finite number"),
        ("[[1], [2]]", "does not match its shape"),
        ('["", ""]', "takes a finite number"),
        ("[" * 10_000 + "]" * 10_000, "not JSON"),
        ('{"a":' * 10_000 + "1" + "}" * 10_000, "not JSON"),
    ],
    ids=["NaN", "large", "infinite", "boolean", "nested", "texts", "deep lists", "deep objects"],
)
@pytest.mark.parametrize("path", ["/v1/tasks", INFER], ids=["tasks", "infer"])
def test_data_that_is_none(daemon, path, data, told):
    text = '{"inputs": [{"name": "pixels", "datatype": "FP32", "shape": [1, 2], "data": %s}]%s}'
    model = f', "model": "echo", "environment": "{ENVIRONMENT}"' if path == "/v1/tasks" else ""
    response = daemon.http.post(path, content=text % (data, model))
    assert response.status_code == 400
    assert told in response.json()["error"]


def test_numbers_that_are_none_are_taken_where_the_protocol_has_them(daemon):
    document = {"inputs": [tensor(data=["NaN", "-Infinity"])]}
    response = daemon.http.post(INFER, json=document)
    assert response.json()["outputs"][0]["data"] == ["[nan, -inf]"]


@pytest.mark.parametrize("shape", [[0, 2], [0], [0, 0]], ids=str)
def test_empty_tensors(daemon, shape):
    response = daemon.http.post(INFER, json={"inputs": [tensor(shape=shape, data=[])]})
    assert response.status_code == 400


@pytest.mark.parametrize(
    "path", ["/v1/tasks", INFER, "/v2/repository/index"], ids=["tasks", "infer", "index"]
)
def test_two_gigabytes_are_refused_before_any_of_them_is_sent(daemon, path):
    status, told = raw(daemon, post(path, length=2 << 30))
    assert (status, "larger than" in told) == (413, True)


def test_a_body_without_an_end_is_cut_off(daemon):
    chunk = b"%x\r\n%b\r\n" % (1 << 16, b" " * (1 << 16))
    head = post(INFER, "Transfer-Encoding: chunked", length=False)
    status, _ = raw(daemon, head, *[chunk] * 2000, most=64 << 20)
    assert status == 413


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ", *[b"a" * (1 << 16)] * 500], 431),
        ([b"GET /", *[b"a" * (1 << 16)] * 500], 431),
        ([b"GET / HTTP/1.1\r\nHost: localhost\r\n", *[b"X-Y: z\r\n" * 5000] * 500], 431),
        ([b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 200 + b"\r\n"], 431),
        (
            [post(INFER, "Transfer-Encoding: chunked", length=False, body=b"1;"), *[b"a" * (1 << 16)] * 500],
            431,
        ),
        (
            [
                post(INFER, "Transfer-Encoding: chunked", length=False, body=b"0\r\n"),
                *[b"X: y\r\n" * 9999] * 500,
            ],
            431,
        ),
    ],
    ids=["value", "path", "endless", "many", "chunk", "trailers"],
)
def test_header_bombs(daemon, parts, status):
    assert raw(daemon, *parts, most=16 << 20)[0] == status


@pytest.mark.parametrize(
    ("request_line", "headers", "expected"),
    [
        ("nonsense", "", 400),
        ("GET / HTTP/9.9", "", 400),
        ("GET \xff\xfe HTTP/1.1", "Host: localhost", 400),
        ("GET /\xff HTTP/1.1", "Host: localhost", 400),
        ("GET /v1/tasks/%ff%fe HTTP/1.1", "Host: localhost", 404),
        ("GET /v1/tasks/%00 HTTP/1.1", "Host: localhost", 404),
        ("GET /v1/tasks?state=%ff HTTP/1.1", "Host: localhost", 400),
        ("GET /v1/tasks?after=%00 HTTP/1.1", "Host: localhost", 404),
        ("GET /v1/tasks?model=%ff HTTP/1.1", "Host: localhost", 200),
        ("POST /v1/tasks HTTP/1.1", "Host: localhost\r\nContent-Length: 5\r\nContent-Length: 6", 400),
        ("POST /v1/tasks HTTP/1.1", "Host: localhost\r\nContent-Length: -5", 400),
        ("POST /v1/tasks HTTP/1.1", "Host: localhost\r\nContent-Length: 5x", 400),
        ("POST /v1/tasks HTTP/1.1", "Host: localhost\r\nIdempotency-Key: a\r\nIdempotency-Key: b\r\nContent-Length: 0", 400),
        ("POST /v1/tasks HTTP/1.1", "Host: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 5", 400),
        (f"POST {INFER} HTTP/1.1", "Host: localhost\r\nContent-Encoding: gzip\r\nContent-Length: 0", 415),
        (f"POST {INFER}&environment=x HTTP/1.1", "Host: localhost\r\nContent-Length: 0", 400),
        ("POST /v2/models/%ff/infer HTTP/1.1", "Host: localhost\r\nContent-Length: 0", 404),
        ("BREW /v1/tasks HTTP/1.1", "Host: localhost", 400),
        ("PUT /v1/tasks HTTP/1.1", "Host: localhost", 405),
        ("GET /v2/models/echo/infer HTTP/1.1", "Host: localhost", 405),
    ],
    ids=ascii,
)  # fmt: skip
def test_lines_and_headers_that_are_none(daemon, request_line, headers, expected):
    sent = f"{request_line}\r\n{headers}\r\n\r\n".replace("\r\n\r\n\r\n", "\r\n\r\n").encode("latin-1")
    if expected == 200:
        assert daemon.http.get(request_line.split()[1]).status_code == 200
        return
    status, told = raw(daemon, sent)
    assert (status, "\n" in told) == (expected, False)


@pytest.mark.parametrize(
    "body", [b'{"model": "\xff"}', b'{"model": "\\ud800"}', b"\xef\xbb\xbf{}", b"\x00"], ids=ascii
)
@pytest.mark.parametrize("path", ["/v1/tasks", INFER], ids=["tasks", "infer"])
def test_bodies_in_no_utf8(daemon, path, body):
    response = daemon.http.post(path, content=body)
    assert response.status_code == 400
    assert "\n" not in response.json()["error"]


def test_a_body_that_ends_too_early_harms_nobody(daemon):
    address = (daemon.http.base_url.host, daemon.http.base_url.port)
    for path in ("/v1/tasks", INFER):
        with socket.create_connection(address, timeout=20) as client:
            client.sendall(post(path, length=1000, body=b'{"mod'))
