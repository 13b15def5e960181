"""Use case: write down who did what, and look whether what was written is still there."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from sluice.digest import Digest
from sluice_channel.ledger import Ledger, Line, Sealed, chained, walk

_LONGEST: Final = 500  # characters of a field: some come from strangers
DENIED: Final = "denied"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something."""

    identity: str  # of a token; `local` for a command, `-` for a stranger
    name: str = ""
    address: str = ""  # of the client


@dataclass(slots=True)
class Session:
    """A request, as far as it is known who makes it; it becomes known while the request is handled."""

    actor: Actor
    private: bool = False  # what it is answered is not for everyone
    told: bool = False  # that it was denied something


SESSION: Final[ContextVar[Session | None]] = ContextVar("session", default=None)


def acting() -> Actor:
    """Return who makes the request that is being handled; outside of one, the user of this process."""
    session = SESSION.get()
    return session.actor if session else local()


@contextmanager
def made_by(actor: Actor) -> Iterator[None]:
    """Let changes be written down under another name than that of whoever happens to ask."""
    token = SESSION.set(Session(actor))
    try:
        yield
    finally:
        SESSION.reset(token)


def local() -> Actor:
    """Return the user of a command that works on the server's folder."""
    try:
        return Actor("local", pwd.getpwuid(os.getuid()).pw_name)
    except KeyError:
        return Actor("local", f"uid {os.getuid()}")


def record(
    ledger: Ledger,
    actor: Actor,
    action: str,
    *,
    now: int,
    channel: str = "",
    package: str = "",
    generation: int | None = None,
    detail: str = "",
) -> Sealed:
    """Append a line; `now` in ms since the epoch.

    Within `ledger.together()`, around the change itself, the change and its line are one transaction.
    """
    line = Line(
        now,
        _plain(actor.identity),
        _plain(actor.name),
        _plain(actor.address),
        action,
        _plain(channel),
        _plain(package),
        generation,
        _plain(detail),
    )
    return ledger.append(line)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the lines are what was written."""

    lines: int
    head: Digest | None  # of the newest line; noted elsewhere it shows later that no line was cut off
    problem: str = ""  # nothing: each line follows from the one before it


def verify(ledger: Ledger, known: Digest | None = None) -> Verdict:
    """Follow the chain from its beginning; `known` is a head that was noted before and must be in it."""
    before: Digest | None = None
    count, met = 0, False
    for sealed in walk(ledger):
        count += 1
        if sealed.number != count:
            return Verdict(count - 1, before, f"line {count} is missing")
        if sealed.digest != chained(before, sealed.line):
            return Verdict(count - 1, before, f"line {count} or the one before it is not what was written")
        before = sealed.digest
        met = met or before == known
    if known is not None and not met:
        return Verdict(
            count, before, f"no line has the digest {known.short}: lines were cut off or written anew"
        )
    return Verdict(count, before)


def _plain(text: str) -> str:
    """Return a text that does a terminal no harm."""
    return "".join(each if each.isprintable() else "\ufffd" for each in text[:_LONGEST])
