"""An instance: a forked child that answers requests over its own socket, one at a time."""

# ruff: noqa: ANN401 - torch and the models are whatever the environment has

from __future__ import annotations

import contextlib
import random
import socket
import sys
import time
import traceback
from typing import Any

from . import frames, values

_MAX_MESSAGE = 500  # characters


def serve(sock: socket.socket, models: dict[str, Any], torch: Any, profile: dict[str, Any]) -> None:
    """Answer until the socket closes.

    Raises:
        FrameError: the other end does not speak in frames.

    """
    prepare(torch, profile)
    while True:
        frame = frames.receive(sock)
        if frame is None:
            return
        header, body = answer(frame, models, torch)
        try:
            frames.send(sock, header, body)
        except frames.FrameError as error:  # nothing was sent yet
            frames.send(sock, _error(header.get("id"), "model", f"its answer is too large: {error}"))


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


def answer(frame: frames.Frame, models: dict[str, Any], torch: Any) -> Any:
    """Run one request; whatever a model raises becomes an error frame. Returns a header and a body's parts."""
    header = frame.header
    identifier = header.get("id")
    if header.get("op") != "infer" or header.get("model") not in models:
        wanted = f"{header.get('op')!r:.80} of model {header.get('model')!r:.80}"
        return _error(identifier, "input", f"this instance cannot do {wanted}"), ()
    try:
        tensors = frames.tensors_of(header, frame.body)
        inputs = {tensor.name: values.to_model(tensor, torch) for tensor in tensors}
    except (frames.FrameError, values.ValueTypeError) as error:
        return _error(identifier, "input", one_line(error)), ()
    try:
        _seed(torch)
        start = time.perf_counter()
        with torch.inference_mode() if hasattr(torch, "inference_mode") else contextlib.nullcontext():
            returned = models[header["model"]].predict(inputs)
        seconds = time.perf_counter() - start
        outputs = values.from_model(returned, torch)
    except ValueError as error:  # how a model's code says that an input is no good
        return _error(identifier, "input", one_line(error)), ()
    except BaseException as error:  # noqa: BLE001 - sys.exit() in a model must not end the instance
        traceback.print_exc(file=sys.stderr)
        return _error(identifier, "model", f"{type(error).__name__}: {one_line(error)}"), ()
    result = {
        "op": "result",
        "id": identifier,
        "tensors": frames.describe(outputs),
        "seconds": seconds,
        "output_sha256": frames.output_sha256(outputs),
    }
    return result, [tensor.data for tensor in outputs]


def one_line(error: BaseException) -> str:
    """Return an exception's message as one line of bounded length."""
    return " ".join(str(error).split())[:_MAX_MESSAGE] or type(error).__name__


def _seed(torch: Any) -> None:
    """Start every request from one state of the generators: an answer does not depend on those before it."""
    random.seed(0)
    if torch is not None:
        torch.manual_seed(0)


def _error(identifier: Any, kind: str, message: str) -> dict[str, Any]:
    return {"op": "error", "id": identifier, "kind": kind, "message": message}
