"""Who may do what: asked by every route before it does anything.

A public channel is read by everyone, and what its readers show is not looked at. A private one is not there
for whoever may not read it. Everything else needs a token.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from fastapi import Request

from sluice.clients import client
from sluice_channel import audit, tokens
from sluice_channel.acting import STRANGER
from sluice_channel.address import View
from sluice_channel.addressing import address_of
from sluice_channel.audit import SESSION, Actor, Session
from sluice_channel.errors import (
    ForbiddenError,
    NoChannelError,
    TooManyAttemptsError,
    UnauthorizedError,
)
from sluice_channel.keyring import Token
from sluice_channel.limits import Buckets, Recent
from sluice_channel.scope import LABEL, Action, Scope
from sluice_channel.site import Site

ATTEMPTS: Final = 10  # of a client that may fail at once,
ATTEMPT_EVERY: Final = 6_000  # ms, and one more each
_LINES: Final = 20  # about denied requests of one client in the audit log at once,
_LINE_EVERY: Final = 60_000  # ms, and one more each
_ALL_LINES: Final = 1000  # of all clients
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request, and what they may do."""

    actor: Actor
    scopes: tuple[Scope, ...]
    token: Token | None = None  # None: everyone on this machine may do everything

    def may(self, action: Action, channel: str, package: str | None = None) -> bool:
        """Tell whether something may be done in a channel; `package` None means to the whole channel."""
        return any(scope.allows(action, channel, package) for scope in self.scopes)


@dataclass(frozen=True, slots=True)
class Gate:
    """What a server remembers of its clients."""

    everyone: bool = False  # on this machine may do everything
    failed: Buckets = field(default_factory=lambda: Buckets(ATTEMPTS, ATTEMPT_EVERY))
    known: Recent = field(default_factory=Recent)  # (client, digest of a token) that came before
    told: Buckets = field(default_factory=lambda: Buckets(_LINES, _LINE_EVERY))
    told_of_all: Buckets = field(default_factory=lambda: Buckets(_ALL_LINES, _LINE_EVERY, 1))

    def may_tell(self, who: str, now: int) -> bool:
        """Count a line about a denied request, and tell whether the audit log has room for it."""
        return self.told.take(who, now) and self.told_of_all.take("", now)


def reading(request: Request, site: Site, channel: str) -> View:
    """Return what a request may see of a channel.

    Raises:
        NoChannelError: there is no such channel, or it is private and the request may not read it.
        TooManyAttemptsError: too many tokens of this client were wrong.

    """
    address = address_of(request.scope)
    name = f"{channel}{LABEL}{address.label}" if address.label else channel
    found, private = _look(site, name)
    if private or not found:
        # The same is done for a channel that is not there as for one that must not be seen.
        session, caller = _session(request), identify(request, site)
        allowed = caller is not None and caller.may(Action.READ, name)
        if caller and not allowed:
            _deny(request, site, f"read {name}", name)
        if not (found and allowed):
            raise NoChannelError(f"there is no channel {name[:80]!r}")
        session.private = True
    return View(name, address.at, address.days)


def publishing(request: Request, site: Site, channel: str, package: str | None) -> View:
    """Return the channel that a request may publish a package of this name in; None: some package.

    An environment's name is `env:NAME`, a deployment's `deployment:NAME`.

    Raises:
        NoChannelError, TooManyAttemptsError: as for `reading`.
        UnauthorizedError: the request brings no token.
        ForbiddenError: its token does not allow it.

    """
    view = reading(request, site, channel)
    if package is None:
        return _changing(
            request, site, view, "publish", lambda scope: scope.covers(Action.PUBLISH, view.channel)
        )
    return _changing(
        request,
        site,
        view,
        f"publish {package[:100]}",
        lambda scope: scope.allows(Action.PUBLISH, view.channel, package),
    )


def administering(request: Request, site: Site, channel: str, package: str | None = None) -> View:
    """Return the channel that a request may yank from, promote to, patch and configure.

    With `package` what is asked for concerns that one only.

    Raises:
        NoChannelError, TooManyAttemptsError: as for `reading`.
        UnauthorizedError: the request brings no token.
        ForbiddenError: its token does not allow it.

    """
    view = reading(request, site, channel)
    return _changing(
        request, site, view, "administer", lambda scope: scope.allows(Action.ADMIN, view.channel, package)
    )


def creating(request: Request, site: Site, channel: str) -> str:
    """Return the name of a channel or label, there or not, that a request may make.

    Raises:
        UnauthorizedError, ForbiddenError, TooManyAttemptsError: as for `administering`.

    """
    view = View(channel)
    return _changing(request, site, view, "create", lambda scope: scope.allows(Action.ADMIN, channel)).channel


def operating(request: Request, site: Site) -> Actor:
    """Return who makes a request that concerns the whole server, such as making a token.

    Raises:
        UnauthorizedError, ForbiddenError, TooManyAttemptsError: as for `administering`.

    """
    whole = Scope(Action.ADMIN, "*")
    _changing(request, site, View("*"), "operate the server", lambda scope: scope == whole)
    return _session(request).actor


def identify(request: Request, site: Site) -> Caller | None:
    """Return who makes a request; None for a stranger.

    Raises:
        TooManyAttemptsError: too many tokens of this client were wrong.

    """
    session = _session(request)
    found = getattr(request.state, "caller", ...)
    if found is ...:
        found = request.state.caller = _identified(request, site, session)
        if found:
            session.actor = found.actor
    return found


def gate_of(request: Request) -> Gate:
    """Return what the server remembers of its clients."""
    gate = getattr(request.app.state, "gate", None)
    if not isinstance(gate, Gate):
        gate = request.app.state.gate = Gate(bool(getattr(request.app.state, "everyone", False)))
    return gate


def _identified(request: Request, site: Site, session: Session) -> Caller | None:
    gate, now = gate_of(request), site.now()
    presented = tokens.presented(address_of(request.scope).token, request.headers)
    if not presented:
        if gate.everyone and _is_near(request):
            actor = Actor(STRANGER, "everyone", session.actor.address)
            return Caller(actor, (Scope(Action.ADMIN, "*"),))
        return None
    who = client(session.actor.address)
    wait = gate.failed.wait(who, now)
    for secret in presented:
        if not secret or (wait and (who, tokens.digest(secret)) not in gate.known):
            continue
        token = tokens.check(site.keyring, secret, now=now)
        if token is not None:
            gate.known.note((who, tokens.digest(secret)))
            return Caller(Actor(token.identity, token.name, session.actor.address), token.scopes, token)
    if wait:
        raise TooManyAttemptsError(-(-wait // 1000))
    gate.failed.count(who, now)
    request.state.refused = True
    _deny(request, site, "sign in: the token is not known, has expired or was revoked")
    return None


def _changing(request: Request, site: Site, view: View, what: str, allows: Callable[[Scope], bool]) -> View:
    caller = identify(request, site)
    if caller is None:
        if request.method not in _SAFE:
            _deny(request, site, what, view.channel)
        if getattr(request.state, "refused", False):
            raise UnauthorizedError("the token is not known, has expired or was revoked")
        if site.keyring.populated():
            raise UnauthorizedError(
                f"to {what} needs a token that allows it; send it as `Authorization: Bearer TOKEN`"
            )
        raise UnauthorizedError(
            "this server has no token yet; whoever runs it makes one with "
            f"`sluice channel token add ROOT NAME publish:{view.channel}`, or starts it with --open"
        )
    if not any(allows(scope) for scope in caller.scopes):
        _deny(request, site, what, view.channel)
        raise ForbiddenError(f"the token {caller.actor.identity} does not allow to {what} in {view.channel}")
    if request.headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
        # A browser sends a user's password along with what another site makes it send.
        raise ForbiddenError("a page of another site asked for this")
    if view.at is not None or view.days is not None:
        raise ForbiddenError(f"only the newest generation of {view.channel} can be changed; leave out the @")
    return view


def _look(site: Site, name: str) -> tuple[bool, bool]:
    """Tell whether a channel is there, and whether it or the channel that it is a label of is private."""
    try:
        private = site.catalogue.channel(name).private
    except NoChannelError:
        return False, True
    base, labelled, _ = name.partition(LABEL)
    if private or not labelled:
        return True, private
    try:
        return True, site.catalogue.channel(base).private
    except NoChannelError:
        return True, False


def _deny(request: Request, site: Site, what: str, channel: str = "") -> None:
    """Write down that a request was denied something, once for a request, and so many times for a client."""
    session, gate, now = _session(request), gate_of(request), site.now()
    if session.told:
        return
    session.told = True
    if gate.may_tell(client(session.actor.address), now):
        audit.record(site.ledger, session.actor, audit.DENIED, now=now, channel=channel, detail=what)


def _session(request: Request) -> Session:
    found = SESSION.get()
    if found is None:  # not behind the middleware
        found = getattr(request.state, "session", None)
        if found is None:
            address = request.client.host if request.client else ""
            found = request.state.session = Session(Actor(STRANGER, address=address))
    return found


def _is_near(request: Request) -> bool:
    """Tell whether a program on this machine asks: through no proxy, and for no page of another site."""
    if request.client is None or any(name in request.headers for name in _FORWARDED):
        return False
    try:
        near = ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False
    # A name that someone else's DNS points here would let a page of theirs in.
    here = request.url.hostname in _LOCAL
    origin = request.headers.get("origin")
    return near and here and (origin is None or urlsplit(origin).netloc == request.headers.get("host"))
