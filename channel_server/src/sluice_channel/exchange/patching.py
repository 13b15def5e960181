"""Apply patch instructions to a channel."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sluice_channel.catalogue import Generation
from sluice_channel.errors import InstructionsError
from sluice_channel.instructions import Instructions
from sluice_channel.site import Site

FILENAME: Final = "patch_instructions.json"
MAX_BYTES: Final = 256 << 20


def read(path: Path) -> Instructions:
    """Read instructions from a file.

    Raises:
        InstructionsError: it cannot be read, or holds none.

    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InstructionsError(f"{path} is larger than {MAX_BYTES} bytes")
        return Instructions.parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InstructionsError(f"cannot read {path}: {error}") from error


def patch(site: Site, channel: str, subdir: str, instructions: Instructions) -> list[Generation]:
    """Let a subdir's index say what the instructions do, and nothing else; returns the generations that it took.

    Most often that is one, and none where nothing changes. Packages that are patched and shown again at once
    take a second one.

    Raises:
        NoChannelError: there is no such channel.
        InstructionsError: they change what an index must not change.

    """
    made = []
    while changes := list(instructions.changes(site.catalogue.entries(channel, subdir))):
        generation = site.catalogue.change(channel, changes, now=site.now())
        if generation is None:
            break
        made.append(generation)
    return made
