"""One wheel in, one `.conda` out: the shell around the decisions of the other modules."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from packaging.utils import NormalizedName

from sluice.digest import Digest
from sluice.pack import CondaWriter, PackError, conda_writer
from sluice.wheels.depends import Companions, nobody
from sluice.wheels.errors import RequirementError, WheelError
from sluice.wheels.identity import Identity, identify
from sluice.wheels.info import about_json, index_json, license_name, link_json, source_json, timestamp
from sluice.wheels.layout import (
    Layout,
    Placed,
    entry_points,
    is_script_for_python,
    with_placeholder,
)
from sluice.wheels.mark import UNMARKED, Mark
from sluice.wheels.metadata import DistMetadata
from sluice.wheels.target import Target
from sluice.wheels.wheelfile import WheelFile, open_wheel

OnBytes = Callable[[int], None]


@dataclass(frozen=True)
class Converted:
    """What a conversion wrote."""

    path: Path
    subdir: str
    needs_abi: bool  # depends on `python_abi`
    companions: frozenset[NormalizedName]  # other wheels whose extras are in `depends`


@dataclass(frozen=True)
class Survey:
    """What a wheel says of itself before it is unpacked."""

    metadata: DistMetadata
    size: int  # bytes, unpacked


def survey(wheel: Path) -> Survey:
    """Look a wheel over: its structure is checked, its content is not.

    Raises:
        WheelError: it is not a sound wheel.

    """
    with open_wheel(wheel) as opened:
        return Survey(opened.metadata, sum(member.size for member in opened.members))


class _Watched:
    """Tells how much is read through it."""

    def __init__(self, stream: IO[bytes], on_bytes: OnBytes) -> None:
        self._stream, self._on_bytes = stream, on_bytes

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._on_bytes(len(data))
        return data


def convert(
    wheel: Path,
    target: Target,
    out_dir: Path,
    *,
    sha256: Digest | None = None,
    companions: Companions = nobody,
    mark: Mark = UNMARKED,
    on_bytes: OnBytes | None = None,
) -> Path:
    """Convert a wheel and return the `.conda` in `out_dir`; the same wheel always gives the same bytes.

    `sha256` is the wheel's pinned digest. `companions` gives the metadata of other pinned wheels, for
    extras that this one asks of them; `mark` is what its set says of it. `on_bytes` is told the size of each piece as it
    is unpacked, and may raise to stop.

    Raises:
        WheelError: the wheel is unsound or cannot be expressed; names it and says why. Nothing is left.

    """
    return convert_wheel(
        wheel, target, lambda _: out_dir, sha256=sha256, companions=companions, mark=mark, on_bytes=on_bytes
    ).path


def convert_wheel(
    wheel: Path,
    target: Target,
    out_dir: Callable[[str], Path],
    *,
    sha256: Digest | None = None,
    companions: Companions = nobody,
    mark: Mark = UNMARKED,
    on_bytes: OnBytes | None = None,
) -> Converted:
    """Convert like `convert`, into `out_dir(subdir)`, and say more about the result."""
    source = _checked(wheel, sha256)
    with open_wheel(wheel) as opened:
        try:
            return _convert(opened, source, target, out_dir, companions, mark, on_bytes)
        except (RequirementError, PackError) as error:
            raise WheelError(wheel.name, str(error)) from error


def decide(
    wheel: Path, target: Target, *, sha256: Digest, companions: Companions, mark: Mark
) -> tuple[Identity, int]:
    """Return what a wheel would be converted to, and its package's time in seconds, without converting it.

    Raises:
        WheelError: the wheel is unsound or cannot be expressed.

    """
    source = _checked(wheel, sha256)
    with open_wheel(wheel) as opened:
        try:
            return _identity(opened, source, target, companions, mark), timestamp(opened.newest)
        except RequirementError as error:
            raise WheelError(wheel.name, str(error)) from error


def _checked(wheel: Path, sha256: Digest | None) -> Digest:
    try:
        source = Digest.of_file(wheel)
    except OSError as error:
        raise WheelError(wheel.name, f"cannot be read ({error.strerror})") from None
    if sha256 and source != sha256:
        raise WheelError(wheel.name, f"has sha256 {source}, pinned is {sha256}")
    return source


def _identity(
    opened: WheelFile, source: Digest, target: Target, companions: Companions, mark: Mark
) -> Identity:
    data = f"{opened.dist_info.removesuffix('.dist-info')}.data/"
    return identify(
        opened.metadata,
        opened.tags,
        target,
        companions,
        source=source,
        build_number=opened.build,
        headers=any(member.path.startswith(f"{data}headers/") for member in opened.members),
        mark=mark,
    )


def _convert(
    opened: WheelFile,
    source: Digest,
    target: Target,
    out_dir: Callable[[str], Path],
    companions: Companions,
    mark: Mark,
    on_bytes: OnBytes | None,
) -> Converted:
    metadata = opened.metadata
    identity = _identity(opened, source, target, companions, mark)
    layout = Layout(metadata.name, opened.dist_info, target, identity.relocatable)
    listed = opened.find(f"{opened.dist_info}/entry_points.txt")
    commands = entry_points(opened.read(listed)) if listed else ()
    placed = layout.finish(_placed(opened, layout), commands)
    seconds = timestamp(opened.newest)
    size = sum(file.member.size if file.member else len(file.content) for file in placed)
    directory = out_dir(identity.subdir)
    with conda_writer(identity.package, directory, timestamp=seconds, size=size) as writer:
        for file in placed:
            _add(writer, opened, file, on_bytes)
        licenses = _licenses(writer, opened)
        writer.info("index.json", index_json(identity, metadata, target, seconds))
        writer.info("about.json", about_json(metadata, licenses))
        if identity.relocatable:
            writer.info("link.json", link_json(commands))
        asked = {str(name): _version_of(companions, name) for name in identity.dependencies.companions}
        writer.info("wheel.json", source_json(opened.filename, source, target, asked, mark))
    return _written(directory, identity)


def _written(directory: Path, identity: Identity) -> Converted:
    return Converted(
        path=directory / identity.package.filename,
        subdir=identity.subdir,
        needs_abi=not identity.relocatable,
        companions=identity.dependencies.companions,
    )


def _version_of(companions: Companions, name: NormalizedName) -> str:
    companion = companions(name)
    return str(companion.version) if companion else ""


def _placed(opened: WheelFile, layout: Layout) -> Iterable[Placed]:
    for member in opened.members:
        path = layout.path(member.path)
        if path is None:
            continue
        if layout.is_script(member.path):
            with opened.stream(member) as stream:
                start = stream.read(min(member.size, 16))
            if is_script_for_python(start):
                content = with_placeholder(opened.read(member))
                yield Placed(path, content=content, executable=True, placeholder=True)
                continue
            yield Placed(path, member=member, executable=True)
            continue
        yield Placed(path, member=member, executable=member.executable)


def _add(writer: CondaWriter, opened: WheelFile, file: Placed, on_bytes: OnBytes | None) -> None:
    if file.member:
        with opened.stream(file.member) as stream:
            watched = cast("IO[bytes]", _Watched(stream, on_bytes)) if on_bytes else stream
            writer.add(file.path, watched, file.member.size, executable=file.executable)
    else:
        writer.add_bytes(file.path, file.content, executable=file.executable, placeholder=file.placeholder)


def _licenses(writer: CondaWriter, opened: WheelFile) -> list[str]:
    names = []
    for member in opened.members:
        name = license_name(opened.dist_info, member.path, opened.metadata.license_files)
        if name and name not in names:  # older tools put the same file beside METADATA, too
            writer.info(f"licenses/{name}", opened.read(member))
            names.append(name)
    return names
