"""An instance: a forked child that answers requests over its own socket, one batch at a time."""

# ruff: noqa: ANN401 - torch and the models are whatever the environment has

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any

from . import batches, frames, scripts, seeding, values

if TYPE_CHECKING:  # evaluated by no Python, so by 3.8 neither
    from collections.abc import Sequence

_MAX_MESSAGE = 500  # characters
_TORCH_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "std::bad_alloc")
_MOST_TOGETHER = 4096  # requests


def serve(
    sock: socket.socket,
    models: dict[str, Any],
    torch: Any,
    profile: dict[str, Any],
    activation: Sequence[str] = (),
) -> None:
    """Answer until the socket closes; a request that says `more` runs together with those that follow it.

    `activation` is the prefix and the name of the environment that commands run in; without it none do.

    Raises:
        FrameError: the other end does not speak in frames.

    """
    prepare(torch, profile)
    asked: list[frames.Frame] = []
    while True:
        frame = frames.receive(sock)
        if frame is None:
            return
        if frame.header.get("op") == "script" and len(activation) == 2:  # noqa: PLR2004 - prefix and name
            frames.send(sock, *_script(frame, *activation))
            continue
        asked.append(frame)
        if frame.header.get("more") is True and len(asked) < _MOST_TOGETHER:
            continue
        for header, body in answer(asked, models, torch):
            try:
                frames.send(sock, header, body)
            except frames.FrameError as error:  # nothing was sent yet
                frames.send(sock, _error(header.get("id"), "model", f"its answer is too large: {error}"))
        asked = []


def prepare(torch: Any, profile: dict[str, Any]) -> None:
    """Set threads and deterministic algorithms, after the fork."""
    if torch is None:
        return
    torch.set_num_threads(int(profile.get("threads", 1)))
    torch.set_grad_enabled(False)
    if profile.get("deterministic", True):
        if hasattr(torch, "set_deterministic_debug_mode"):
            # The same switch as below, without its import of the compiler: 0.9 s and 100 MB in each instance.
            torch.set_deterministic_debug_mode("error")
        else:
            torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False


def answer(asked: list[frames.Frame], models: dict[str, Any], torch: Any) -> list[Any]:
    """Run requests; whatever a model raises becomes an error frame. Returns a header and a body's parts of each.

    With a `bucket` they run together in batches of so many rows. Where that fails, each runs in such a batch by
    itself, so that none fails for its neighbours.
    """
    if len(asked) > 1:
        together = _together(asked, models, torch)
        if together is not None:
            return together
    return [_alone(frame, models, torch) for frame in asked]


def _script(frame: frames.Frame, prefix: str, name: str) -> Any:
    os.setpgid(0, 0)  # so that it and what it starts are stopped and continued together
    start = time.perf_counter()
    try:
        outputs = scripts.run(frames.tensors_of(frame.header, frame.body), prefix, name)
    except (frames.FrameError, scripts.ScriptError) as error:
        return _error(frame.header.get("id"), "input", one_line(error)), ()
    except (OSError, MemoryError) as error:
        return _error(frame.header.get("id"), "model", one_line(error)), ()
    result = _result(frame.header, outputs, time.perf_counter() - start)
    return result, [tensor.data for tensor in outputs]


def _together(asked: list[frames.Frame], models: dict[str, Any], torch: Any) -> list[Any] | None:
    headers = [frame.header for frame in asked]
    name, size = headers[0].get("model"), headers[0].get("bucket")
    if name not in models or size is None or any(_aims(header) != _aims(headers[0]) for header in headers):
        return None
    start = time.perf_counter()
    try:
        requests = [frames.tensors_of(frame.header, frame.body) for frame in asked]
        outputs = batches.run(requests, int(size), lambda tensors: _predict(models[name], tensors, torch))
    except BaseException:  # noqa: BLE001 - whose fault it is shows when each runs alone
        return None
    seconds = time.perf_counter() - start
    return [
        (_result(header, answered, seconds), [tensor.data for tensor in answered])
        for header, answered in zip(headers, outputs)  # noqa: B905 - `strict` is younger than 3.8
    ]


def _alone(frame: frames.Frame, models: dict[str, Any], torch: Any) -> Any:
    header = frame.header
    identifier, size = header.get("id"), header.get("bucket")
    if header.get("op") != "infer" or header.get("model") not in models:
        wanted = f"{header.get('op')!r:.80} of model {header.get('model')!r:.80}"
        return _error(identifier, "input", f"this instance cannot do {wanted}"), ()
    model = models[header["model"]]
    try:
        start = time.perf_counter()
        tensors = frames.tensors_of(header, frame.body)
        if size is None:
            outputs = _predict(model, tensors, torch)
        else:
            (outputs,) = batches.run([tensors], int(size), lambda part: _predict(model, part, torch))
    except (frames.FrameError, _InputError) as error:
        return _error(identifier, "input", one_line(error)), ()
    except batches.BatchError as error:
        return _error(identifier, "model", one_line(error)), ()
    except BaseException as error:  # noqa: BLE001 - sys.exit() in a model must not end the instance
        traceback.print_exc(file=sys.stderr)
        kind = "memory" if _out_of_memory(error) else "model"
        return _error(identifier, kind, f"{type(error).__name__}: {one_line(error)}"), ()
    return _result(header, outputs, time.perf_counter() - start), [tensor.data for tensor in outputs]


def _out_of_memory(error: BaseException) -> bool:
    """Say whether memory ran out: Python's, or as torch says it."""
    text = str(error)
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in text for words in _TORCH_MEMORY)
    )


class _InputError(Exception):
    """The input is at fault."""


def _predict(model: Any, tensors: Any, torch: Any) -> list[frames.WireTensor]:
    try:
        inputs = {tensor.name: values.to_model(tensor, torch) for tensor in tensors}
        seeding.seed(torch)
        with torch.inference_mode() if hasattr(torch, "inference_mode") else contextlib.nullcontext():
            returned = model.predict(inputs)
    except (values.ValueTypeError, ValueError) as error:  # a ValueError is how a model says so
        raise _InputError(one_line(error)) from error
    return values.from_model(returned, torch)


def _result(header: frames.Header, outputs: list[frames.WireTensor], seconds: float) -> frames.Header:
    return {
        "op": "result",
        "id": header.get("id"),
        "tensors": frames.describe(outputs),
        "seconds": seconds,
    }


def _aims(header: frames.Header) -> tuple[Any, Any, Any]:
    return header.get("op"), header.get("model"), header.get("bucket")


def one_line(error: BaseException) -> str:
    """Return an exception's message as one line of bounded length."""
    return " ".join(str(error).split())[:_MAX_MESSAGE] or type(error).__name__


def _error(identifier: Any, kind: str, message: str) -> dict[str, Any]:
    return {"op": "error", "id": identifier, "kind": kind, "message": message}
