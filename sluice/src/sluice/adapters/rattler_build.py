"""The Builder that runs py-rattler-build, in a process of its own."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sluice.build import host, text
from sluice.build.builder import Job
from sluice.build.recipe import BuildError, Recipe, RecipeError, parse
from sluice.progress import Step
from sluice.sources import command

_MODULE = "sluice.adapters.rattler_build_process"
# What a builder and the tools it starts need to know of the user's environment.
_KEPT = ("HOME", "LANG", "PATH", "RATTLER_CACHE_DIR", "TMPDIR", "USER", "XDG_CACHE_HOME")
_MARKER = re.compile(r"line: (\d+), column: \d+")
_PLACE = re.compile(r"Failed to parse YAML: (\d+):\d+: ")
_MESSAGE = re.compile(r'message: "((?:[^"\\]|\\.)*)"')
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
TAIL = 20  # lines of the log that go with an error
SHOWN_EVERY = 0.2  # seconds


class RattlerBuild:
    """Builds v1 recipes as `rattler-build` and conda-build 26 do.

    Raises:
        BuildError: py-rattler-build is not installed.

    """

    def __init__(self) -> None:
        if find_spec("rattler_build") is None:
            raise BuildError("building needs py-rattler-build; install sluice[build]")

    def versions(self) -> Mapping[str, str]:
        """Return the version of py-rattler-build."""
        return {"py-rattler-build": version("py-rattler-build")}

    def describe(self, directories: Iterable[Path]) -> tuple[Recipe, ...]:
        """Evaluate the recipes in some folders."""
        folders = [directory.resolve() for directory in directories]
        for folder in folders:
            path = folder / "recipe.yaml"
            try:
                text.sources(path, path.read_text(encoding="utf-8"))
            except (OSError, UnicodeDecodeError) as error:
                raise RecipeError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
        recipes = []
        request = {"do": "describe", "directories": [str(folder) for folder in folders]}
        # A recipe that asks for the C library's version is told the same as when it is built.
        for answer in _events(request, host.environment()):
            if answer["event"] == "unusable":
                raise RecipeError(_located(Path(answer["directory"]) / "recipe.yaml", answer["message"]))
            if answer["event"] == "described":
                recipes.append(parse(Path(answer["directory"]), answer["variants"]))
        if len(recipes) != len(folders):
            raise BuildError(f"the recipe reader ended after {len(recipes)} of {len(folders)} recipes")
        return tuple(recipes)

    def build(self, job: Job, step: Step) -> tuple[Path, ...]:
        """Run a recipe."""
        output = job.root / "output"
        request = {"do": "build", "recipe": str(job.recipe), "output": str(output)}
        answer = _run(request, job, step, "built")
        packages = tuple(Path(path) for path in answer["packages"])
        if not packages or any(not path.resolve().is_relative_to(output.resolve()) for path in packages):
            raise BuildError(f"{job.recipe.parent.name}: the builder made no package; log: {job.log}")
        return packages

    def check(self, package: Path, job: Job, step: Step) -> None:
        """Run the tests that a package carries."""
        _run({"do": "check", "package": str(package)}, job, step, "checked")


def _run(request: Mapping[str, object], job: Job, step: Step, wanted: str) -> dict[str, Any]:
    tail: deque[str] = deque(maxlen=TAIL)
    answer: dict[str, Any] = {}
    shown = 0.0
    request = {**request, "channel": job.channel.as_uri()}
    with job.log.open("a", encoding="utf-8") as log:
        for event in _events(request, job.environment):
            if event["event"] in {wanted, "failed"}:
                answer = event
            for line in str(event.get("message", "")).splitlines():
                plain = _COLOUR.sub("", line).rstrip()
                log.write(plain + "\n")
                if plain:
                    tail.append(plain)
                if plain and time.monotonic() - shown > SHOWN_EVERY:
                    shown = time.monotonic()
                    step.describe(plain.strip()[:80])
    if answer.get("event") != wanted:
        reason = _one_line(answer.get("message", "the builder died")) if answer else "the builder died"
        raise BuildError(f"{job.root.name}: {reason}; the whole log: {job.log}", tail=tuple(tail))
    return answer


def _events(request: Mapping[str, object], environment: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    own = {name: os.environ[name] for name in _KEPT if name in os.environ} | {"LC_ALL": "C.UTF-8"}
    argv = [sys.executable, "-m", _MODULE, json.dumps(request)]
    with command.group(argv, environment={**own, **environment}) as process:
        assert process.stdout
        for raw in process.stdout:
            line = raw.decode("utf-8", "replace")
            try:
                event = json.loads(line)
                event["event"]
            except (ValueError, KeyError, TypeError):
                yield {"event": "log", "message": line}
            else:
                yield event


def _located(path: Path, message: str) -> str:
    """Turn the library's account of a bad recipe into `FILE:LINE: what`."""
    found = _MARKER.search(message) or _PLACE.search(message)
    where = f"{path}:{found[1]}" if found else str(path)
    return f"{where}: {_one_line(message)}"


def _one_line(message: str) -> str:
    quoted = _MESSAGE.search(message)
    plain = quoted[1] if quoted else _PLACE.sub("", message)
    return " ".join(_COLOUR.sub("", plain).split()).removeprefix("PyRattlerBuildError: ")[:300]
