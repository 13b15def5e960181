"""Compares an answer made again with the one on record. Pure."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Self

from sluice.digest import Digest, DigestError
from sluice.errors import SluiceError
from sluice.receipt import Answer
from sluice_scheduler import tensors
from sluice_scheduler.batching import BatchingError, Bucket
from sluice_scheduler.elements import unpack
from sluice_scheduler.errors import SchedulerError
from sluice_scheduler.profile import NumericProfile
from sluice_scheduler.tensors import BYTES, Tensor

FORMAT: Final = 1
LINKS: Final = (
    "lock",
    "package",
    "tree",
    "model",
    "profile",
    "bucket",
    "input",
    "output",
)  # in the order of the chain


class RecordError(SchedulerError):
    """An answer's record cannot be read."""


@dataclass(frozen=True, slots=True)
class AnswerRecord:
    """What `GET /v1/tasks/ID/record` gives: an answer and every link it was made under."""

    task: str
    environment: str
    model: str
    lock_url: str
    lock: Digest
    tree: Digest
    model_digest: Digest
    profile: NumericProfile
    profile_digest: Digest
    input_digest: Digest
    output_digest: Digest
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...] | None  # None where only their digest is at hand
    bucket: Bucket | None = None  # None in what older schedulers wrote
    deterministic: bool = True  # whether the deployment promised the same bytes again

    @classmethod
    def of(cls, answer: Answer, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...] | None) -> Self:
        """Join a receipt's answer with its input and, where they are at hand, the outputs it is about.

        Raises:
            RecordError: the receipt's numeric profile is none that this version knows.

        """
        try:
            profile = NumericProfile(**answer.profile_document)  # type: ignore[arg-type] # it checks them
            bucket = None if answer.bucket is None else Bucket.parse(answer.bucket)
        except BatchingError as error:
            raise RecordError(f"the receipt's bucket is not known here: {error}") from None
        except (TypeError, SchedulerError) as error:
            raise RecordError(f"the receipt's numeric profile is not known here: {error}") from None
        if outputs is not None and tensors.digest(outputs) != answer.output:
            outputs = None  # other bytes than the receipt is about: no help in comparing
        return cls(
            task=answer.task,
            environment=answer.environment,
            model=answer.model,
            lock_url=answer.lock_url,
            lock=answer.lock,
            tree=answer.tree,
            model_digest=answer.package_digest,
            profile=profile,
            profile_digest=answer.profile,
            input_digest=answer.input,
            output_digest=answer.output,
            inputs=inputs,
            outputs=outputs,
            bucket=bucket,
            deterministic=answer.deterministic,
        )

    @classmethod
    def parse(cls, document: object) -> Self:
        """Read a record's JSON.

        Raises:
            RecordError: it is incomplete, or of another format.

        """
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise RecordError(
                f"not an answer's record of format {FORMAT}; was it fetched from a Sluice scheduler?"
            )
        try:
            digests, profile = document["digests"], NumericProfile(**document["profile"])
            bucket = document.get("bucket")
            return cls(
                task=str(document["task"]),
                environment=str(document["environment"]),
                model=str(document["model"]),
                lock_url=str(document["lock_url"]),
                lock=Digest(digests["environment"]),
                tree=Digest(digests["tree"]),
                model_digest=Digest(digests["model"]),
                profile=profile,
                profile_digest=Digest(digests["profile"]),
                input_digest=Digest(digests["input"]),
                output_digest=Digest(digests["output"]),
                inputs=_tensors(document["inputs"]),
                outputs=_tensors(document["outputs"]),
                bucket=None if bucket is None else Bucket.parse(str(bucket)),
                deterministic=document.get("deterministic", profile.deterministic) is True,
            )
        except (KeyError, TypeError, ValueError, binascii.Error, DigestError, SluiceError) as error:
            raise RecordError(f"the answer's record is damaged: {type(error).__name__}: {error}") from None

    def contradiction(self) -> str | None:
        """Name the link of the record that its own content belies, or None."""
        if tensors.digest(self.inputs) != self.input_digest:
            return "input"
        if self.outputs is not None and tensors.digest(self.outputs) != self.output_digest:
            return "output"
        return None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an answer could be made again, and if not the first link that differs."""

    task: str
    link: str | None = None  # one of LINKS
    expected: str = ""
    found: str = ""
    max_difference: float | None = None  # absolute, of two outputs that can be subtracted
    max_relative_difference: float | None = None  # to the recorded number
    deterministic: bool = True  # whether the deployment promised the same bytes again

    @property
    def equal(self) -> bool:
        """Whether every link and every byte of the output is equal."""
        return self.link is None


def compare_links(record: AnswerRecord, observed: Iterable[tuple[str, Digest]]) -> Verdict | None:
    """Compare links in the order given; None while all are equal."""
    expected = {
        "lock": record.lock,
        "tree": record.tree,
        "model": record.model_digest,
        "profile": record.profile_digest,
    }
    for link, found in observed:
        if expected[link] != found:
            return Verdict(record.task, link, expected[link].hex, found.hex)
    return None


def compare_outputs(record: AnswerRecord, outputs: tuple[Tensor, ...]) -> Verdict:
    """Compare an answer made again with the recorded one, byte for byte."""
    found = tensors.digest(outputs)
    absolute = relative = None
    if record.outputs is not None:
        absolute = max_difference(record.outputs, outputs)
        relative = max_difference(record.outputs, outputs, _relatively)
    differs = found != record.output_digest
    return Verdict(
        record.task,
        "output" if differs else None,
        record.output_digest.hex if differs else "",
        found.hex if differs else "",
        absolute,
        relative,
        record.deterministic,
    )


def max_difference(
    one: Iterable[Tensor], other: Iterable[Tensor], apart: Callable[[Any, Any], float] | None = None
) -> float | None:
    """Compute the largest difference of two answers' numbers, absolute unless `apart` measures it otherwise.

    None where they cannot be subtracted.
    """
    measure = apart or _apart
    pairs = list(zip(sorted(one, key=_name), sorted(other, key=_name), strict=False))
    worst: float | None = None
    for left, right in pairs:
        if (left.name, left.datatype, left.shape) != (right.name, right.datatype, right.shape):
            return None
        if left.datatype == BYTES or left.data == right.data:
            worst = worst if left.datatype == BYTES and left.data != right.data else max(worst or 0.0, 0.0)
            continue
        values = zip(unpack(left.datatype, left.data), unpack(right.datatype, right.data), strict=True)
        worst = max([worst or 0.0, *(measure(a, b) for a, b in values)])
    return worst


def _apart(one: Any, other: Any) -> float:  # noqa: ANN401 - a number as JSON has it
    first, second = float(one), float(other)  # float("NaN") reads how the protocol writes it
    if first == second or (math.isnan(first) and math.isnan(second)):
        return 0.0
    apart = abs(first - second)
    return math.inf if math.isnan(apart) else apart


def _relatively(one: Any, other: Any) -> float:  # noqa: ANN401 - as above
    absolute = _apart(one, other)
    if absolute in (0.0, math.inf):
        return absolute
    return absolute / abs(float(one)) if float(one) else math.inf


def _name(tensor: Tensor) -> str:
    return tensor.name


def _tensors(documents: list[dict[str, Any]]) -> tuple[Tensor, ...]:
    return tuple(
        Tensor(
            document["name"],
            document["datatype"],
            tuple(document["shape"]),
            base64.b64decode(document["base64"], validate=True),
        )
        for document in documents
    )
