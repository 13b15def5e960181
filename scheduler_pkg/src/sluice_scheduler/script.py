"""A command as the inputs of a task. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sluice_scheduler import tensors
from sluice_scheduler.errors import RequestError
from sluice_scheduler.tensors import Tensor

KEYS: Final = frozenset({"argv", "env", "stdin"})
MAX_WORDS: Final = 4096  # of a command, or variables


def parse(document: object) -> tuple[Tensor, ...]:
    """Read what a task's `script` is: `{"argv": [...], "env": {...}, "stdin": "..."}`.

    Raises:
        RequestError: saying which key is wrong and what it may be.

    """
    if not isinstance(document, dict) or document.keys() - KEYS:
        raise RequestError("script is an object with argv, and env and stdin if you like")
    argv, env, stdin = document.get("argv"), document.get("env", {}), document.get("stdin")
    if not isinstance(argv, list) or not 0 < len(argv) <= MAX_WORDS or not all(map(_plain, argv)):
        raise RequestError(
            f"script: argv is a list of 1 to {MAX_WORDS} texts without NUL, the command and its arguments"
        )
    if (
        not isinstance(env, dict)
        or len(env) > MAX_WORDS
        or not all(key and "=" not in key and _plain(key) and _plain(value) for key, value in env.items())
    ):
        raise RequestError("script: env is an object of variables, each a text without NUL")
    if stdin is not None and not isinstance(stdin, str):
        raise RequestError(f"script: stdin is a text, not {tensors.kind(stdin)}")
    return inputs(argv, env, stdin)


def inputs(argv: Sequence[str], env: Mapping[str, str], stdin: str | bytes | None) -> tuple[Tensor, ...]:
    """Make the tensors of a command."""
    try:
        made = [_row("argv", argv)]
        if env:
            made.append(_row("env", [f"{key}={env[key]}" for key in sorted(env)]))
        if stdin is not None:
            made.append(Tensor.of_bytes("stdin", [stdin if isinstance(stdin, bytes) else stdin.encode()]))
    except UnicodeEncodeError:
        raise RequestError("script: a text of it is not Unicode") from None
    return tuple(made)


def _row(name: str, words: Sequence[str]) -> Tensor:
    return Tensor(name, tensors.BYTES, (1, len(words)), tensors.join_bytes(word.encode() for word in words))


def _plain(value: Any) -> bool:  # noqa: ANN401 - of JSON
    return isinstance(value, str) and "\0" not in value
