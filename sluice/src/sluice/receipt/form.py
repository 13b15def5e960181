"""Statements of answers that have almost all in common: what they share is spelled once. Pure."""

from __future__ import annotations

import re
import secrets
from dataclasses import replace
from datetime import datetime
from typing import Final

from sluice.digest import Digest
from sluice.receipt.answer import Answer, spelled
from sluice.receipt.errors import ReceiptError

_PLAIN: Final = re.compile("[0-9A-Za-z_-]+")  # what JSON spells as it is
_TIMES: Final = ("enqueued", "started", "finished")
_OFTEN: Final = {"task": 2, "output": 2, "input": 1, "enqueued": 1, "started": 1, "finished": 1}


class Form:
    """Spells answers that differ from one another in their task, times, input and output, and in nothing else."""

    def __init__(self, sample: Answer) -> None:
        """Take what all of them share from any of them."""
        task, output, input_, times = *_digests(3), [_moment() for _ in range(3)]
        marks = {"task": task, "output": output, "input": input_} | {
            name: spelled(time) for name, time in zip(_TIMES, times, strict=True)
        }
        marked = replace(
            sample,
            task=task,
            output=Digest(output),
            input=Digest(input_),
            enqueued=times[0],
            started=times[1],
            finished=times[2],
        )
        text = marked.statement().to_bytes().decode()
        if {name: text.count(mark) for name, mark in marks.items()} != _OFTEN:
            raise ReceiptError("a statement says what differs between answers more often than it should")
        parts = re.split("|".join(f"({mark})" for mark in marks.values()), text)
        names = {mark: name for name, mark in marks.items()}
        given = [part for part in parts if part is not None]
        self._shared = tuple(part for part in given if part not in names)
        self._order = tuple(names[part] for part in given if part in names)

    def statement(
        self,
        *,
        task: str,
        enqueued: datetime,
        started: datetime,
        finished: datetime,
        input: Digest,  # noqa: A002 - as the answer has it
        output: Digest,
    ) -> bytes:
        """Spell the statement of one answer: byte for byte what `Answer.statement` gives.

        Raises:
            ReceiptError: the task's name has other characters than digits, letters, `-` and `_`.

        """
        if not _PLAIN.fullmatch(task):
            raise ReceiptError(f"{task[:80]!r} cannot stand in a receipt as a task's name")
        values = {
            "task": task,
            "enqueued": spelled(enqueued),
            "started": spelled(started),
            "finished": spelled(finished),
            "input": input.hex,
            "output": output.hex,
        }
        parts = [self._shared[0]]
        for name, shared in zip(self._order, self._shared[1:], strict=True):
            parts += (values[name], shared)
        return "".join(parts).encode()


def _digests(number: int) -> list[str]:
    return [secrets.token_hex(32) for _ in range(number)]


def _moment() -> datetime:
    """Make up a time that no statement has by chance."""
    return datetime.fromisoformat(
        f"{secrets.randbelow(900) + 100:04d}-01-01T00:00:{secrets.randbelow(60):02d}.{secrets.randbelow(10**6):06d}+00:00"
    )
