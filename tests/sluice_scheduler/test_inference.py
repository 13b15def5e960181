"""The protocol's requests and responses, without a server."""

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_scheduler.errors import RequestError
from sluice_scheduler.inference import Inference, header_length
from sluice_scheduler.tensors import InputError, Tensor

PAIR = {"name": "x", "datatype": "FP32", "shape": [2]}
NUMBERS = struct.pack("<2f", 1.5, -2.0)


def parse(document, tail=None):
    text = json.dumps(document).encode()
    return Inference.parse(text + (tail or b""), None if tail is None else len(text))


def sized(size=8, **more):
    return {"inputs": [{**PAIR, "parameters": {"binary_data_size": size}, **more}]}


def test_json_and_binary_give_the_same_tensor():
    assert parse({"inputs": [PAIR | {"data": [1.5, -2]}]}).inputs == parse(sized(), NUMBERS).inputs


def test_tensors_take_their_bytes_in_order():
    one, two = sized()["inputs"][0], sized(1, name="y", datatype="BOOL", shape=[1])["inputs"][0]
    three = {"name": "z", "datatype": "INT8", "shape": [1], "data": [7]}
    inference = parse({"inputs": [two, three, one]}, b"\1" + NUMBERS)
    assert [(tensor.name, tensor.data) for tensor in inference.inputs] == [
        ("y", b"\1"),
        ("z", b"\7"),
        ("x", NUMBERS),
    ]


@pytest.mark.parametrize(("given", "level"), [(0, 5), (1, 1), (9, 9), (10, 5), (2**64 - 1, 5)], ids=str)
def test_a_priority_past_the_last_level_is_the_default_one(given, level):
    assert parse({**sized(), "parameters": {"priority": given}}, NUMBERS).priority == level


@pytest.mark.parametrize(("given", "seconds"), [(0, None), (1, 1e-6), (2_500_000, 2.5)])
def test_a_timeout_is_in_microseconds(given, seconds):
    assert parse({**sized(), "parameters": {"timeout": given}}, NUMBERS).timeout == seconds


BAD = {
    "no header length": (sized(), None, "needs the header Inference-Header-Content-Length"),
    "too few bytes": (sized(), NUMBERS[:7], "binary_data_size is 8, but 7 bytes are left"),
    "too many bytes": (sized(), NUMBERS + b"!", "1 bytes follow the last tensor"),
    "size of another shape": (sized(4), NUMBERS[:4], "FP32 of shape [2] needs 8 bytes, found 4"),
    "negative size": (sized(-1), NUMBERS, "a whole number of bytes"),
    "broken size": (sized(8.0), NUMBERS, "a whole number of bytes"),
    "boolean size": (sized(True), NUMBERS, "a whole number of bytes"),
    "huge size": (sized(2**63), NUMBERS, "8 bytes are left"),
    "endless size": (sized(10**30), NUMBERS, "is a whole number of bytes"),
    "data too": (sized(data=[1, 2]), NUMBERS, "it has data and binary_data_size"),
    "content type too": (
        {"inputs": [{**PAIR, "parameters": {"binary_data_size": 8, "content_type": "str"}}]},
        NUMBERS,
        "nothing else",
    ),
    "shared memory": (
        {"inputs": [{**PAIR, "parameters": {"shared_memory_region": "r"}, "data": [1, 2]}]},
        None,
        "shared memory are not taken",
    ),
    "datatype of another kind": (sized(datatype=[]), NUMBERS, "its datatype is a text, not a list"),
    "unknown datatype": (sized(datatype="FP8"), NUMBERS, "unknown datatype 'FP8'"),
    "no bool": (sized(2, datatype="BOOL"), b"\1\2", "a byte of BOOL is 0 or 1"),
    "nested shape": (sized(shape=[[2]]), NUMBERS, "whole numbers from 0"),
    "text without its length": (
        sized(3, datatype="BYTES", shape=[1]),
        b"\1\0\0",
        "ends inside an element's length",
    ),
    "text too short": (sized(5, datatype="BYTES", shape=[1]), b"\2\0\0\0a", "ends inside an element"),
    "texts too few": (sized(5, datatype="BYTES"), b"\1\0\0\0a", "needs 2 elements, found 1"),
    "priority text": ({**sized(), "parameters": {"priority": "1"}}, NUMBERS, "priority is a whole number"),
    "priority negative": ({**sized(), "parameters": {"priority": -1}}, NUMBERS, "from 0 to"),
    "timeout boolean": ({**sized(), "parameters": {"timeout": True}}, NUMBERS, "timeout is a whole number"),
    "timeout too large": ({**sized(), "parameters": {"timeout": 2**64}}, NUMBERS, "timeout is a whole"),
    "a sequence": ({**sized(), "parameters": {"sequence_id": 7}}, NUMBERS, "'sequence_id' is not taken"),
    "parameters of another kind": ({**sized(), "parameters": []}, NUMBERS, "parameters is an object"),
    "id of another kind": ({**sized(), "id": 7}, NUMBERS, "id is a text"),
    "id too long": ({**sized(), "id": "x" * 1025}, NUMBERS, "id is a text"),
    "unknown key": ({**sized(), "model": "x"}, NUMBERS, "key 'model' is not taken here"),
    "outputs of another kind": ({**sized(), "outputs": {}}, NUMBERS, "outputs is a list"),
    "output without name": ({**sized(), "outputs": [{}]}, NUMBERS, "a tensor's name"),
    "output twice": ({**sized(), "outputs": [{"name": "y"}] * 2}, NUMBERS, "asked for twice"),
    "classification": (
        {**sized(), "outputs": [{"name": "y", "parameters": {"classification": 3}}]},
        NUMBERS,
        "'classification' is not taken",
    ),
    "flag of another kind": (
        {**sized(), "outputs": [{"name": "y", "parameters": {"binary_data": 1}}]},
        NUMBERS,
        "binary_data is true or false",
    ),
    "inputs twice": ({"inputs": sized()["inputs"] * 2}, NUMBERS * 2, "given twice"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_requests_are_refused(name):
    document, tail, expected = BAD[name]
    with pytest.raises((RequestError, InputError)) as refused:
        parse(document, tail)
    assert expected in str(refused.value)


@pytest.mark.parametrize("depth", [100, 900, 950, 970, 980, 990, 1000, 10_000])
@pytest.mark.parametrize(
    "place", ["top", "name", "datatype", "shape", "data", "id", "priority", "content_type"]
)
def test_depth_is_refused_and_nothing_else_is_raised(place, depth):
    deep = b"[" * depth + b"]" * depth
    tensor = {"name": b'"x"', "datatype": b'"FP32"', "shape": b"[1]", "data": b"[1]"}
    top = {}
    if place == "top":
        body = deep
    else:
        if place in tensor:
            tensor[place] = deep
        elif place == "content_type":
            tensor |= {"datatype": b'"BYTES"', "parameters": b'{"content_type": ' + deep + b"}"}
        elif place == "id":
            top = {"id": deep}
        else:
            top = {"parameters": b'{"priority": ' + deep + b"}"}
        top["inputs"] = b"[" + written(tensor) + b"]"
        body = written(top)
    with pytest.raises((RequestError, InputError)):
        Inference.parse(body, None)


def written(members):
    return b"{" + b",".join(b'"%s":%s' % (key.encode(), value) for key, value in members.items()) + b"}"


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_json_number_is_refused(text):
    body = b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [%s]}]}' % text.encode()
    with pytest.raises(RequestError, match=r"is not JSON: .* \(char"):
        Inference.parse(body, None)


@pytest.mark.parametrize("given", [["5"], ["0"], [" 5 "], []])
def test_lengths_that_are_taken(given):
    assert header_length(given, 5) == (int(given[0]) if given else None)


@pytest.mark.parametrize(
    "given",
    [["6"], ["-1"], [""], ["5.0"], ["0x5"], ["5", "5"], ["5, 5"], ["9" * 5000], ["\u0665"], ["\u00b2"]],
)
def test_lengths_that_are_none(given):
    with pytest.raises(RequestError, match="Inference-Header-Content-Length"):
        header_length(given, 5)


@given(st.binary(max_size=200), st.integers(0, 200) | st.none())
def test_noise_is_refused_in_one_way(body, length):
    with pytest.raises((RequestError, InputError)):
        Inference.parse(body, None if length is None else min(length, len(body)))


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=5), st.text(max_size=20), st.booleans())
def test_a_response_is_read_back(elements, identifier, binary):
    request = {"id": identifier, **sized(), "parameters": {"binary_data_output": binary}}
    answered = Tensor.of_bytes("y", elements)
    body, length = parse(request, NUMBERS).respond(
        [answered], model="m", version="1", parameters={"task": "t"}
    )
    document = json.loads(body if length is None else body[:length])
    assert document.get("id", "") == identifier
    (output,) = document["outputs"]
    if binary:
        assert output["parameters"] == {"binary_data_size": len(body) - length}
        assert body[length:] == answered.data
    else:
        assert length is None
        assert Tensor.from_json(output) == answered


def test_only_wanted_outputs_are_given_each_in_its_way():
    wanted = [{"name": "b"}, {"name": "a", "parameters": {"binary_data": True}}]
    inference = parse({**sized(), "outputs": wanted}, NUMBERS)
    answered = [Tensor(name, "INT8", (1,), b"\7") for name in "abc"]
    body, length = inference.respond(answered, model="m", version="1", parameters={})
    first, second = json.loads(body[:length])["outputs"]
    assert (first["name"], first["data"]) == ("b", [7])
    assert second["parameters"] == {"binary_data_size": 1}
    assert body[length:] == b"\7"


def test_outputs_that_the_model_has_not_are_refused():
    inference = parse({**sized(), "outputs": [{"name": "z"}]}, NUMBERS)
    with pytest.raises(InputError, match="model 'm' has no output 'z'; it has y"):
        inference.check_outputs("m", ["y"])
