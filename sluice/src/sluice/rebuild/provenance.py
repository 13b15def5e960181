"""What a package says about how it was made."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sluice.build.record import NAME, BuildRecord
from sluice.digest import Digest, DigestError
from sluice.errors import SluiceError
from sluice.package import PackageId
from sluice.rebuild.errors import RebuildError
from sluice.rebuild.members import component, opened, tar
from sluice.wheels import Target, WheelSet
from sluice.wheels.generated import SET
from sluice.wheels.identity import CONVERTER
from sluice.wheels.manifest import parse
from sluice.wheels.mark import Mark
from sluice.wheels.names import aliases

MAX_MEMBER = 16 << 20  # bytes of one description
MAX_MEMBERS = 100_000
_SUBDIR = re.compile(r"[a-z0-9]+(-[a-z0-9_]+)?")
_READ = (
    "index.json",
    "wheel.json",
    SET,
    "wheels.toml",
    NAME,
    "recipe/recipe.yaml",
    "recipe/rendered_recipe.yaml",
)


@dataclass(frozen=True, slots=True)
class Needed:
    """A package that was installed for a build."""

    subdir: str
    filename: str
    sha256: Digest

    def __post_init__(self) -> None:
        PackageId.parse(self.filename)
        if not _SUBDIR.fullmatch(self.subdir):
            raise RebuildError(f"not a subdir: {self.subdir[:80]!r}")


@dataclass(frozen=True, slots=True)
class FromRecipe:
    """Built from a recipe."""

    record: BuildRecord
    recipe: str  # recipe.yaml
    files: dict[str, str]  # of the recipe's folder, as far as the package carries it -> sha256
    environment: tuple[Needed, ...]  # what was installed to build it


@dataclass(frozen=True, slots=True)
class FromWheel:
    """Converted from a wheel."""

    filename: str
    sha256: Digest
    target: Target
    extras: dict[str, str]  # other wheels whose extras are in `depends` -> version
    mark: Mark  # what the wheel's set said of it


@dataclass(frozen=True, slots=True)
class Generated:
    """Written beside conversions, without files: a further name of a package, or `python_abi`."""

    alias_of: PackageId | None
    target: Target


@dataclass(frozen=True, slots=True)
class FromSet:
    """Written beside the conversions of a stack: pins every package of it."""

    wheel_set: WheelSet


@dataclass(frozen=True, slots=True)
class Provenance:
    """A package and what it was made from."""

    package: PackageId
    subdir: str
    origin: FromRecipe | FromWheel | FromSet | Generated

    @classmethod
    def read(cls, path: Path) -> Provenance:
        """Read what a package carries.

        Raises:
            RebuildError: it is no whole package, not one that this project built, or what it carries
                is damaged or of another version; names the package.

        """
        package = PackageId.parse(path.name)
        if not path.name.endswith(".conda"):
            raise RebuildError(
                f"{path.name}: this project builds .conda packages only; nothing to compare with"
            )
        texts, files = _info(path)
        name = path.name
        try:
            index = json.loads(texts["index.json"])
            subdir = str(index["subdir"])
            if (index["name"], index["version"], index["build"]) != (
                package.name,
                package.version,
                package.build,
            ):
                raise RebuildError(f"{name}: is another package inside ({str(index['name'])[:60]})")
            if not _SUBDIR.fullmatch(subdir):
                raise RebuildError(f"{name}: not a subdir: {subdir[:80]!r}")
            if NAME in texts:
                return cls(package, subdir, _from_recipe(name, texts, files))
            if "wheel.json" in texts:
                return cls(package, subdir, _from_wheel(name, json.loads(texts["wheel.json"])))
            if SET in texts:
                _format(name, json.loads(texts[SET]))
                wheel_set = parse(texts["wheels.toml"], f"{name}: info/wheels.toml")
                return cls(package, subdir, FromSet(wheel_set))
            if found := _generated(package, index):
                return cls(package, subdir, found)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, yaml.YAMLError) as error:
            raise RebuildError(
                f"{name}: what it says of its making is damaged ({type(error).__name__})"
            ) from error
        except DigestError as error:
            raise RebuildError(f"{name}: what it says of its making is damaged ({error})") from error
        raise RebuildError(
            f"{name}: carries neither info/{NAME} nor info/wheel.json: not built by this project,"
            " or by a version that kept no record; build it with `sluice build`"
        )


def _info(path: Path) -> tuple[dict[str, bytes], dict[str, str]]:
    texts: dict[str, bytes] = {}
    files: dict[str, str] = {}
    with opened(path) as archive, tar(archive, component(archive, "info")) as members:
        for number, member in enumerate(members):
            name = member.name.removeprefix("info/")
            if number > MAX_MEMBERS:
                raise RebuildError(f"{path.name}: more than {MAX_MEMBERS} members below info/")
            if not member.isreg() or not (name in _READ or name.startswith("recipe/")):
                continue
            if member.size > MAX_MEMBER:
                raise RebuildError(f"{path.name}: info/{name[:80]} is larger than {MAX_MEMBER} bytes")
            stream = members.extractfile(member)
            assert stream
            data = stream.read()
            if name in _READ:
                texts[name] = data
            if name.startswith("recipe/"):
                files[name.removeprefix("recipe/")] = Digest.of(data).hex
    return texts, files


def _from_recipe(name: str, texts: dict[str, bytes], files: dict[str, str]) -> FromRecipe:
    record = BuildRecord.parse(name, texts[NAME])
    rendered = yaml.safe_load(texts["recipe/rendered_recipe.yaml"])
    dependencies = rendered.get("finalized_dependencies") or {}
    needed = {
        Needed(str(item["subdir"]), str(item["fn"]), Digest(str(item["sha256"])))
        for part in ("build", "host")
        for item in (dependencies.get(part) or {}).get("resolved") or ()
    }
    environment = tuple(sorted(needed, key=lambda item: (item.subdir, item.filename)))
    return FromRecipe(record, texts["recipe/recipe.yaml"].decode(), files, environment)


def _format(name: str, document: dict[str, Any]) -> None:
    if (document["format"], document["converter"]) != (1, CONVERTER):
        raise RebuildError(
            f"{name}: was made by converter {str(document['converter'])[:20]}, this is {CONVERTER};"
            " rebuild it with the Sluice that made it"
        )


def _from_wheel(name: str, document: dict[str, Any]) -> FromWheel:
    _format(name, document)
    try:
        target = Target(str(document["target"]["python"]), str(document["target"]["subdir"]))
        mark = Mark.parse(document.get("mark", {}))
    except SluiceError as error:
        raise RebuildError(f"{name}: {error}") from error
    extras = {str(key): str(value) for key, value in document["extras_of"].items()}
    return FromWheel(str(document["filename"]), Digest(str(document["sha256"])), target, extras, mark)


def _generated(package: PackageId, index: dict[str, Any]) -> Generated | None:
    if package.name == "python_abi" and package.build.endswith(f"_cp{package.version.replace('.', '')}"):
        return Generated(None, Target(package.version))
    real, _, version = str((index.get("depends") or [""])[0]).partition(" ==")
    if version == package.version and package.name in aliases(real):
        return Generated(PackageId(real, version, package.build), Target())
    return None
