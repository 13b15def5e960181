"""Runs a command in the worker's environment, as `conda run` does, and answers with what it wrote and how it ended.

It runs in the instance's process group, in a folder of its own that goes when it ends. The scripts in the environment's
`etc/conda/activate.d` are shell and are not run; variables that packages set in `etc/conda/env_vars.d` are.
"""

# ruff: noqa: PTH118, PTH123, PTH208 - few files, and paths that are texts everywhere

from __future__ import annotations

import json
import os
import selectors
import shutil
import struct
import subprocess
import tempfile
from typing import TYPE_CHECKING, Any

from .frames import WireTensor

if TYPE_CHECKING:  # evaluated by no Python, so by 3.8 neither
    from collections.abc import Sequence

MAX_OUTPUT = 4 << 20  # bytes kept of each of stdout and stderr; the rest is read and dropped
MAX_VARIABLES = 1 << 20  # bytes of a file of variables
_CHUNK = 1 << 16
_PATIENCE = 0.05  # seconds between looks at a process whose output others hold open
_ENTRIES = os.path.join("etc", "conda", "env_vars.d")


class ScriptError(ValueError):
    """The command cannot be started as it was given."""


def run(tensors: Sequence[WireTensor], prefix: str, name: str) -> list[WireTensor]:
    """Run the command that `argv`, `env` (each NAME=VALUE) and `stdin` say, to its end.

    Raises:
        ScriptError: it cannot be started.

    """
    given = {tensor.name: _elements(tensor) for tensor in tensors}
    argv = given.get("argv", [])
    if not argv or not argv[0]:
        raise ScriptError("argv names no command")
    folder = tempfile.mkdtemp(prefix="script-")
    try:
        variables = {
            os.fsencode(key): os.fsencode(value) for key, value in _environment(prefix, name).items()
        }
        variables[b"HOME"] = variables[b"TMPDIR"] = os.fsencode(folder)
        for one in given.get("env", []):
            key, equals, value = one.partition(b"=")
            if not key or not equals:
                raise ScriptError("env has an element that is not NAME=VALUE")
            variables[key] = value
        try:
            process = subprocess.Popen(
                argv,
                cwd=folder,
                env=variables,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ScriptError(f"cannot start {os.fsdecode(argv[0])[:80]!r}: {reason}") from None
        with process:
            kept, dropped = _converse(process, b"".join(given.get("stdin", [])))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return [
        WireTensor("exit_code", "INT64", (1,), struct.pack("<q", process.returncode)),
        WireTensor("stderr", "BYTES", (1,), _joined(kept["stderr"])),
        WireTensor("stdout", "BYTES", (1,), _joined(kept["stdout"])),
        WireTensor("truncated", "BOOL", (2,), bytes([dropped["stdout"], dropped["stderr"]])),
    ]


def _converse(process: Any, stdin: bytes) -> tuple[dict[str, bytearray], dict[str, bool]]:  # noqa: ANN401 - Popen of bytes
    """Feed it and read it until it has ended; what others hold open by then is not waited for."""
    kept = {"stdout": bytearray(), "stderr": bytearray()}
    dropped = {"stdout": False, "stderr": False}
    left = memoryview(stdin)
    with selectors.DefaultSelector() as selector:
        for stream, name in ((process.stdout, "stdout"), (process.stderr, "stderr")):
            os.set_blocking(stream.fileno(), False)
            selector.register(stream, selectors.EVENT_READ, name)
        os.set_blocking(process.stdin.fileno(), False)
        selector.register(process.stdin, selectors.EVENT_WRITE, "stdin")
        while True:
            ended = process.poll() is not None
            ready = selector.select(0 if ended else _PATIENCE) if selector.get_map() else []
            if not ready and (ended or not selector.get_map()):
                process.wait()
                return kept, dropped
            for key, _ in ready:
                if key.data == "stdin":
                    left = _feed(process.stdin, left)
                    if not left:
                        selector.unregister(process.stdin)
                        process.stdin.close()
                    continue
                data = os.read(key.fd, _CHUNK)
                if not data:
                    selector.unregister(key.fileobj)
                room = MAX_OUTPUT - len(kept[key.data])
                kept[key.data] += data[:room]
                dropped[key.data] |= len(data) > room


def _feed(stream: Any, left: memoryview) -> memoryview:  # noqa: ANN401 - a pipe's end
    try:
        return left[os.write(stream.fileno(), left[:_CHUNK]) :] if left else left
    except BlockingIOError:
        return left
    except BrokenPipeError:
        return left[:0]  # it does not want to hear more


def _environment(prefix: str, name: str) -> dict[str, str]:
    """Return the worker's own variables and those of an activated environment."""
    variables = dict(os.environ)
    folder = os.path.join(prefix, _ENTRIES)
    try:
        files = [os.path.join(folder, file) for file in sorted(os.listdir(folder)) if file.endswith(".json")]
    except OSError:
        files = []
    for file in files:
        variables.update(_variables(file))
    variables.update(
        {
            "CONDA_PREFIX": prefix,
            "CONDA_DEFAULT_ENV": name,
            "CONDA_SHLVL": "1",
            "PATH": f"{os.path.join(prefix, 'bin')}:/usr/bin:/bin",
        }
    )
    return variables


def _variables(path: str) -> dict[str, str]:
    try:
        with open(path, "rb") as file:
            document = json.loads(file.read(MAX_VARIABLES))
    except (OSError, ValueError):
        return {}
    if not isinstance(document, dict):
        return {}
    return {
        str(key): value
        for key, value in document.items()
        if isinstance(value, str) and key and not {"\0", "="} & set(key) and "\0" not in value
    }


def _elements(tensor: WireTensor) -> list[bytes]:
    data, offset, elements = bytes(tensor.data), 0, []
    while offset + 4 <= len(data):
        size = int.from_bytes(data[offset : offset + 4], "little")
        elements.append(data[offset + 4 : offset + 4 + size])
        offset += 4 + size
    if tensor.datatype != "BYTES" or offset != len(data):
        raise ScriptError(f"{tensor.name!r} is no list of texts")
    return elements


def _joined(data: bytearray) -> bytes:
    return struct.pack("<I", len(data)) + bytes(data)
