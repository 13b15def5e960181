"""Read what pins an environment, in the formats that tools write: pixi.lock, `@EXPLICIT`, conda-lock.yml. Pure.

Every text is a stranger's: it is bounded, a package without a checksum is refused, and so is a URL that
holds a password or a token, for a registered lock is shown to everybody who may read the channel.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from sluice import plainyaml
from sluice.digest import Digest
from sluice.errors import SluiceError
from sluice.lock import Lock
from sluice.package import PackageId
from sluice_channel import subdir
from sluice_channel.errors import RegistrationError

PIXI: Final = "pixi"  # pixi.lock, format version 7
EXPLICIT: Final = "explicit"  # `@EXPLICIT`, as `conda list --explicit --sha256` writes it
CONDA_LOCK: Final = "conda-lock"  # conda-lock.yml, format version 1
FORMATS: Final = (PIXI, EXPLICIT, CONDA_LOCK)
FILENAMES: Final = {PIXI: "pixi.lock", EXPLICIT: "explicit.txt", CONDA_LOCK: "conda-lock.yml"}

MAX_BYTES: Final = 4 << 20
MAX_PACKAGES: Final = 20_000  # over all platforms
MAX_URL: Final = 2000  # characters
_MAX_DEPENDS: Final = 500  # match specs of one package
_MAX_TEXT: Final = 500  # characters of one of them
_SCHEMES: Final = frozenset({"http", "https", "s3", "gs", "oci"})
_MD5: Final = re.compile(r"[0-9a-f]{32}")
_FRAGMENT: Final = re.compile(r"(?:sha256:)?(?P<sha256>[0-9a-f]{64})|(?:md5:)?(?P<md5>[0-9a-f]{32})")
_PLATFORM: Final = re.compile(r"#\s*platform:\s*(\S+)\s*")
_CONDA_LOCK_VERSION: Final = 1


@dataclass(frozen=True, order=True, slots=True)
class Pin:
    """One package for one platform, as a lock names it."""

    platform: str
    id: PackageId
    subdir: str
    url: str
    sha256: Digest | None = None  # None: only its md5 is named
    md5: str | None = None
    size: int | None = field(default=None, compare=False)  # bytes
    depends: tuple[str, ...] = field(default=(), compare=False)  # match specs, where the lock has them
    purls: tuple[str, ...] = field(default=(), compare=False)

    @property
    def filename(self) -> str:
        """The last part of the URL."""
        return unquote(urlsplit(self.url).path.rpartition("/")[2])


@dataclass(frozen=True, slots=True)
class LockFile:
    """What a lock says; `digest` is over its text."""

    format: str
    digest: Digest
    channels: tuple[str, ...]
    pins: tuple[Pin, ...]  # sorted
    virtual: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # platform -> virtual packages


def detect(text: bytes) -> str:
    """Tell which format a text most likely has."""
    if re.search(rb"^@EXPLICIT\s*$", text, re.MULTILINE):
        return EXPLICIT
    return CONDA_LOCK if re.search(rb"^(?:metadata|package):", text, re.MULTILINE) else PIXI


def read(text: bytes, form: str | None = None, where: str | None = None) -> LockFile:
    """Read a lock of a format, or of the one that it seems to have.

    Raises:
        RegistrationError: naming the place and what is wrong there.

    """
    if form is not None and form not in FORMATS:
        raise RegistrationError(f"not a format of locks: {form[:40]!r}; known are {', '.join(FORMATS)}")
    if len(text) > MAX_BYTES:
        raise RegistrationError(f"{where or 'the lock'}: larger than {MAX_BYTES} bytes")
    form = form or detect(text)
    where = where or FILENAMES[form]
    reader = {PIXI: _pixi, EXPLICIT: _explicit, CONDA_LOCK: _conda_lock}[form]
    try:
        found = reader(text, where)
    except RegistrationError:
        raise
    except (SluiceError, KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        told = error if isinstance(error, SluiceError) else f"incomplete, {type(error).__name__} {error}"
        line = " ".join(str(told).split())[:400]
        raise RegistrationError(line if line.startswith(where) else f"{where}: {line}") from error
    return _checked(found, where)


def _pixi(text: bytes, where: str) -> LockFile:
    lock = Lock.parse(text, where)
    pins = tuple(
        Pin(
            platform,
            package.id,
            package.subdir,
            package.url,
            package.sha256,
            package.md5,
            package.size,
            package.depends,
            package.purls,
        )
        for platform, packages in lock.packages.items()
        for package in packages
    )
    return LockFile(PIXI, lock.digest, lock.channels, pins, lock.virtual)


def _explicit(text: bytes, where: str) -> LockFile:
    lines = text.decode("utf-8").splitlines()
    stripped = [line.strip() for line in lines]
    if "@EXPLICIT" not in stripped:
        raise RegistrationError(f"{where}: no line says @EXPLICIT")
    named = next((match[1] for line in stripped if (match := _PLATFORM.fullmatch(line))), None)
    found = []
    for number, line in enumerate(stripped, 1):
        if not line or line.startswith("#") or line == "@EXPLICIT":
            continue
        url, _, fragment = line.partition("#")
        match = _FRAGMENT.fullmatch(fragment)
        if match is None:
            raise RegistrationError(
                f"{where} line {number}: no checksum; write the file with `conda list --explicit --sha256`"
            )
        found.append((url, Digest(match["sha256"]) if match["sha256"] else None, match["md5"]))
    platform = named or _only(subdir_of(url) for url, _, _ in found)
    if platform is None:
        raise RegistrationError(f"{where}: does not say for which platform it is; add `# platform: linux-64`")
    pins = tuple(_pin(platform, url, sha256, md5) for url, sha256, md5 in found)
    channels = tuple(dict.fromkeys(url.rsplit("/", 2)[0] for url, _, _ in found))
    return LockFile(EXPLICIT, Digest.of(text), channels, pins)


def _conda_lock(text: bytes, where: str) -> LockFile:
    try:
        document = plainyaml.load(text, where)
    except plainyaml.YamlError as error:
        raise RegistrationError(str(error)) from error
    if not isinstance(document, dict) or document.get("version") != _CONDA_LOCK_VERSION:
        raise RegistrationError(f"{where}: not a conda-lock.yml of version {_CONDA_LOCK_VERSION}")
    pins = []
    for item in document["package"]:
        if item["manager"] != "conda":
            raise RegistrationError(
                f"{where}: {str(item['name'])[:80]} comes from {str(item['manager'])[:20]}, "
                "which a prefix is not made from; import the wheel into a channel"
            )
        digest, md5 = item["hash"].get("sha256"), item["hash"].get("md5")
        needs = item.get("dependencies") or {}
        pins.append(
            _pin(
                _text(item["platform"]),
                _text(item["url"]),
                Digest(_text(digest)) if digest else None,
                _text(md5) if md5 else None,
                tuple(f"{_text(name)} {_text(version)}".strip() for name, version in needs.items()),
            )
        )
    channels = tuple(_text(channel["url"]) for channel in document["metadata"]["channels"])
    return LockFile(CONDA_LOCK, Digest.of(text), channels, tuple(pins))


def _pin(
    platform: str, url: str, sha256: Digest | None, md5: str | None, depends: tuple[str, ...] = ()
) -> Pin:
    filename = unquote(urlsplit(url).path.rpartition("/")[2])
    return Pin(platform, PackageId.parse(filename), subdir_of(url), url, sha256, md5, None, depends)


def subdir_of(url: str) -> str:
    """Return the last but one part of a URL's path."""
    parts = urlsplit(url).path.rsplit("/", 2)
    return parts[-2] if len(parts) > 1 else ""


def _only(subdirs: Iterable[str]) -> str | None:
    found = {each for each in subdirs if each != subdir.NOARCH}
    return found.pop() if len(found) == 1 else None


def _text(value: Any) -> str:  # noqa: ANN401 - whatever the YAML holds
    if not isinstance(value, str):
        raise RegistrationError(f"expected a text, found {type(value).__name__}")
    return value


def _checked(found: LockFile, where: str) -> LockFile:
    """Check what all formats have in common."""
    if not 0 < len(found.pins) <= MAX_PACKAGES:
        raise RegistrationError(
            f"{where}: names {len(found.pins)} packages; a lock has from 1 to {MAX_PACKAGES}"
        )
    seen: set[tuple[str, str]] = set()
    for pin in found.pins:
        _check_pin(pin, where)
        if (pin.platform, pin.id.name) in seen:
            raise RegistrationError(f"{where}: {pin.platform} has {pin.id.name} twice")
        seen.add((pin.platform, pin.id.name))
    for channel in found.channels:
        if "://" in channel:
            _check_url(channel, f"{where}: channel {channel[:200]!r}")
        _check_texts((channel,), where)
    virtual = {
        platform: texts for platform, texts in found.virtual.items() if platform in {p for p, _ in seen}
    }
    for texts in virtual.values():
        _check_texts(texts, where)
    return LockFile(
        found.format, found.digest, found.channels, tuple(sorted(found.pins, key=_order)), virtual
    )


def _check_pin(pin: Pin, where: str) -> None:
    place = f"{where}: {pin.url[:200]!r}"
    _check_url(pin.url, place)
    if pin.platform not in subdir.KNOWN or pin.platform == subdir.NOARCH:
        raise RegistrationError(f"{where}: not a platform: {pin.platform[:40]!r}")
    if pin.subdir not in {pin.platform, subdir.NOARCH}:
        raise RegistrationError(f"{place}: not a package for {pin.platform}")
    if pin.sha256 is None and pin.md5 is None:
        raise RegistrationError(f"{place}: no checksum; a lock names the sha256 of each package")
    if pin.md5 is not None and not _MD5.fullmatch(pin.md5):
        raise RegistrationError(f"{place}: not an md5: {pin.md5[:40]!r}")
    _check_texts((*pin.depends, *pin.purls), place)


def _order(pin: Pin) -> tuple[str, PackageId, str, str]:
    return pin.platform, pin.id, pin.subdir, pin.url


def _check_url(url: str, place: str) -> None:
    parts = urlsplit(url)
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise RegistrationError(f"{place}: not a URL")
    if parts.scheme not in _SCHEMES or not parts.netloc:
        raise RegistrationError(f"{place}: other machines cannot fetch it; lock against the URL of a channel")
    if "@" in parts.netloc or "/t/" in parts.path or parts.query or parts.fragment:
        raise RegistrationError(
            f"{_where(place)}: a URL holds a password, a token or a query; lock again with the channel's plain URL"
        )


def _where(place: str) -> str:
    """Leave out the URL, which may hold a secret, from where something is."""
    return place.partition(": ")[0]


def _check_texts(texts: Sequence[str], place: str) -> None:
    if len(texts) > _MAX_DEPENDS or any(len(text) > _MAX_TEXT or not text.isprintable() for text in texts):
        raise RegistrationError(f"{place}: a text is too long or holds control characters")
