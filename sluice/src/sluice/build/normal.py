"""Give a freshly built package the bytes it would have wherever and whenever it is built.

What a builder writes into a package about the one run that made it - the time, its directories, the
channel's address on this machine, the machine's kernel and processor - is replaced by what would be
equal in every run. The recorded recipe is the one in the recipe's folder, with its upstream URLs.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from conda_package_streaming import extract

from sluice.build import record
from sluice.build.recipe import BuildError
from sluice.digest import Digest
from sluice.pack import pack, to_json
from sluice.package import PackageId

CHANNEL = "https://channel.sluice.invalid"  # RFC 2606: means no server
ROOT = "/sluice/build"
LEVEL = 16  # of zstd
_TIMESTAMP = re.compile(r"^(  timestamp:).*$", re.MULTILINE)
_LEVEL = re.compile(r"^( +compression_level:).*$", re.MULTILINE)
_RESOLVED = re.compile(r"^(    resolved:\n)((?:\n|    (?:- |  ).*\n)+)", re.MULTILINE)
_ITEM = re.compile(r"^(?=    - )", re.MULTILINE)
_FILE = re.compile(r"^(?:    - |      )fn: (.*)$", re.MULTILINE)
_VIRTUAL = re.compile(r"^( +virtual_packages:)\n(?: +- .*\n)+", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Run:
    """What is known about the run that made a package."""

    root: Path  # everything of the run happened below it
    channel: Path
    epoch: int  # seconds since 1970
    recipe: str  # the text of recipe.yaml
    originals: Mapping[str, str]  # what stood in place of a source's address -> what the recipe says
    record: bytes = b""  # info/sluice.json


def normalised(package: Path, run: Run, out_dir: Path) -> Path:
    """Write the normal form of a package into a directory and return it.

    Raises:
        BuildError: a file of the package names the directories it was built in.

    """
    with tempfile.TemporaryDirectory(dir=run.root, prefix="normal-") as temporary:
        tree = Path(temporary)
        extract.extract(package, tree)
        paths = json.loads((tree / "info/paths.json").read_bytes())
        _payload(package, tree, paths, run)
        (tree / "info/paths.json").write_bytes(to_json(paths))
        _info(tree / "info", run)
        return pack(tree, PackageId.parse(package.name), out_dir, timestamp=run.epoch, level=LEVEL)


def placeholder(length: int) -> str:
    """Return the prefix placeholder of every package built here, as long as the one it replaces."""
    return (f"{ROOT}/" + "placehold_" * length)[:length]


def rendered(text: str, run: Run) -> str:
    """Return a `rendered_recipe.yaml` that says nothing about the one run."""
    text = _TIMESTAMP.sub(rf"\1 {_iso(run.epoch)}", text)
    text = _LEVEL.sub(rf"\1 {LEVEL}", text)
    text = _VIRTUAL.sub(r"\1 []\n", text)
    text = _RESOLVED.sub(_by_file, text)
    return _neutral(text, run)


def _by_file(found: re.Match[str]) -> str:
    """Put the packages of an environment in one order: a solver's hangs on what else its channel has."""
    items = [item for item in _ITEM.split(found[2]) if item]
    return found[1] + "".join(sorted(items, key=_FILE.findall))


def _payload(package: Path, tree: Path, paths: dict[str, Any], run: Run) -> None:
    built_in = str(run.root).encode()
    links = []
    for entry in paths["paths"]:
        path = tree / entry["_path"]
        if path.is_symlink():
            links.append((entry, path))
            continue
        data = path.read_bytes()
        if old := entry.get("prefix_placeholder"):
            new = placeholder(len(old))
            data = data.replace(old.encode(), new.encode())
            path.write_bytes(data)
            entry |= {"prefix_placeholder": new, "sha256": Digest.of(data).hex}
        if built_in in data:
            raise BuildError(f"{package.name}: {entry['_path']} names the directory it was built in")
    for entry, path in links:
        target = path.resolve()
        if target.is_relative_to(tree.resolve()) and target.is_file():
            entry["sha256"] = Digest.of_file(target).hex


def _info(info: Path, run: Run) -> None:
    _change(info / "index.json", timestamp=run.epoch * 1000)  # milliseconds
    _change(info / "about.json", channels=[])
    if run.record:
        (info / record.NAME).write_bytes(run.record)
    recipe = info / "recipe"
    if recipe.is_dir():
        (recipe / "recipe.yaml").write_text(run.recipe, encoding="utf-8")
        path = recipe / "rendered_recipe.yaml"
        path.write_text(rendered(path.read_text(encoding="utf-8"), run), encoding="utf-8")
    for path in sorted(info.rglob("*")):
        if path.is_file() and path.suffix in {".json", ".yaml", ".txt", ".sh"}:
            text = path.read_text(encoding="utf-8", errors="surrogateescape")
            changed = _neutral(text, run)
            if changed != text:
                path.write_text(changed, encoding="utf-8", errors="surrogateescape")


def _neutral(text: str, run: Run) -> str:
    for staged, original in run.originals.items():
        text = text.replace(staged, original)
    text = text.replace(run.channel.as_uri(), CHANNEL).replace(str(run.channel), CHANNEL)
    root = re.escape(str(run.root))
    text = re.sub(rf"{root}/[^\s\"']*placehold[^\s\"'/]*", _same_length, text)
    return re.sub(rf"{root}(?![\w.-])", ROOT, text)


def _same_length(found: re.Match[str]) -> str:
    return placeholder(len(found[0]))


def _change(path: Path, **values: object) -> None:
    document = json.loads(path.read_bytes())
    path.write_bytes(to_json(document | {key: value for key, value in values.items() if key in document}))


def _iso(epoch: int) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
