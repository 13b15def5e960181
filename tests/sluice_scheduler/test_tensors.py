import base64
import json
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.digest import Digest
from sluice_scheduler import tensors as oip
from sluice_scheduler.elements import ITEM_BYTES, ElementError, pack, unpack
from sluice_scheduler.tensors import InputError, Tensor

shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)
names = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=8)


@st.composite
def tensors(draw, name=names):
    datatype = draw(st.sampled_from(oip.DATATYPES))
    shape = draw(shapes)
    count = math.prod(shape)
    if datatype == "BYTES":
        data = oip.join_bytes(draw(st.lists(st.binary(max_size=5), min_size=count, max_size=count)))
    elif datatype == "BOOL":
        data = bytes(draw(st.lists(st.sampled_from([0, 1]), min_size=count, max_size=count)))
    else:
        size = count * ITEM_BYTES[datatype]
        data = draw(st.binary(min_size=size, max_size=size))
    return Tensor(draw(name), datatype, shape, data)


def canonical(tensor):
    """JSON has one NaN only."""
    if tensor.datatype in {"BYTES", "BOOL"}:
        return tensor
    return Tensor(
        tensor.name,
        tensor.datatype,
        tensor.shape,
        pack(tensor.datatype, unpack(tensor.datatype, tensor.data)),
    )


def nest(values, shape):
    if not shape:
        return values[0]
    step = len(values) // shape[0] if shape[0] else 0
    return [nest(values[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])]


@given(tensors())
def test_json_gives_the_same_tensor_back(tensor):
    document = json.loads(json.dumps(tensor.to_json(), allow_nan=False))
    assert Tensor.from_json(document) == canonical(tensor)


@given(tensors())
def test_nested_data_equals_flat_data(tensor):
    document = tensor.to_json()
    if tensor.shape:
        assert Tensor.from_json({**document, "data": nest(document["data"], tensor.shape)}) == canonical(
            tensor
        )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.just("FP32"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=12,
)


@given(
    json_values
    | st.fixed_dictionaries(
        {
            "name": json_values,
            "datatype": st.sampled_from(oip.DATATYPES),
            "shape": json_values,
            "data": json_values,
        },
        optional={"parameters": json_values},
    )
)
def test_anything_else_is_one_line_of_error(document):
    message = ""
    try:
        oip.parse([document])
    except InputError as error:
        message = str(error)
    assert "\n" not in message
    assert len(message) < 500


@pytest.mark.parametrize(
    ("datatype", "value", "expected"),
    [
        ("INT64", True, "takes a whole number"),
        ("INT64", 1.0, "takes a whole number"),
        ("INT64", 2**63, f"range {-(2**63)} to {2**63 - 1}"),
        ("UINT8", -1, "range 0 to 255"),
        ("INT8", 128, "range -128 to 127"),
        ("INT32", "1", "takes a whole number"),
        ("BOOL", 1, "takes true or false"),
        ("FP32", True, "takes a finite number"),
        ("FP32", math.nan, "takes a finite number"),
        ("FP32", math.inf, "takes a finite number"),
        ("FP32", "nan", "takes a finite number"),
        ("FP32", 1e39, "outside FP32's range"),
        ("FP64", 10**400, "outside FP64's range"),
        ("FP16", 65520.0, "outside FP16's range"),
        ("BF16", 3.4e38, "outside BF16's range"),
        ("FP32", None, "takes a finite number"),
        ("BYTES", 3, "BYTES takes strings"),
        ("BYTES", "\ud800", "not Unicode text"),
    ],
)
def test_an_element_of_the_wrong_kind_is_named(datatype, value, expected):
    good = {"BOOL": True, "BYTES": "a"}.get(datatype, 0)
    with pytest.raises(InputError, match="tensor 'x': element 1") as caught:
        Tensor.from_json({"name": "x", "datatype": datatype, "shape": [2], "data": [good, value]})
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"shape": [3]}, "needs 3 elements, found 2"),
        ({"shape": [-1]}, "its shape is at most 8 whole numbers"),
        ({"shape": [True, 2]}, "its shape is"),
        ({"shape": [1] * 9}, "its shape is"),
        ({"shape": [1 << 20, 1 << 20]}, "its shape is"),
        ({"shape": 2}, "its shape is a list of whole numbers, not a number"),
        ({"datatype": "FLOAT"}, "unknown datatype 'FLOAT'"),
        ({"datatype": ["FP32"]}, "unknown datatype"),
        ({"name": ""}, "a tensor's name"),
        ({"name": "a\0b"}, "a tensor's name"),
        ({"data": "ab"}, "its data is a list, not a string"),
        ({"data": [[1, 2]]}, "nested data does not match its shape"),
        ({"shape": [2, 1], "data": [[1], 2]}, "nested data does not match its shape"),
        ({"parameters": {"binary_data_size": 8}}, "binary data is not taken"),
        ({"extra": 1}, "unknown key 'extra'"),
    ],
)
def test_a_malformed_tensor_says_what_was_expected(change, expected):
    document = {"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2], **change}
    with pytest.raises(InputError) as caught:
        Tensor.from_json(document)
    assert expected in str(caught.value)


def test_base64_is_decoded_strictly():
    document = {"name": "x", "datatype": "BYTES", "shape": [1], "parameters": {"content_type": "base64"}}
    tensor = Tensor.from_json({**document, "data": [base64.b64encode(b"\xff\x00").decode()]})
    assert tensor.elements() == (b"\xff\x00",)
    for bad in ("@@@@", "YQ", "Y Q==", "é"):
        with pytest.raises(InputError, match="not base64"):
            Tensor.from_json({**document, "data": [bad]})


def test_a_name_is_given_once():
    tensor = Tensor.of_bytes("x", [b"a"]).to_json()
    with pytest.raises(InputError, match="'x' is given twice"):
        oip.parse([tensor, tensor])


@pytest.mark.parametrize("data", [b"\x01", b"\x05\0\0\0abc", b""])
def test_raw_bytes_that_do_not_match_the_shape_are_refused(data):
    with pytest.raises(InputError):
        Tensor("x", "BYTES", (1,), data)


def test_digest_is_the_sha256_of_the_documented_layout():
    text = Tensor.of_bytes("b", [b"hi"])
    number = Tensor("a", "INT64", (1, 1), struct.pack("<q", 7))
    stream = b"a\0INT64\x001,1\0" + struct.pack("<Qq", 8, 7)
    stream += b"b\0BYTES\x001\0" + struct.pack("<QI", 6, 2) + b"hi"
    assert oip.digest([text, number]) == oip.digest([number, text]) == Digest.of(stream)


@given(st.lists(tensors(), max_size=3, unique_by=lambda t: t.name), st.data())
def test_digest_ignores_order_and_sees_every_byte(some, data):
    first = oip.digest(some)
    assert oip.digest(data.draw(st.permutations(some))) == first
    if some and some[0].datatype not in {"BYTES", "BOOL"} and some[0].data:
        flipped = bytes([some[0].data[0] ^ 1]) + some[0].data[1:]
        changed = Tensor(some[0].name, some[0].datatype, some[0].shape, flipped)
        assert oip.digest([changed, *some[1:]]) != first


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_bf16_is_the_nearest_upper_half(value):
    if abs(value) > 3.38e38:  # rounds to infinity
        with pytest.raises(ElementError, match="outside BF16's range"):
            pack("BF16", [value] if abs(value) > 3.4e38 else [3.4e38])
        return
    (found,) = unpack("BF16", pack("BF16", [value]))
    assert abs(found - value) <= max(abs(value) * 2**-8, 2**-134)
