"""One signature in place of another: what the old one takes and promises, the new one does too."""

from dataclasses import replace
from pathlib import Path

from hypothesis import assume, given
from hypothesis import strategies as st

from sluice_scheduler.compatibility import compatible, contradictions
from sluice_scheduler.model import Model
from sluice_scheduler.signature import TensorSpec
from sluice_scheduler.tensors import InputError, Tensor

NAMES = ("a", "b", "c")
SIZES = {"UINT8": 1, "FP32": 4}

specs = st.builds(
    TensorSpec,
    name=st.just(""),
    datatype=st.sampled_from(sorted(SIZES)),
    shape=st.lists(st.sampled_from((-1, 1, 2)), max_size=2).map(tuple),
    optional=st.booleans(),
)


@st.composite
def signatures(draw):
    named = st.dictionaries(st.sampled_from(NAMES), specs, min_size=1)
    inputs = tuple(replace(spec, name=name) for name, spec in draw(named).items())
    outputs = tuple(replace(spec, name=name) for name, spec in draw(named).items())
    optional = [spec.name for spec in inputs if spec.optional]
    one_of = tuple(optional) if len(optional) > 1 and draw(st.booleans()) else ()
    return Model(Path(), "m", "1", "m:load", draw(st.integers(1, 3)), inputs, outputs, one_of, None)


@st.composite
def widened(draw, old):
    """Change a signature in a few places, mostly for the wider."""
    inputs = [
        draw(
            st.sampled_from(
                (
                    spec,
                    spec,
                    replace(spec, optional=True),
                    replace(spec, shape=(*spec.shape[:1], *(-1 for _ in spec.shape[1:]))),
                )
            )
        )
        for spec in old.inputs
    ]
    outputs = [draw(st.sampled_from((spec, spec, replace(spec, optional=False)))) for spec in old.outputs]
    more = draw(st.sampled_from((0, 0, 1)))
    new = replace(old, inputs=tuple(inputs), outputs=tuple(outputs), max_batch_size=old.max_batch_size + more)
    return draw(st.sampled_from((new, new, replace(new, one_of=()))))


@st.composite
def tensors_for(draw, wanted):
    rows = draw(st.integers(1, 3))
    found = []
    for spec in wanted:
        if spec.optional and draw(st.booleans()):
            continue
        shape = tuple(
            rows if size == -1 and not place else draw(st.integers(1, 2)) if size == -1 else size
            for place, size in enumerate(spec.shape)
        )
        count = 1
        for size in shape:
            count *= size
        found.append(Tensor(spec.name, spec.datatype, shape, bytes(count * SIZES[spec.datatype])))
    return found


@given(signatures())
def test_a_model_stands_in_for_itself(model):
    assert list(contradictions([model], [model])) == []


@given(st.data(), signatures())
def test_what_the_old_one_takes_the_new_one_takes(data, old):
    new = data.draw(st.one_of(widened(old), signatures()))
    assume(compatible([old], [new]))
    given_inputs = data.draw(tensors_for(old.inputs))
    try:
        old.check(given_inputs)
    except InputError:
        assume(False)
    assert {one.name for one in new.check(given_inputs)} == {one.name for one in given_inputs}


@given(st.data(), signatures())
def test_what_the_new_one_answers_the_old_one_promised(data, old):
    new = data.draw(st.one_of(widened(old), signatures()))
    assume(compatible([old], [new]))
    names = {spec.name for spec in old.outputs}
    answer = data.draw(tensors_for(new.outputs))
    known = [one for one in answer if one.name in names]
    rows = {tensor.shape[0] for tensor in known if tensor.shape}
    assume(not rows or max(rows) <= old.max_batch_size)
    new.check_outputs(answer)
    assert len(old.check_outputs(known)) == len(known)


def model(**change):
    plain = Model(
        *(Path(), "m", "1", "m:load", 8, (TensorSpec("x", "FP32", (-1, 2)),)),
        *((TensorSpec("y", "FP32", (-1,)),), (), None),
    )
    return replace(plain, **change)


def told(new):
    return list(contradictions([model()], [new]))


def test_what_breaks_is_told_in_a_line():
    optional = TensorSpec("z", "FP32", (-1,), optional=True)
    assert told(model(inputs=(*model().inputs, optional), outputs=(*model().outputs, optional))) == []
    assert list(contradictions([model()], [])) == ["model 'm' is gone"]
    assert told(model(max_batch_size=4)) == ["model 'm': takes a batch of 4, took 8"]
    assert told(model(inputs=(TensorSpec("x", "FP64", (-1, 2)),))) == [
        "model 'm': input is 'x' FP64 [-1, 2], was 'x' FP32 [-1, 2]"
    ]
    assert told(model(inputs=(*model().inputs, TensorSpec("z", "FP32", (-1,))))) == [
        "model 'm': input 'z' FP32 [-1] is new and not optional"
    ]
    assert told(model(outputs=(optional,))) == ["model 'm': output 'y' is gone"]
    assert told(model(inputs=(optional,))) == ["model 'm': input 'x' is gone"]
    fixed = model(inputs=(TensorSpec("x", "FP32", (4, 2)),))
    assert list(contradictions([fixed], [model()])) == [
        "model 'm': input 'x' FP32 [-1, 2] is batched, was 'x' FP32 [4, 2]"
    ]
