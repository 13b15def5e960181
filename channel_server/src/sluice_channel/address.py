"""What the path of a request says besides the resource: a token, a label, a generation, a cooldown. Pure.

    [/t/TOKEN]/CHANNEL[/label/LABEL][/@GENERATION | /@DAYSd]/...

`/t/TOKEN` is how conda clients send a token, `/label/LABEL` how they name a label. The rest of the server
never sees these parts: every resource exists below each of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from sluice_channel.errors import NotServedError

DAY = 86_400_000  # ms
_NAME = r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?"  # CEP 26, without its upper case
_PATH = re.compile(
    rf"(?:/t/(?P<token>[!-.0-~]{{1,200}}))?"
    rf"(?P<channel>/{_NAME}(?=/|$))?"
    rf"(?(channel)(?:/label/(?P<label>{_NAME})(?=/|$))?)"
    rf"(?(channel)(?:/@(?:(?P<at>[0-9]{{1,15}})|(?P<days>[0-9]{{1,4}})d)(?=/|$))?)"
    rf"(?P<rest>/.*)?",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Address:
    """A request's path, taken apart."""

    path: str  # of the resource: /CHANNEL/...
    token: str | None = field(default=None, repr=False)
    label: str | None = None
    at: int | None = None  # a generation
    days: int | None = None  # hide what is younger

    @property
    def below(self) -> str:
        """What stands between the channel's name and the resource, without a token: `/label/dev/@7` or nothing."""
        label = f"/label/{self.label}" if self.label else ""
        chosen = f"/@{self.at}" if self.at is not None else f"/@{self.days}d" if self.days is not None else ""
        return label + chosen


@dataclass(frozen=True, slots=True)
class View:
    """The channel that a request is about, as the catalogue calls it, and what of it is to be seen."""

    channel: str  # with its label: `main/label/dev`
    at: int | None = None  # a generation; None: the newest
    days: int | None = None  # hide what became visible less than so many days ago

    def hidden_after(self, now: int) -> int | None:
        """Return the time from which on packages are hidden; both in ms since the epoch.

        It moves once an hour, so that equal requests have equal answers for a while.
        """
        if self.days is None:
            return None
        cut = now - self.days * DAY
        return cut - cut % (DAY // 24)


def parse(path: str) -> Address:
    """Take a request's path apart.

    Raises:
        NotServedError: it is no path.

    """
    match = _PATH.fullmatch(path)
    if match is None:
        raise NotServedError(f"there is nothing at {path[:200]!r}")
    at, days = match["at"], match["days"]
    return Address(
        (match["channel"] or "") + (match["rest"] or ""),
        match["token"],
        match["label"],
        int(at) if at is not None else None,
        int(days) if days is not None else None,
    )


def valid_name(text: str) -> bool:
    """Tell whether a text can name a channel or a label."""
    return re.fullmatch(_NAME, text) is not None
