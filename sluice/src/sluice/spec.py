"""What an environment asks for: `environment.yml` and the grammar of environment names. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from sluice import plainyaml
from sluice.errors import SluiceError
from sluice.virtual import Virtual, VirtualPackageError, requirements

MAX_BYTES = 1 << 20  # of an environment.yml
_PART = re.compile(r"[a-z0-9_]+")
_TORCH = re.compile(r"pt([1-9])(\d{1,2})")
_DEVICE = re.compile(r"cpu|mps|xpu|cuda[1-9]\d{1,2}|rocm[1-9]\d{1,2}")
_CHANNEL = re.compile(r"[A-Za-z0-9_.:/@~+-]+")
_KEYS = {"name", "channels", "dependencies", "platforms", "system-requirements"}


class SpecError(SluiceError):
    """An environment is a mapping of name, channels and dependencies."""


@dataclass(frozen=True, order=True, slots=True)
class EnvironmentName:
    """`{project}-{model}-{torch}-{device}`, such as `nlp-minilm-pt213-cpu`.

    `torch` is `pt` and the release without its dot (`pt213` is 2.13); `device` is `cpu`, `mps`,
    `xpu`, `cuda` or `rocm` with its version (`cuda130` is 13.0).
    """

    project: str
    model: str
    torch: str
    device: str

    def __post_init__(self) -> None:
        for label, text, pattern, wanted in (
            ("project", self.project, _PART, "lower-case letters, digits and _"),
            ("model", self.model, _PART, "lower-case letters, digits and _"),
            ("torch", self.torch, _TORCH, "pt and a release, such as pt213 for 2.13"),
            ("device", self.device, _DEVICE, "cpu, mps, xpu, cudaNNN or rocmNNN"),
        ):
            if len(text) > 32 or not pattern.fullmatch(text):  # noqa: PLR2004 - characters
                raise SpecError(
                    f"environment name {str(self)[:140]!r}: {label} {text[:40]!r} is not {wanted}"
                )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a name.

        Raises:
            SpecError: naming the part that is wrong and what it may be.

        """
        parts = text.split("-")
        if len(parts) != 4:  # noqa: PLR2004 - the four parts of the grammar
            raise SpecError(
                f"environment name {text[:140]!r} has {len(parts)} parts; "
                "expected {project}-{model}-{torch}-{device}, such as nlp-minilm-pt213-cpu"
            )
        return cls(*parts)

    @property
    def torch_release(self) -> str:
        """The torch release that the name promises, such as `2.13`."""
        match = _TORCH.fullmatch(self.torch)
        assert match
        return f"{match[1]}.{match[2]}"

    def __str__(self) -> str:
        return f"{self.project}-{self.model}-{self.torch}-{self.device}"


@dataclass(frozen=True, slots=True)
class EnvSpec:
    """An environment as asked for: channels in strict priority order, match specs, platforms."""

    name: str
    channels: tuple[str, ...]
    dependencies: tuple[str, ...]
    platforms: tuple[str, ...] = ("linux-64",)
    virtual: tuple[Virtual, ...] = ()  # what the machines it is for offer, where that is named

    @classmethod
    def parse(cls, text: str, where: str = "environment.yml") -> Self:
        """Read the text of an `environment.yml`.

        Raises:
            SpecError: the text is not YAML, or a key is missing, unknown or of the wrong type.

        """
        if len(text) > MAX_BYTES:
            raise SpecError(f"{where}: larger than {MAX_BYTES} bytes")
        try:
            document = plainyaml.load(text.encode("utf-8", "surrogatepass"), where)
        except plainyaml.YamlError as error:
            raise SpecError(str(error)) from error
        if not isinstance(document, dict):
            raise SpecError(f"{where}: expected a mapping with name, channels and dependencies")
        if unknown := sorted(str(key) for key in document.keys() - _KEYS):
            raise SpecError(f"{where}: unknown key {unknown[0]!r}; known are {', '.join(sorted(_KEYS))}")
        name = document.get("name")
        if not isinstance(name, str) or not name:
            raise SpecError(f"{where}: 'name' must be a text")
        channels = _texts(document, "channels", where)
        for channel in channels:
            if not _CHANNEL.fullmatch(channel):
                raise SpecError(f"{where}: not a channel's name or URL: {channel[:200]!r}")
        platforms = _texts(document, "platforms", where) if "platforms" in document else ("linux-64",)
        try:
            virtual = requirements(document.get("system-requirements", {}), where)
        except VirtualPackageError as error:
            raise SpecError(f"{error}" if str(error).startswith(where) else f"{where}: {error}") from error
        return cls(name, channels, _texts(document, "dependencies", where), platforms, virtual)


def _texts(document: Mapping[Any, Any], key: str, where: str) -> tuple[str, ...]:
    values = document.get(key)
    if not isinstance(values, list) or not values:
        raise SpecError(f"{where}: {key!r} must be a list with at least one entry")
    for value in values:
        if isinstance(value, dict) and "pip" in value:
            raise SpecError(
                f"{where}: a 'pip:' section is not locked to bytes; import the wheels into a channel instead"
            )
        if not isinstance(value, str):
            raise SpecError(f"{where}: every entry of {key!r} must be a text, got {value!r:.80}")
    return tuple(values)


def read_spec(environment: Path) -> tuple[EnvironmentName | None, Path, EnvSpec]:
    """Read an environment's folder, whose name follows the grammar, or an environment.yml of any name.

    Return the folder's name, the file, and what it asks for.

    Raises:
        SpecError: there is no such file, it is no environment, or its name is not its folder's.

    """
    folder = environment.is_dir()
    path = environment / "environment.yml" if folder else environment
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SpecError(f"{path}: larger than {MAX_BYTES} bytes")
        spec = EnvSpec.parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    name = EnvironmentName.parse(environment.resolve().name) if folder else None
    if name and spec.name != str(name):
        raise SpecError(f"{path}: its name is {spec.name!r}, its folder's {str(name)!r}; make them equal")
    return name, path, spec
