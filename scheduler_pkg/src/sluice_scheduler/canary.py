"""Runs a model package's canary in the current Python's environment, as the daemon's workers would.

A recipe runs it as `python -B -m sluice_scheduler.canary DIR --write` once its model lies in the prefix; afterwards
`sluice scheduler canary DIR` says whether this machine computes the same bytes.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from sluice import atomic
from sluice.digest import Digest
from sluice.errors import SluiceError
from sluice_scheduler import tensors as oip
from sluice_scheduler import worker
from sluice_scheduler.confinement import Confined, Confinement
from sluice_scheduler.errors import SchedulerError
from sluice_scheduler.model import FILENAME, Model
from sluice_scheduler.profile import NumericProfile
from sluice_scheduler.tensors import Tensor
from sluice_scheduler.worker import frames

TIMEOUT: Final = 600  # seconds for each answer of the worker
END_SECONDS: Final = 5  # for its keeper to end every process
_SHA: Final = re.compile(r"^output_sha256\s*=.*$", re.MULTILINE)
_TABLE: Final = re.compile(r"^\[canary\]\s*$", re.MULTILINE)


class CanaryError(SchedulerError):
    """A model's canary could not be run, or did not give the expected bytes."""


def run(
    model: Model, inputs: tuple[Tensor, ...], profile: NumericProfile, python: Path = Path(sys.executable)
) -> tuple[Tensor, ...]:
    """Answer inputs with a worker of the given interpreter, once in each of two processes.

    They are confined as a deployment's that asks for nothing; what the kernel did not do is told on stderr.

    Raises:
        CanaryError: the worker or the model failed, or the two processes gave different bytes.
        WorkerError: it does not say how it is confined.
        ModelError: the answer does not fit the model's signature.

    """
    ours, theirs = socket.socketpair()
    with ours, tempfile.TemporaryDirectory(prefix="sluice-canary-") as home:
        ours.settimeout(TIMEOUT)
        with theirs:
            process = _start(python, theirs, profile, model, home)
        try:
            listed = [{"name": model.name, "directory": str(model.directory.resolve())}]
            frames.send(ours, {"op": "load", "models": listed, "profile": profile.document()})
            loaded = _expect(ours, "loaded")
            first, second = (_ask(ours, model, inputs, f"canary-{number}") for number in (1, 2))
        except (OSError, frames.FrameError) as error:
            raise CanaryError(f"model {model.name!r}: its worker failed: {error}") from None
        finally:
            ours.close()
            _end(process)
    for refused in Confined.parse(loaded.header.get("confinement")).refused:
        typer.echo(f"less confined: {refused}", err=True)
    if first != second:
        raise CanaryError(
            f"model {model.name!r}: two processes gave different bytes for one input; it cannot be replayed"
        )
    return model.check_outputs(first)


def write(model: Model, output: Digest) -> None:
    """Put the digest into the package's model.toml, leaving the rest of the text as it is.

    Raises:
        CanaryError: the file has no `[canary]` line.
        ModelError: the file would not say what was meant.

    """
    path = model.directory / FILENAME
    atomic.write(path, set_output(path.read_text(encoding="utf-8"), str(output), str(path)).encode())
    after = Model.parse(model.directory)
    assert after.canary is not None
    assert after.canary.output == output


def set_output(text: str, output: str, where: str) -> str:
    """Put a digest, or nothing, into the text of a model.toml.

    Raises:
        CanaryError: it has no `[canary]` line.

    """
    table = _TABLE.search(text)
    if table is None:
        raise CanaryError(f"{where}: it has no line [canary]; add one with `file`")
    line = f'output_sha256 = "{output}"'
    head, tail = text[: table.end()], text[table.end() :]
    return head + (_SHA.sub(line, tail, count=1) if _SHA.search(tail) else f"\n{line}{tail}")


def command(
    directory: Annotated[Path, typer.Argument(help="A model package: the folder with model.toml.")],
    *,
    write_digest: Annotated[
        bool, typer.Option("--write", help="Write the output's digest into model.toml instead of comparing.")
    ] = False,
    python: Annotated[
        Path, typer.Option(help="The interpreter of the environment to run it in.", show_default="this one")
    ] = Path(sys.executable),
) -> None:
    """Run a model's canary in an environment and compare its output's digest."""
    model = Model.parse(directory)
    inputs = model.canary_inputs()
    expected = model.canary.output if model.canary else None
    if expected is None and not write_digest:
        raise CanaryError(f"{directory / FILENAME}: it has no output_sha256; run this again with --write")
    output = oip.digest(run(model, inputs, NumericProfile(), python))
    if write_digest:
        write(model, output)
    elif expected != output:
        raise CanaryError(
            f"model {model.name!r}: its canary gave {output} here, not {expected}; "
            "this machine or this environment computes differently from where the package was built"
        )
    typer.echo(f"{model.name} {model.version} canary {output}")


def main() -> None:
    """Be a command of its own, for recipes."""
    try:
        typer.run(command)
    except SluiceError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)


def _start(
    python: Path, control: socket.socket, profile: NumericProfile, model: Model, home: str
) -> subprocess.Popen[bytes]:
    readable = (Path(worker.DIRECTORY), model.directory.resolve())
    confine = Confinement().document(readable, Path(home).resolve())
    try:
        return subprocess.Popen(
            worker.command(str(python), control.fileno(), confine),
            pass_fds=(control.fileno(),),
            stdin=subprocess.DEVNULL,
            env={"PATH": os.defpath, "HOME": home, "TMPDIR": home, **profile.environment()},
            cwd=home,
        )
    except OSError as error:
        raise CanaryError(
            f"cannot start {python}: {error.strerror or error}; name a Python with --python"
        ) from None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End every process of a worker that was hung up."""
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _ask(control: socket.socket, model: Model, inputs: tuple[Tensor, ...], name: str) -> tuple[Tensor, ...]:
    ours, theirs = socket.socketpair()
    with ours:
        ours.settimeout(TIMEOUT)
        with theirs:
            frames.send(control, {"op": "fork", "instance": name}, fds=[theirs.fileno()])
        _expect(control, "forked")
        header: dict[str, Any] = {
            "op": "infer",
            "id": name,
            "model": model.name,
            "tensors": frames.describe(inputs),
        }
        if (rows := model.bucket().rows) is not None:
            header["bucket"] = rows
        frames.send(ours, header, [tensor.data for tensor in inputs])
        answer = _expect(ours, "result")
    _expect(control, "exited")
    outputs = frames.tensors_of(answer.header, answer.body)
    return tuple(Tensor(name, datatype, shape, bytes(data)) for name, datatype, shape, data in outputs)


def _expect(sock: socket.socket, operation: str) -> frames.Frame:
    frame = frames.receive(sock)
    if frame is None:
        raise CanaryError("the worker ended without an answer; what it said stands above")
    if frame.header.get("op") != operation:
        if trace := frame.header.get("traceback"):
            typer.echo(trace, err=True)
        reason = frame.header.get("error") or frame.header.get("message") or frame.header.get("op")
        raise CanaryError(f"the worker answered: {reason}")
    return frame


if __name__ == "__main__":
    main()
