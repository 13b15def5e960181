"""`requirements.in`: what a wheel set is made for, as people write it. Pure but for reading the file."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import NormalizedName, canonicalize_name

from sluice.wheels.errors import PinError, RequirementError
from sluice.wheels.mark import UNMARKED, Mark


@dataclass(frozen=True)
class Wanted:
    """A requirement, and what its wheel does not say of itself."""

    requirement: Requirement
    mark: Mark = UNMARKED

    @property
    def name(self) -> NormalizedName:
        """The project."""
        return canonicalize_name(self.requirement.name)

    @property
    def exact(self) -> str:
        """The one version it allows, as written with its operator; "" when it allows several."""
        clauses = list(self.requirement.specifier)
        if len(clauses) == 1 and clauses[0].operator in {"==", "==="} and "*" not in clauses[0].version:
            return str(clauses[0])
        return ""


@dataclass(frozen=True)
class Wants:
    """A whole file."""

    summary: str  # its first comment, "" without one
    wanted: tuple[Wanted, ...]

    @property
    def names(self) -> frozenset[NormalizedName]:
        """The projects it names."""
        return frozenset(one.name for one in self.wanted)


def read(path: Path) -> Wants:
    """Read a requirements.in: one PEP 508 requirement a line, `#` begins a comment.

    After a requirement may come `--label TEXT`, `--depends "__VIRTUAL SPEC"` and `--build-number N`,
    which say what its wheel does not (`sluice.wheels.mark`).

    Raises:
        PinError: it cannot be read, or a line is something else.

    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise PinError(f"{path}: cannot be read ({error})") from None
    found = []
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        try:
            found += [_line(text)] if text else []
        except InvalidRequirement:
            raise PinError(f"{path}:{number}: not a requirement: {text[:120]!r}") from None
        except (RequirementError, ValueError) as error:
            raise PinError(f"{path}:{number}: {error}") from None
    if not found:
        raise PinError(f"{path}: names no requirement")
    summary = next((line.lstrip("# ").strip() for line in lines if line.startswith("#")), "")
    return Wants(summary, tuple(found))


def _line(text: str) -> Wanted:
    head, dashes, rest = text.partition(" --")
    words = shlex.split(f"--{rest}") if dashes else []
    options: dict[str, str] = {}
    if len(words) % 2:
        raise RequirementError(f"{words[-1][:60]!r} has no value")
    for key, value in zip(words[::2], words[1::2], strict=True):
        if key not in {"--label", "--depends", "--build-number"} or key in options:
            raise RequirementError(f"{key[:60]!r} is not --label, --depends or --build-number, once each")
        options[key] = value
    depends = (options["--depends"],) if "--depends" in options else ()
    mark = Mark(options.get("--label", ""), depends, int(options.get("--build-number", "0")))
    return Wanted(Requirement(head), mark)
