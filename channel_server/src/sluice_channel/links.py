"""Links between the pages of a channel, and the commands that install from it. Pure.

Links are relative, so that a page links to its like under the same token, label and generation, and works
below whatever path a proxy puts in front. The commands name the channel by its whole URL, without the token.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote

from sluice_channel.address import Address

_LABEL_PARTS = 2  # /label/LABEL


@dataclass(frozen=True, slots=True)
class Links:
    """Where a page's relatives lie; each field ends in a slash."""

    here: str  # the root of what is seen: the channel with the label and the generation of the address
    newest: str  # the same at its newest generation
    channel: str  # the channel without a label
    home: str  # the list of all channels

    @classmethod
    def of(cls, address: Address) -> Self:
        """Compute the links of the page at an address."""
        here = max(address.path.count("/") - 2, 0)
        if address.path.count("/") < _LABEL_PARTS:  # `/`, the home page
            return cls("./", "./", "./", "./")
        newest = here + (address.at is not None or address.days is not None)
        channel = newest + (_LABEL_PARTS if address.label else 0)
        return cls(_up(here), _up(newest), _up(channel), _up(channel + 1))

    def package(self, name: str) -> str:
        """Link to a package's page."""
        return f"{self.here}packages/{quote(name, safe='')}"

    def file(self, name: str, subdir: str, filename: str) -> str:
        """Link to the page of a package file."""
        return f"{self.package(name)}/{quote(subdir, safe='')}/{quote(filename, safe='')}"

    def download(self, subdir: str, filename: str) -> str:
        """Link to a package file itself."""
        return f"{self.here}{quote(subdir, safe='')}/{quote(filename, safe='')}"

    def environment(self, name: str) -> str:
        """Link to an environment's page."""
        return f"{self.here}environments/{quote(name, safe='')}"

    def generation(self, number: int) -> str:
        """Link to what a generation changed."""
        return f"{self.newest}generations/{number}"

    def at(self, number: int) -> str:
        """Link to the channel as it was at a generation."""
        return f"{self.newest}@{number}/"

    def label(self, label: str) -> str:
        """Link to a label of the channel."""
        return f"{self.channel}label/{quote(label, safe='')}/"


@dataclass(frozen=True, slots=True)
class Command:
    """What to type into one client."""

    client: str
    text: str


def install(url: str, name: str, version: str | None = None, build: str | None = None) -> tuple[Command, ...]:
    """Return how each client installs a package from the channel at a URL, in a form a shell takes as it is."""
    spec = "==".join(part for part in (name, version) if part) + (f"={build}" if version and build else "")
    where, wanted = shlex.quote(url), shlex.quote(spec)
    return (
        Command("conda", f"conda install -c {where} {wanted}"),
        Command("mamba", f"mamba install -c {where} {wanted}"),
        Command("pixi", f"pixi workspace channel add {where}\npixi add {wanted}"),
    )


def _up(steps: int) -> str:
    return "../" * steps or "./"
