"""Whether one generation's models can stand in for another's: who could ask the old one can ask the new. Pure.

Inputs may widen: a fixed size becomes free, a required input optional, an optional one is added, batches grow.
Outputs that were promised stay, with shapes that fit what was promised; outputs and models may be added.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sluice_scheduler.model import Model
from sluice_scheduler.signature import ANY, TensorSpec


def compatible(old: Iterable[Model], new: Iterable[Model]) -> bool:
    """Say whether every request that the old models take is taken, and answered as promised, by the new ones."""
    return next(contradictions(old, new), None) is None


def contradictions(old: Iterable[Model], new: Iterable[Model]) -> Iterator[str]:
    """Say in a line each what the new models would break."""
    found = {model.name: model for model in new}
    for model in old:
        if model.name not in found:
            yield f"model {model.name!r} is gone"
        else:
            yield from (f"model {model.name!r}: {told}" for told in _model(model, found[model.name]))


def _model(old: Model, new: Model) -> Iterator[str]:
    if new.max_batch_size < old.max_batch_size:
        yield f"takes a batch of {new.max_batch_size}, took {old.max_batch_size}"
    yield from _inputs(old, new)
    yield from _choice(old, new)
    promised = {spec.name: spec for spec in new.outputs}
    for spec in old.outputs:
        given = promised.get(spec.name)
        if given is None:
            yield f"output {spec.name!r} is gone"
        elif (given.optional and not spec.optional) or not _fits(narrow=given, wide=spec):
            yield f"output is {given}, was {spec}"


def _inputs(old: Model, new: Model) -> Iterator[str]:
    before = {spec.name: spec for spec in old.inputs}
    after = {spec.name: spec for spec in new.inputs}
    for name, spec in before.items():
        taken = after.get(name)
        if taken is None:
            yield f"input {name!r} is gone"
        elif (spec.optional and not taken.optional) or not _fits(narrow=spec, wide=taken):
            yield f"input is {taken}, was {spec}"
        elif taken.shape[:1] == (ANY,) != spec.shape[:1]:  # a first dimension that is free is the batch
            yield f"input {taken} is batched, was {spec}"
    for name, spec in after.items():
        if name not in before and not spec.optional:
            yield f"input {spec} is new and not optional"


def _choice(old: Model, new: Model) -> Iterator[str]:
    """Compare the inputs of which exactly one is given; the old request knows nothing of new names."""
    known = {spec.name for spec in old.inputs} & set(new.one_of)
    same = bool(known) and known == set(old.one_of)
    always = len(known) == 1 and known <= {spec.name for spec in old.inputs if not spec.optional}
    if new.one_of and not (same or always):
        yield f"exactly one of {', '.join(new.one_of)} is taken, was {', '.join(old.one_of) or 'not so'}"


def _fits(*, narrow: TensorSpec, wide: TensorSpec) -> bool:
    return (
        narrow.datatype == wide.datatype
        and len(narrow.shape) == len(wide.shape)
        and all(size in (ANY, given) for size, given in zip(wide.shape, narrow.shape, strict=True))
    )
