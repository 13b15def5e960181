"""What the command line is given for a task: tensors as words, as JSON files, and many tasks as JSON lines."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from sluice_scheduler.errors import ClientError

MAX_INPUT_FILE: Final = 64 << 20  # bytes
MAX_LINE: Final = 64 << 20  # characters, of one task


def read_tasks(path: Path) -> Iterator[dict[str, Any]]:
    """Read a file of JSON lines, each a task as `POST /v1/tasks` takes it; `-` is standard input.

    Raises:
        ClientError: it cannot be read, or a line is no JSON object.

    """
    try:
        with sys.stdin.buffer if str(path) == "-" else path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(MAX_LINE + 1), b""), 1):
                if len(line) > MAX_LINE:
                    raise ClientError(f"{path}: line {number} is longer than {MAX_LINE} bytes")
                if line.strip():
                    yield _task(path, number, line)
    except OSError as error:
        raise ClientError(f"{path}: {error.strerror or error}") from None


def _task(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        task = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ClientError(f"{path}: line {number} is not JSON: {error}") from None
    if not isinstance(task, dict):
        raise ClientError(f"{path}: line {number} is no JSON object with model and inputs")
    return task


def parse_input(text: str) -> dict[str, Any]:
    """Read `NAME=TEXT` or `NAME=@FILE` as one BYTES element.

    Raises:
        ClientError: it is neither, or the file cannot be read.

    """
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ClientError(f"an input is NAME=TEXT or NAME=@FILE, not {text[:80]!r}")
    if not value.startswith("@"):
        return {"name": name, "datatype": "BYTES", "shape": [1], "data": [value]}
    content = _read(Path(value[1:]))
    return {
        "name": name,
        "datatype": "BYTES",
        "shape": [1],
        "parameters": {"content_type": "base64"},
        "data": [base64.b64encode(content).decode("ascii")],
    }


def read_inputs(path: Path) -> list[dict[str, Any]]:
    """Read a JSON file that is an Open Inference Protocol request, or its `inputs` list.

    Raises:
        ClientError: it cannot be read or is neither.

    """
    try:
        document = json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise ClientError(f"{path}: it is not JSON: {error}") from None
    inputs = document.get("inputs") if isinstance(document, dict) else document
    if not isinstance(inputs, list):
        raise ClientError(f"{path}: expected a list of tensors, or an object with such a list as inputs")
    return inputs


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_INPUT_FILE:
            raise ClientError(f"{path}: it is larger than {MAX_INPUT_FILE} bytes")
        return path.read_bytes()
    except OSError as error:
        raise ClientError(f"{path}: {error.strerror or error}") from None
