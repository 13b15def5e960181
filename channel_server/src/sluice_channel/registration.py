"""May this be registered? Spec and lock against each other, their name and the channel."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from sluice.digest import Digest
from sluice.errors import SluiceError
from sluice.lock import Lock, LockedPackage
from sluice.solve import check_promise
from sluice.spec import MAX_BYTES as MAX_SPEC
from sluice.spec import EnvironmentName, EnvSpec
from sluice_channel import address, lockfiles
from sluice_channel.catalogue import Catalogue
from sluice_channel.entry import Entry
from sluice_channel.errors import (
    ConflictError,
    NoChannelError,
    NoGenerationError,
    NoPackageError,
    RegistrationError,
)
from sluice_channel.lockfiles import LockFile, Pin
from sluice_channel.registry import Registration

SHOWN: Final = 100  # packages of other channels that an answer names


@dataclass(frozen=True, slots=True)
class Checked:
    """What may be registered, and what is worth knowing of it."""

    registration: Registration
    own: int  # packages that this channel has
    elsewhere: tuple[str, ...]  # URLs of those that it does not offer
    yanked: tuple[str, ...]  # file names of those it has hidden since


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an address of this channel points."""

    channel: str  # with its label
    at: int | None
    path: str  # SUBDIR/FILE


def check(
    catalogue: Catalogue,
    channel: str,
    name: str,
    spec: str,
    text: bytes,
    *,
    form: str | None = None,
    addresses: Sequence[str] | None = (),
    by: str = "",
) -> Checked:
    """Check an environment's spec and lock; `channel` as the catalogue calls it, `form` of the lock.

    A package whose URL is below one of `addresses` (URLs of this channel) must be one that the channel has,
    with the sha256 that the lock names; a label or a generation in the URL is where it is looked for. One
    from anywhere else counts as this channel's where it has the same bytes under the same name; otherwise
    it is listed as being from elsewhere. With None, every channel of the lock whose address is this channel's
    name below some host counts as this channel. An md5 alone is enough for a package of this channel only.

    Raises:
        RegistrationError: spec or lock are malformed, or do not fit the name or each other.
        ConflictError: the channel does not have a package as the lock names it.
        NoChannelError: there is no such channel.

    """
    asked = _spec(name, spec)
    file = lockfiles.read(text, form)
    generation = catalogue.channel(channel).generation
    bases = _guessed(file, channel) if addresses is None else tuple(each.rstrip("/") for each in addresses)
    packages: dict[str, list[LockedPackage]] = {}
    elsewhere, yanked = [], []
    for pin in file.pins:
        entry = _find(catalogue, channel, pin, _place(pin.url, bases))
        if entry is None:
            elsewhere.append(pin.url)
        elif entry.yanked is not None:
            yanked.append(pin.filename)
        packages.setdefault(pin.platform, []).append(_locked(pin, entry))
    lock = Lock(
        file.digest,
        file.channels,
        {platform: tuple(sorted(found)) for platform, found in sorted(packages.items())},
        file.virtual,
    )
    try:
        check_promise(asked, lock)
    except SluiceError as error:
        raise RegistrationError(str(error)) from error
    registration = Registration(
        name, spec, file.format, text, lock, generation, _solved_at(file, bases, channel), by
    )
    return Checked(registration, len(file.pins) - len(elsewhere), tuple(elsewhere), tuple(yanked))


def _spec(name: str, spec: str) -> EnvironmentName:
    where = "environment.yml"
    encoded = spec.encode("utf-8", "surrogatepass")
    if len(encoded) > MAX_SPEC:
        raise RegistrationError(f"{where}: larger than {MAX_SPEC} bytes")
    try:
        parsed = EnvironmentName.parse(name)
        asked = EnvSpec.parse(spec, where)
    except SluiceError as error:
        raise RegistrationError(str(error)) from error
    if asked.name != name:
        raise RegistrationError(
            f"{where}: its name is {asked.name[:140]!r}, it is to be registered as {name!r}; make them equal"
        )
    return parsed


def _guessed(file: LockFile, channel: str) -> tuple[str, ...]:
    name = channel.partition("/label/")[0]
    found = []
    for url in file.channels:
        parts = urlsplit(url)
        if parts.scheme in {"http", "https"} and address.parse(parts.path.rstrip("/")).path == f"/{name}":
            found.append(f"{parts.scheme}://{parts.netloc}/{name}")
    return tuple(dict.fromkeys(found))


def _place(url: str, bases: Sequence[str]) -> _Place | None:
    """Take a URL apart that is below one of a channel's addresses."""
    for base in bases:
        above, _, name = base.rpartition("/")
        if not url.startswith(f"{base}/"):
            continue
        found = address.parse(urlsplit(url.removeprefix(above)).path)
        if found.days is not None:
            continue  # a view that moves: the file is looked for by its bytes
        channel = f"{name}/label/{found.label}" if found.label else name
        return _Place(channel, found.at, found.path.removeprefix(f"/{name}/"))
    return None


def _find(catalogue: Catalogue, channel: str, pin: Pin, place: _Place | None) -> Entry | None:
    if place is None:
        entry = _entry(catalogue, channel, pin, None)
        same = entry is not None and _same(pin, entry)
        if not same and pin.sha256 is None:
            raise RegistrationError(
                f"{pin.url[:200]!r} is not of this channel and is named by its md5 alone; "
                "write the lock with sha256 (`conda list --explicit --sha256`)"
            )
        return entry if same else None
    told = f"{pin.filename} for {pin.platform}"
    if place.path != f"{pin.subdir}/{pin.filename}":
        raise ConflictError(f"{told}: {place.path[:200]!r} is no package of this channel")
    try:
        entry = _entry(catalogue, place.channel, pin, place.at)
    except (NoChannelError, NoGenerationError) as error:
        raise ConflictError(f"{told}: {error}; lock again") from None
    if entry is None:
        raise ConflictError(
            f"{told}: the channel {place.channel} has no {place.path}; publish it first, or lock again"
        )
    if not _same(pin, entry):
        named = pin.sha256.short if pin.sha256 else f"md5 {pin.md5}"
        raise ConflictError(
            f"{told}: the lock names {named}, and the channel has {entry.package.sha256.short}; lock again"
        )
    return entry


def _entry(catalogue: Catalogue, channel: str, pin: Pin, at: int | None) -> Entry | None:
    try:
        return catalogue.entry(channel, pin.subdir, pin.filename, at)
    except NoPackageError:
        return None


def _same(pin: Pin, entry: Entry) -> bool:
    if pin.sha256 is not None:
        return pin.sha256 == entry.package.sha256
    return pin.md5 is not None and pin.md5 == json.loads(entry.package.record).get("md5")


def _locked(pin: Pin, entry: Entry | None) -> LockedPackage:
    """Say of a package what the lock says, and what the channel knows where the lock is silent."""
    record = json.loads(entry.package.record) if entry else {}
    sha256: Digest | None = entry.package.sha256 if entry else pin.sha256
    assert sha256 is not None  # `_find` refused it
    return LockedPackage(
        pin.id,
        pin.subdir,
        pin.url,
        sha256,
        pin.md5 or record.get("md5"),
        pin.size if pin.size is not None or entry is None else entry.package.size,
        pin.depends or tuple(map(str, record.get("depends") or ())),
        pin.purls or tuple(map(str, record.get("purls") or ())),
    )


def _solved_at(file: LockFile, bases: Sequence[str], channel: str) -> int | None:
    """Return the generation of this channel that the lock's URLs name, if they name one."""
    places = [_place(f"{url.rstrip('/')}/-", bases) for url in file.channels]
    found = {place.at for place in places if place and place.channel == channel and place.at is not None}
    return found.pop() if len(found) == 1 else None


def told(checked: Checked, *, changed: bool) -> dict[str, Any]:
    """Say in JSON what is worth knowing of a registration."""
    return {
        "changed": changed,
        "own": checked.own,
        "elsewhere": list(checked.elsewhere[:SHOWN]),
        "elsewhere_count": len(checked.elsewhere),
        "yanked": list(checked.yanked[:SHOWN]),
    }


def own_address(value: object, channel: str) -> str:
    """Check what is said to be an address of a channel.

    Raises:
        RegistrationError: it is none.

    """
    text = value.rstrip("/") if isinstance(value, str) else ""
    if not text.startswith(("http://", "https://")) or not text.endswith(f"/{channel}"):
        raise RegistrationError(
            f"not an address of the channel {channel}: {str(value)[:200]!r}; it begins with http:// or https:// "
            f"and ends with /{channel}"
        )
    return text
