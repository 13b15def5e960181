"""`sluice scheduler run`: a command in a served environment."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from sluice.cli.console import print_json
from sluice_scheduler import tensors
from sluice_scheduler.cli.options import Json, State, Url, connect
from sluice_scheduler.errors import ClientError

LONGEST_WAIT = 60.0  # seconds of one question
SIGNALLED = 128  # and the signal's number, as a shell has it
FAILED = 125  # exit status where the command was not run, as of env(1) and its like


def run(
    environment: Annotated[
        str, typer.Argument(help="The environment; `sluice scheduler status` lists them.")
    ],
    command: Annotated[list[str], typer.Argument(help="The command and its arguments, after --.")],
    variables: Annotated[
        list[str] | None, typer.Option("--set", help="A variable for it, NAME=VALUE; may be repeated.")
    ] = None,
    stdin: Annotated[Path | None, typer.Option(help="File that it reads as its input; - is ours.")] = None,
    priority: Annotated[int | None, typer.Option(show_default="5", help="1 (most urgent) to 9.")] = None,
    url: Url = None,
    state: State = None,
    json: Json = False,
) -> None:
    """Run a command in an environment as a task, and wait for its end; Ctrl-C cancels it.

    Writes what the command wrote, and ends with its exit status, 128 and the signal's number where one ended it; with
    125 where it could not be run. The scheduler must have been told to, with --scripts.
    """
    script: dict[str, Any] = {"argv": command, "env": dict(map(_variable, variables or []))}
    if stdin is not None:
        script["stdin"] = _text(stdin)
    task: dict[str, Any] = {"script": script, "environment": environment}
    if priority is not None:
        task["priority"] = priority
    with connect(url, state) as client:
        task = client.submit(task)
        try:
            while task["state"] in ("queued", "running"):
                task = client.wait(task["id"], LONGEST_WAIT)
        except KeyboardInterrupt:
            client.cancel(task["id"])
            raise
        if json:
            print_json(task)
    raise typer.Exit(_told(task, quiet=json))


def _told(task: dict[str, Any], *, quiet: bool) -> int:
    if task["state"] != "succeeded":
        if not quiet:
            sys.stderr.write(f"error: task {task['id']} {task['state']}: {task['error'] or 'cancelled'}\n")
        return FAILED
    outputs = {tensor.name: tensor for tensor in tensors.parse(task["outputs"])}
    if not quiet:
        for name, stream in (("stdout", sys.stdout), ("stderr", sys.stderr)):
            stream.buffer.write(outputs[name].elements()[0])
            stream.flush()
    code = int.from_bytes(outputs["exit_code"].data, "little", signed=True)
    return code if code >= 0 else SIGNALLED - code


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ClientError(f"--set takes NAME=VALUE, not {text[:80]!r}")
    return name, value


def _text(path: Path) -> str:
    try:
        return sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ClientError(f"--stdin: {path}: {error}") from None
