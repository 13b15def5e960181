"""The process of a second build: `python -m sluice.rebuild.process REQUEST.json`.

Its environment, umask and folder were made different by whoever started it; it answers in lines of
JSON with an `event`. It ends its process group when its standard input closes: its parent has died.
"""

from __future__ import annotations

import json
import locale
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from packaging.utils import NormalizedName, canonicalize_name

from sluice import pack
from sluice.adapters.rattler_build import RattlerBuild
from sluice.build import Builder, Job, Recipe, Workshop
from sluice.digest import Digest
from sluice.errors import SluiceError
from sluice.progress import Step
from sluice.sources import Store
from sluice.wheels import Target
from sluice.wheels.convert import convert_wheel, decide, survey
from sluice.wheels.depends import Companions
from sluice.wheels.generated import Part, write_alias, write_python_abi, write_stack
from sluice.wheels.manifest import parse
from sluice.wheels.mark import Mark
from sluice.wheels.metadata import DistMetadata


def _say(event: str, **values: object) -> None:
    sys.stdout.write(json.dumps({"event": event, **values}) + "\n")
    sys.stdout.flush()


class _Told:
    def advance(self, amount: float = 1) -> None:
        _say("advance", amount=amount)

    def describe(self, text: str) -> None:
        _say("describe", text=text)


class _Telling:
    """Passes on what is being done, but not how far each step is."""

    @contextmanager
    def step(self, name: str, total: float | None = None, unit: str = "") -> Iterator[Step]:  # noqa: ARG002
        _say("describe", text=name)
        yield _Told()


@dataclass(frozen=True)
class _Varied:
    """A Builder whose scripts see another environment; tests decide no byte and are not run."""

    builder: Builder
    environment: Mapping[str, str]

    def versions(self) -> Mapping[str, str]:
        return self.builder.versions()

    def describe(self, directories: Any) -> tuple[Recipe, ...]:  # noqa: ANN401 - passed on
        return self.builder.describe(directories)

    def build(self, job: Job, step: Step) -> tuple[Path, ...]:
        return self.builder.build(replace(job, environment={**job.environment, **self.environment}), step)

    def check(self, package: Path, job: Job, step: Step) -> None:
        pass


def _no_index(channel: Path) -> NoReturn:
    raise SluiceError(f"{channel}: its index is not fresh")


def _recipe(request: dict[str, Any]) -> list[Path]:
    builder = _Varied(RattlerBuild(), request["varied"])
    workshop = Workshop(builder, Store(Path(request["sources"])), Path(request["cache"]), _no_index)
    return list(workshop.build(Path(request["directory"]), Path(request["channel"]), _Telling()))


def _companions(request: dict[str, Any]) -> Companions:
    files = {canonicalize_name(name): Path(path) for name, path in request["files"].items()}

    def companions(name: NormalizedName) -> DistMetadata | None:
        return survey(files[name]).metadata if name in files else None

    return companions


def _wheels(request: dict[str, Any]) -> list[Path]:
    out, target, companions = Path(request["out"]), Target(**request["target"]), _companions(request)
    made: list[Path] = []
    needs_abi = False
    for wheel in request["wheels"]:
        path = Path(wheel["path"])
        _say("describe", text=path.name)
        converted = convert_wheel(
            path,
            target,
            lambda subdir: out / subdir,
            sha256=Digest(wheel["sha256"]),
            companions=companions,
            mark=Mark.parse(wheel["mark"]),
        )
        made += [converted.path, *write_alias(converted.path, out / "noarch")]
        needs_abi |= converted.needs_abi
        _say("advance", amount=1)
    if needs_abi and request["whole"]:
        made.append(write_python_abi(target, out / "noarch"))
    return made


def _stack(request: dict[str, Any]) -> list[Path]:
    """Write a stack's package from its wheels alone: they are looked at again, but not converted."""
    wheel_set, companions = parse(request["set"].encode(), "the request"), _companions(request)
    out = Path(request["out"]) / wheel_set.target.subdir
    parts: list[Part] = []
    needs_abi = False
    for wheel in wheel_set.wheels:
        path = Path(request["files"][str(wheel.name)])
        _say("describe", text=path.name)
        identity, seconds = decide(
            path, wheel_set.target, sha256=wheel.sha256, companions=companions, mark=wheel.mark
        )
        parts.append(Part(identity.package, seconds))
        needs_abi |= not identity.relocatable
        _say("advance", amount=1)
    return [write_stack(wheel_set, parts, out, needs_abi=needs_abi)]


def _generated(request: dict[str, Any]) -> list[Path]:
    out = Path(request["out"]) / "noarch"
    if request["alias_of"]:
        return list(write_alias(Path(request["alias_of"]), out))
    return [write_python_abi(Target(**request["target"]), out)]


def _end_with_parent() -> None:
    def watch() -> None:
        while os.read(0, 1):
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def main() -> NoReturn:
    """Do what the request says and end."""
    request = json.loads(Path(sys.argv[1]).read_bytes())
    locale.setlocale(locale.LC_ALL, "")
    pack.THREADS = request["threads"]  # this process has no other purpose
    _end_with_parent()
    kinds = {"recipe": _recipe, "wheels": _wheels, "stack": _stack, "generated": _generated}
    status = 0
    try:
        made = kinds[request["kind"]](request)
        _say("made", packages=[{"path": str(path), "subdir": path.parent.name} for path in made])
    except (SluiceError, OSError) as error:
        _say("failed", message=" ".join(str(error).split()), tail=getattr(error, "tail", ()))
        status = 1
    sys.stdout.flush()
    os._exit(status)  # the libraries' own threads have crashed interpreters that were ending


if __name__ == "__main__":
    main()
