import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_scheduler import tensors as oip
from sluice_scheduler.batching import Bucket
from sluice_scheduler.model import Model, ModelError, discover
from sluice_scheduler.tensors import InputError, Tensor

GOOD = """
format = 1
name = "double"
version = "1.0.0"
loader = "double_model:load"
max_batch_size = 4
one_of = ["text", "x"]

[[inputs]]
name = "text"
datatype = "BYTES"
shape = [-1]
optional = true

[[inputs]]
name = "x"
datatype = "FP32"
shape = [-1, 2]
optional = true

[[outputs]]
name = "y"
datatype = "FP32"
shape = [-1, 2]

[canary]
file = "canary.json"
output_sha256 = ""
"""


def fp32(name, rows, columns=2):
    return Tensor(name, "FP32", (rows, columns), struct.pack("<f", 1) * rows * columns)


@pytest.fixture
def package(tmp_path):
    directory = tmp_path / "share/sluice/models/double"
    directory.mkdir(parents=True)
    (directory / "model.toml").write_text(GOOD)
    (directory / "double_model.py").write_text("")
    (directory / "canary.json").write_text(json.dumps({"inputs": oip.to_json([fp32("x", 1)])}))
    return directory


def test_a_package_says_its_signature(package):
    model = Model.parse(package)
    assert (model.name, model.version, model.max_batch_size) == ("double", "1.0.0", 4)
    assert [str(spec) for spec in model.inputs] == [
        "'text' BYTES [-1] (optional)",
        "'x' FP32 [-1, 2] (optional)",
    ]
    assert model.canary.output is None
    assert model.canary_inputs() == (fp32("x", 1),)


def test_an_environment_lists_its_models(package):
    prefix = package.parents[3]
    assert [model.name for model in discover(prefix)] == ["double"]
    assert discover(prefix / "share") == ()
    package.rename(package.with_name("other"))
    with pytest.raises(ModelError, match="its folder's is not"):
        discover(prefix)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("format = 1", "format = 2", "format is a whole number, 1"),
        ("format = 1", "format = true", "format is a whole number"),
        ("format = 1\n", "", "format is missing"),
        ("format = 1", "format = 1\ncolour = 3", "unknown key colour"),
        ('name = "double"', 'name = "../double"', "name is '../double'"),
        ("double_model:load", "os.path:join", "loader is"),
        ("double_model:load", "absent:load", "which the model package does not have"),
        ("max_batch_size = 4", "max_batch_size = 0", "max_batch_size is a whole number"),
        ("FP32", "FLOAT", "inputs[1].datatype is 'FLOAT'"),
        ("[-1, 2]", "[-2]", "inputs[1].shape is a list of whole numbers"),
        ("optional = true", "optional = 1", "inputs[0].optional is true or false"),
        ('["text", "x"]', '["text", "z"]', "one_of names 'z'"),
        ('["text", "x"]', '["text"]', "two or more"),
        ('name = "x"', 'name = "text"', "two of its inputs have one name"),
        ('"canary.json"', '"../../../../etc/passwd"', "is not a path inside"),
        ('"canary.json"', '"/etc/passwd"', "is not a path inside"),
        ('"canary.json"', '"absent.json"', "does not have"),
        ('output_sha256 = ""', 'output_sha256 = "abc"', "canary.output_sha256 is 'abc'"),
        ("[canary]", "[canary", "model.toml: "),
        ("[[outputs]]", "[outputs]", "outputs is a list"),
        ("[canary]", "[batching]\nbucket = 6\n[canary]", "a power of two of rows, from 1 to 4096, not 6"),
        ("[canary]", "[batching]\nbucket = 8192\n[canary]", "batching.bucket is a whole number, 1 to 4096"),
        ("[canary]", "[batching]\n[canary]", "batching.bucket is missing"),
        ("[canary]", "[batching]\nbucket = 8\nlengths = [9, 9]\n[canary]", "lengths are ascending"),
        ("[canary]", "[batching]\nbucket = 8\nwait = 1\n[canary]", "unknown key batching.wait"),
    ],
)
def test_a_malformed_file_is_one_line_that_names_the_key(package, old, new, expected):
    assert old in GOOD
    (package / "model.toml").write_text(GOOD.replace(old, new, 1))
    with pytest.raises(ModelError) as caught:
        Model.parse(package)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(package) in str(caught.value)


def test_files_that_are_absent_huge_or_not_text_are_refused(package):
    (package / "model.toml").write_bytes(b"\xff")
    with pytest.raises(ModelError, match="UTF-8"):
        Model.parse(package)
    (package / "model.toml").write_bytes(b"#" * (1 << 17))
    with pytest.raises(ModelError, match="larger than"):
        Model.parse(package)
    (package / "model.toml").unlink()
    with pytest.raises(ModelError, match="No such file"):
        Model.parse(package)


def test_a_link_out_of_the_package_is_refused(package, tmp_path):
    (tmp_path / "secret.json").write_text("[]")
    (package / "canary.json").unlink()
    (package / "canary.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(ModelError, match="does not have"):
        Model.parse(package)


@pytest.mark.parametrize("content", ["{}", "[", '{"inputs": 3}', "[" * 100_000])
def test_a_canary_that_is_no_input_is_refused(package, content):
    model = Model.parse(package)
    (package / "canary.json").write_text(content)
    with pytest.raises(ModelError, match=r"canary\.json"):
        model.canary_inputs()


@pytest.mark.parametrize(
    ("given_tensors", "expected"),
    [
        ([], "exactly one of text, x; found none"),
        ([Tensor.of_bytes("text", [b"a"]), fp32("x", 1)], "found text and x"),
        ([Tensor.of_bytes("z", [b"a"])], "has no input 'z'; expected 'text' BYTES [-1] (optional), 'x'"),
        ([Tensor.of_bytes("x", [b"a"])], "tensor 'x' is BYTES [1]; expected 'x' FP32 [-1, 2]"),
        ([fp32("x", 1, 3)], "tensor 'x' is FP32 [1, 3]; expected 'x' FP32 [-1, 2]"),
        ([fp32("x", 5)], "batch of 1 to 4, not 5"),
        ([fp32("x", 0)], "batch of 1 to 4, not 0"),
    ],
)
def test_inputs_that_do_not_fit_say_what_was_expected(package, given_tensors, expected):
    with pytest.raises(InputError) as caught:
        Model.parse(package).check(given_tensors)
    assert expected in str(caught.value)


def test_outputs_are_held_to_the_signature(package):
    model = Model.parse(package)
    assert model.check_outputs([fp32("y", 2)]) == (fp32("y", 2),)
    for bad in ([], [fp32("z", 1)], [fp32("y", 1, 3)]):
        with pytest.raises(ModelError, match="double"):
            model.check_outputs(bad)


@given(st.integers(1, 4), st.integers(1, 4))
def test_tensors_of_one_request_share_its_batch(tmp_path_factory, first, second):
    directory = tmp_path_factory.mktemp("model")
    (directory / "double_model.py").write_text("")
    text = GOOD.replace('one_of = ["text", "x"]\n', "").replace(
        '[canary]\nfile = "canary.json"\noutput_sha256 = ""', ""
    )
    (directory / "model.toml").write_text(text)
    model = Model.parse(directory)
    both = [Tensor.of_bytes("text", [b""] * first), fp32("x", second)]
    if first == second:
        assert len(model.check(both)) == 2
    else:
        with pytest.raises(InputError, match="different batches"):
            model.check(both)


def test_batching_needs_rows_in_every_tensor_and_names_what_can_run_together(package):
    batching = "\n[batching]\nbucket = 8\nlengths = [3, 6]\n"
    (package / "model.toml").write_text(GOOD.replace("[-1, 2]", "[1, 2]", 1) + batching)
    with pytest.raises(ModelError, match="-1 as the first dimension of 'x'"):
        Model.parse(package)
    (package / "model.toml").write_text(GOOD + batching)
    model = Model.parse(package)
    assert [str(model.bucket(most)) for most in (None, 4, 8, 16)] == ["rows=8", "rows=4", "rows=8", "rows=8"]
    runs = [model.runs_in(Bucket(rows)) for rows in (None, 1, 8, 16)]
    assert runs == [False, True, True, False]
    texts = [(b"a",), (b"abc",), (b"abcd",), (b"", b"abcd"), (b"abcdefg",)]
    keys = [model.batch_key([Tensor.of_bytes("text", text)]) for text in texts]
    assert keys[0] == keys[1] != keys[2] == keys[3]
    assert keys[4] == ""
    assert model.batch_key([fp32("x", 1)]) == model.batch_key([fp32("x", 3)]) not in (*keys,)
    assert [model.rows([fp32("x", rows)]) for rows in (1, 3)] == [1, 3]


def test_a_model_without_batching_runs_requests_in_their_own_shape(package):
    model = Model.parse(package)
    assert (str(model.bucket()), str(model.bucket(4))) == ("request", "request")
    assert model.runs_in(Bucket())
    assert not model.runs_in(Bucket(4))
    assert model.batch_key([fp32("x", 1)]) == ""
