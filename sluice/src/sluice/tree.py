"""The canonical digest of an installed prefix: a value of its entries alone. Pure.

An entry's content is the packaged content: where an installer wrote the prefix into a file, the
package's placeholder stands again, so the digest does not depend on where the prefix lies.
Time stamps, owners, `conda-meta/` and `.pyc` files do not count.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from sluice.digest import Digest

Kind = Literal["file", "link"]
_HEADER = b"sluice-tree 1\n"


@dataclass(frozen=True, order=True, slots=True)
class Entry:
    """One file or symbolic link; directories exist by what is in them.

    `mode` is the nine permission bits; `content` is the sha256 of a file's packaged content in
    hexadecimal, or a link's target.
    """

    path: str  # relative to the prefix, with forward slashes
    kind: Kind
    mode: int
    content: str

    @property
    def canonical_mode(self) -> str:
        """`755` where the owner may execute, else `644`: what survives every umask."""
        return "755" if self.kind == "file" and self.mode & 0o100 else "644"


def counts(path: str) -> bool:
    """Tell whether a path below the prefix is part of its tree."""
    return not (path.startswith("conda-meta/") or path.endswith(".pyc"))


def line(entry: Entry) -> bytes:
    """Return the bytes of one entry that the tree's digest is over, but for the line feed that ends them."""
    fields = (entry.path, entry.kind, entry.canonical_mode, entry.content)
    return "\0".join(fields).encode("utf-8", "surrogateescape")


def digest_lines(lines: Iterable[bytes]) -> Digest:
    """Digest the lines of a tree's entries, in any order."""
    # Sorted lines are entries sorted by path: NUL, which ends a path, sorts before all that a path can hold.
    return Digest.of(_HEADER + b"\n".join([*sorted(lines), b""]))


def tree_digest(entries: Iterable[Entry]) -> Digest:
    """Digest entries, in any order."""
    return digest_lines(line(entry) for entry in entries)
