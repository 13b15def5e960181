"""A lock that names another channel and is the same otherwise. Pure."""

from __future__ import annotations

import re

from sluice.bundle.contents import BundleError
from sluice.lock import Lock


def moved(text: bytes, url: str) -> bytes:
    """Return the text of a lock with every package, by its sha256, at the channel `url`.

    The original's other bytes stay, so a lock that moves to where it was is the same lock.

    Raises:
        BundleError: the packages would not be the same.

    """
    lock = Lock.parse(text)
    url = url.rstrip("/")
    places = {
        package.url: f"{url}/{package.subdir}/{package.filename}"
        for packages in lock.packages.values()
        for package in packages
    }
    patterns = [rf"(?<=[ '\"]){re.escape(old)}(?=['\"]?\s*$)" for old in sorted(places)]
    channels = sorted((channel.rstrip("/") for channel in lock.channels), key=len, reverse=True)
    patterns += [rf"(?<=[ '\"]){re.escape(channel)}(?=/?['\"]?\s*$)" for channel in channels]
    if not patterns:
        return text
    result = re.sub(
        "|".join(patterns), lambda match: places.get(match[0], url), text.decode(), flags=re.MULTILINE
    ).encode()
    after = Lock.parse(result)
    if _level(after) != _level(lock) or any(
        not package.url.startswith(f"{url}/") for packages in after.packages.values() for package in packages
    ):
        raise BundleError(f"its lock cannot be made one for {url}; give another --url")
    return result


def _level(lock: Lock) -> set[tuple[str, str, str, str]]:
    return {
        (platform, package.subdir, package.filename, package.sha256.hex)
        for platform, packages in lock.packages.items()
        for package in packages
    }
