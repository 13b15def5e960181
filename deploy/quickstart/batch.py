"""A mixed batch of real inputs: texts and pictures, priorities 1, 5 and 9, behind a task that keeps the worker busy."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import httpx
from rich.box import SIMPLE_HEAD
from rich.console import JustifyMethod
from rich.table import Table

from home import ENVIRONMENTS
from sluice.errors import SluiceError

WAIT = 120.0  # seconds for a task to end
BUSY_ROUNDS = 5  # how often the texts stand in the task that keeps the worker busy
# Least urgent first, so that the order of start shows the priorities at work and not the order of arrival.
PRIORITIES = (9, 9, 5, 5, 1, 1)
DIGITS = ("digit-3.jpg", "digit-8.png", "digit-7.jpg", "digit-0.png")
_DIGIT_PRIORITIES = (9, 5, 1, 1)


class BatchError(SluiceError):
    """The scheduler refused a task."""


class Batch:
    """The tasks of one run, in the order they are submitted."""

    def __init__(self, url: str, environments: Path) -> None:
        nlp, vision = (environments / name / "samples" for name in ENVIRONMENTS)
        texts: list[str] = json.loads((nlp / "texts.json").read_text(encoding="utf-8"))
        self._url = url
        self._texts = texts
        self._labels: dict[str, int] = json.loads((vision / "labels.json").read_text(encoding="utf-8"))
        self._pictures = vision
        self._ids: dict[str, str] = {}  # task -> what was asked

    def run(self) -> list[dict[str, Any]]:
        """Submit everything, wait for every answer, and return the tasks as the scheduler shows them."""
        with httpx.Client(base_url=self._url, timeout=WAIT + 10) as client:
            self._submit(client, "keeps the worker busy", 5, _texts(self._texts * BUSY_ROUNDS))
            for text, priority in zip(self._texts, PRIORITIES, strict=True):
                self._submit(client, text, priority, _texts([text]))
            for name, priority in zip(DIGITS, _DIGIT_PRIORITIES, strict=True):
                self._submit(client, name, priority, _picture(self._pictures / name))
            return [_finished(client, task) for task in self._ids]

    def to_replay(self) -> list[str]:
        """Choose three answers: two of one model, one of the other."""
        tasks = list(self._ids)
        return [tasks[1], tasks[3], tasks[-1]]

    def table(self, answers: list[dict[str, Any]]) -> Table:
        """Show the answers in the order their tasks were started."""
        table = Table(title="answers, in the order of start", title_justify="left", box=SIMPLE_HEAD)
        for name in (
            "task",
            "model",
            "priority",
            "start",
            "queued",
            "ran",
            "input",
            "answer",
            "environment",
            "model",
            "output",
        ):
            justify: JustifyMethod = "right" if name in {"priority", "start", "queued", "ran"} else "left"
            table.add_column(name, justify=justify, no_wrap=True)
        for answer in sorted(answers, key=lambda answer: answer["start_order"] or 0):
            table.add_row(
                answer["id"],
                answer["model"],
                str(answer["priority"]),
                str(answer["start_order"]),
                f"{answer['queue_seconds']:.3f} s",
                f"{answer['run_seconds']:.3f} s",
                _short(self._ids[answer["id"]]),
                self._answer(answer),
                *((answer["digests"][link] or "")[:12] for link in ("environment", "model", "output")),
            )
        return table

    def check(self, answers: list[dict[str, Any]]) -> list[str]:
        """Return what is wrong with the answers: a task that failed, or a digit that was misread."""
        wrong = [f"task {a['id']}: {a['state']}: {a['error']}" for a in answers if a["state"] != "succeeded"]
        for answer in answers:
            asked = self._ids[answer["id"]]
            if answer["state"] == "succeeded" and asked in self._labels:
                label = _output(answer, "label")[0]
                if label != self._labels[asked]:
                    wrong.append(f"task {answer['id']}: {asked} was read as {label}")
        return wrong

    def _submit(self, client: httpx.Client, asked: str, priority: int, task: dict[str, Any]) -> None:
        answer = client.post("/v1/tasks", json=task | {"priority": priority})
        document = answer.json()
        if answer.is_error:
            raise BatchError(f"the scheduler refused {asked!r}: {document['error']}")
        self._ids[document["id"]] = asked

    def _answer(self, answer: dict[str, Any]) -> str:
        if answer["state"] != "succeeded":
            return f"{answer['state']}: {answer['error']}"
        if answer["model"] == "digits":
            label = _output(answer, "label")[0]
            return f"{label} {_output(answer, 'probabilities')[label]:.1%}"
        values = _output(answer, "embedding")
        return f"{values[0]:+.4f} … {len(values)} floats"


def _finished(client: httpx.Client, task: str) -> dict[str, Any]:
    answer: dict[str, Any] = client.get(f"/v1/tasks/{task}", params={"wait": WAIT}).raise_for_status().json()
    return answer


def _texts(texts: list[str]) -> dict[str, Any]:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [len(texts)], "data": texts}
    return {"model": "minilm", "inputs": [tensor]}


def _picture(path: Path) -> dict[str, Any]:
    tensor = {
        "name": "image",
        "datatype": "BYTES",
        "shape": [1],
        "data": [base64.b64encode(path.read_bytes()).decode("ascii")],
        "parameters": {"content_type": "base64"},
    }
    return {"model": "digits", "inputs": [tensor]}


def _output(answer: dict[str, Any], name: str) -> list[Any]:
    return next(tensor["data"] for tensor in answer["outputs"] if tensor["name"] == name)


def _short(text: str) -> str:
    return text if len(text) <= 22 else f"{text[:21]}…"
