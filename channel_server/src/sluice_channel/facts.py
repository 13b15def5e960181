"""What a package file says of itself, as conda-index would put it into an index."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from sluice import archive
from sluice.archive import ArchiveError
from sluice.digest import CHUNK, Digest
from sluice_channel import origin, plainjson
from sluice_channel.entry import Package, canonical
from sluice_channel.errors import PackageError

INDEX: Final = "info/index.json"
ABOUT: Final = "info/about.json"
PATHS: Final = "info/paths.json"
RUN_EXPORTS: Final = "info/run_exports.json"
_RECIPES: Final = ("info/recipe/meta.yaml", "info/recipe/meta.yaml.rendered", "info/meta.yaml")
# How large each may be, in bytes.
DOCUMENTS: Final[Mapping[str, int]] = {
    INDEX: 1 << 20,
    ABOUT: 4 << 20,
    PATHS: 32 << 20,
    RUN_EXPORTS: 1 << 20,
    **dict.fromkeys(_RECIPES, 4 << 20),
}
# conda-index leaves these out of a record.
_LEFT_OUT: Final = frozenset(
    {
        "arch", "binstar", "has_prefix", "machine", "mtime", "operatingsystem", "platform",
        "requires_features", "target-triplet", "ucs",
    }
)  # fmt: skip
# What channeldata takes from a package's recipe, about.json, paths and index.json, the later before the earlier.
_ABOUT: Final = (
    "description", "dev_url", "doc_url", "doc_source_url", "home", "license", "source_url",
    "source_git_url", "summary", "icon_url", "icon_hash", "tags", "identifiers", "keywords",
    "recipe_origin",
)  # fmt: skip
_ONE_LINE: Final = ("description", "summary")
_SCRIPTS: Final = ("pre-link", "post-link", "pre-unlink")
_ACTIVATION: Final = ("activate.d", "deactivate.d")


@dataclass(slots=True)
class Documents:
    """The members of a package that say something of it."""

    texts: dict[str, bytes] = field(default_factory=dict)
    recipe: bytes = b""  # the first one met

    def take(self, path: str, content: bytes) -> None:
        """Keep one of `DOCUMENTS`."""
        if path not in _RECIPES:
            self.texts.setdefault(path, content)
        elif not self.recipe:
            self.recipe = content

    def complete(self) -> bool:
        """Tell whether nothing more can come that matters."""
        return len(self.texts) == len(DOCUMENTS) - len(_RECIPES) and bool(self.recipe)

    def parsed(self, path: str) -> dict[str, Any]:
        """Read one; an empty object where there is none.

        Raises:
            PackageError: it is no JSON object that every client can read.

        """
        return plainjson.parse(self.texts[path], path) if path in self.texts else {}


def read(path: Path, filename: str, subdir: str | None = None) -> Package:
    """Read what the package called `filename`, whose bytes lie in `path`, says of itself.

    Its `info/` is read, and the file hashed; `publication` is who compares one with the other. Without
    `subdir` the package goes where its `index.json` says.

    Raises:
        PackageError: it is no package, or says what no index can.
        OSError: it cannot be read.

    """
    documents = Documents()
    with path.open("rb") as file:
        members = archive.stream(file, filename, DOCUMENTS, components=("info",))
        try:
            for member in members:
                if member.content is not None:
                    documents.take(member.entry.path, member.content)
                    if documents.complete():
                        break
        except ArchiveError as error:
            raise PackageError(str(error)) from error
        finally:
            members.close()
        return package(documents, hashes(file), filename, subdir)


@dataclass(frozen=True, slots=True)
class Hashes:
    """What names the bytes of a file."""

    sha256: Digest
    md5: str
    size: int  # bytes


def hashes(file: IO[bytes]) -> Hashes:
    """Hash a file from its beginning to its end."""
    file.seek(0)
    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    while chunk := file.read(CHUNK):
        sha256.update(chunk)
        md5.update(chunk)
        size += len(chunk)
    return Hashes(Digest(sha256.hexdigest()), md5.hexdigest(), size)


def package(documents: Documents, hashed: Hashes, filename: str, subdir: str | None) -> Package:
    """Put together what an index says of a package.

    Raises:
        PackageError: it has no `index.json`, or says what no index can.

    """
    index = documents.parsed(INDEX)
    if not index:
        raise PackageError(f"{filename} has no {INDEX}, or an empty one")
    said = {key: value for key, value in index.items() if key not in _LEFT_OUT}
    record = said | {"md5": hashed.md5, "sha256": hashed.sha256.hex, "size": hashed.size}
    where = subdir if subdir is not None else index.get("subdir")
    if not isinstance(where, str):
        raise PackageError(f"{filename}: its {INDEX} does not say which subdir it is for")
    return Package(
        hashed.sha256,
        hashed.size,
        where,
        filename,
        canonical(record),
        canonical(documents.parsed(RUN_EXPORTS)),
        canonical(_about(documents, said)),
    )


def _about(documents: Documents, said: Mapping[str, Any]) -> dict[str, Any]:
    known = (
        documents.parsed(ABOUT)
        | _installation(documents.parsed(PATHS).get("paths"))
        | dict(said)
        | origin.sources(documents.recipe)
    )
    for key in _ONE_LINE:
        if key in known:
            known[key] = _one_line(known[key])
    flags = (*_ACTIVATION, "binary_prefix", "text_prefix", *(name.replace("-", "_") for name in _SCRIPTS))
    return {key: known[key] for key in (*_ABOUT, *flags) if known.get(key)}


def _one_line(value: Any) -> Any:  # noqa: ANN401 - as the package has it
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        value = "".join(value)
    return value.strip().replace("\n", " ") if isinstance(value, str) else value


def _installation(paths: object) -> dict[str, bool]:
    """Say what installing a package does besides linking files."""
    found: dict[str, bool] = {}
    for each in paths if isinstance(paths, list) else ():
        path = each.get("_path") if isinstance(each, dict) else None
        if not isinstance(path, str):
            raise PackageError(f"{PATHS} lists something without a path")
        if each.get("prefix_placeholder"):
            if each.get("file_mode") == "binary":
                found["binary_prefix"] = True
            elif each.get("file_mode") == "text":
                found["text_prefix"] = True
        found |= {name: True for name in _ACTIVATION if path.startswith(f"etc/conda/{name}")}
        found |= {
            name.replace("-", "_"): True for name in _SCRIPTS if fnmatch.fnmatchcase(path, f"*/.*-{name}.*")
        }
    return found
