"""`info/sluice.json`: what a package was built from and with, beyond what `info/recipe` shows.

It holds nothing about the one run that made it: two builds on one machine write the same record.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from sluice.build.recipe import BuildError
from sluice.digest import Digest, DigestError
from sluice.pack import to_json

NAME = "sluice.json"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class BuildRecord:
    """The inputs of a build by digest, and the versions of what processed them."""

    recipe: str  # sha256 over the recipe's folder: see localtree.digest
    folders: Mapping[str, str] = field(default_factory=dict)  # a local source's path, as written -> sha256
    sources: Mapping[str, str] = field(default_factory=dict)  # sha256 of a fetched source -> its URL
    tools: Mapping[str, str] = field(default_factory=dict)  # builder, zstd, compiler, linker, C library
    libraries: Mapping[str, str] = field(default_factory=dict)  # the host's, file name -> sha256

    @classmethod
    def parse(cls, where: str, data: bytes) -> Self:
        """Read a record.

        Raises:
            BuildError: it is not one that this version knows; begins with `where`.

        """
        try:
            document: dict[str, Any] = json.loads(data)
            version = document.pop("format")
            record = cls(**document)
            for digest in (record.recipe, *record.folders.values(), *record.sources):
                Digest(digest)
            texts = {**record.tools, **record.libraries, **record.sources}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, DigestError) as error:
            raise BuildError(f"{where}: its build record info/{NAME} is damaged ({error})") from error
        if version != FORMAT or not all(isinstance(text, str) for text in texts.values()):
            raise BuildError(f"{where}: its build record info/{NAME} is not of format {FORMAT}")
        return record

    def to_json(self) -> bytes:
        """Return the one text of the record."""
        return to_json({"format": FORMAT} | asdict(self))
