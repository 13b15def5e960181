"""What a mirror takes from its upstream. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from sluice_channel import subdir as subdirs
from sluice_channel.errors import MirrorError

_PATTERN = re.compile(r"[a-z0-9_.*?\[\]!-]{1,100}")
_MAX_PATTERNS = 10_000


@dataclass(frozen=True, slots=True)
class Rules:
    """A mirror's upstream, and which names it takes: those allowed (all, without any) and not denied."""

    url: str
    subdirs: tuple[str, ...] = subdirs.DEFAULT
    allow: tuple[str, ...] = ()  # shell patterns of package names
    deny: tuple[str, ...] = ()  # win over `allow`
    fresh: int = 60  # seconds for which upstream is not asked again
    stale: int = (
        7 * 86400
    )  # seconds for which an index that could not be checked is still served, and said to be old

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https", "file"} or parts.query or parts.fragment:
            raise MirrorError(
                f"not a channel's address: {self.url[:200]!r}; use https://HOST/CHANNEL or file:///FOLDER"
            )
        if unknown := [subdir for subdir in self.subdirs if subdir not in subdirs.KNOWN]:
            raise MirrorError(f"not a platform: {unknown[0][:40]!r}, such as linux-64")
        patterns = (*self.allow, *self.deny)
        if len(patterns) > _MAX_PATTERNS:
            raise MirrorError(f"more than {_MAX_PATTERNS} patterns")
        if wrong := [pattern for pattern in patterns if not _PATTERN.fullmatch(pattern)]:
            raise MirrorError(f"not a pattern of package names: {wrong[0][:100]!r}, such as 'numpy' or 'py*'")
        if self.fresh < 0 or self.stale < self.fresh:
            raise MirrorError("an index must stay usable for at least as long as it is fresh")

    def takes(self, name: str) -> bool:
        """Tell whether packages of a name are mirrored."""
        allowed = not self.allow or any(fnmatchcase(name, pattern) for pattern in self.allow)
        return allowed and not any(fnmatchcase(name, pattern) for pattern in self.deny)
