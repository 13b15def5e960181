"""Tokens over HTTP: who am I, make one, take one back, exchange a workflow's signed claims for one."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from sluice.clients import client
from sluice_channel import audit, oidc, tokens
from sluice_channel.acting import STRANGER
from sluice_channel.audit import Actor
from sluice_channel.errors import TooManyAttemptsError, UnauthorizedError
from sluice_channel.keyring import Token
from sluice_channel.oidc import ClaimError, IssuerError, Issuers
from sluice_channel.routes.access import gate_of, identify, operating
from sluice_channel.scope import Scope
from sluice_channel.site import Site
from sluice_channel.tokens import TokenError

_MAX_BODY: Final = 32 * 1024  # bytes
_AT_ONCE: Final = 4  # exchanges; an issuer that is slow must not hold up everything else
_DAY: Final = 86_400_000  # ms
_MAX_DAYS: Final = 3650


def build_router(site: Site, issuers: Issuers) -> APIRouter:
    """Serve `/api/v1/whoami`, `/api/v1/tokens` and `/api/v1/oidc`."""
    router = APIRouter(prefix="/api/v1", tags=["access"])
    turns = threading.BoundedSemaphore(_AT_ONCE)

    @router.get("/whoami", response_model=None)
    def whoami(request: Request) -> JSONResponse:
        """Say what the request's token allows."""
        caller = identify(request, site)
        if caller is None:
            raise UnauthorizedError("the request shows no token that is known and still valid")
        scopes = [str(scope) for scope in caller.scopes]
        if caller.token is None:
            return _answer({"token": None, "scopes": scopes})
        return _answer({"token": described(caller.token), "scopes": scopes})

    @router.get("/tokens", response_model=None)
    def listed(request: Request) -> JSONResponse:
        """List all tokens; takes a token with the scope `admin:*`."""
        operating(request, site)
        return _answer({"tokens": [described(token) for token in site.keyring.tokens()]})

    @router.post("/tokens", response_model=None)
    async def made(request: Request) -> JSONResponse:
        """Make a token from `{"name", "scopes", "days"}`; takes a token with the scope `admin:*`."""
        actor = await run_in_threadpool(operating, request, site)
        document = await _document(request)
        token, secret = await run_in_threadpool(_make, site, actor, document)
        return _answer({"token": described(token), "secret": secret}, HTTPStatus.CREATED)

    @router.delete("/tokens/{identity}", response_model=None)
    def revoked(request: Request, identity: str) -> JSONResponse:
        """Take a token back; takes that token itself, or one with the scope `admin:*`."""
        caller = identify(request, site)
        own = caller is not None and caller.token is not None and caller.token.identity == identity
        actor = caller.actor if own and caller else operating(request, site)
        return _answer(
            {"token": described(tokens.revoke(site.keyring, site.ledger, actor, identity, now=site.now()))}
        )

    @router.get("/oidc/audience", response_model=None)
    def audience() -> JSONResponse:
        """Say for which audience a workflow is to ask its issuer for a token."""
        return _answer({"audience": audience_of(site)})

    @router.post("/oidc/exchange", response_model=None)
    async def exchanged(request: Request) -> JSONResponse:
        """Exchange `{"token": signed claims}` for a token of 15 minutes."""
        signed = (await _document(request)).get("token")
        if not isinstance(signed, str):
            raise TokenError('send {"token": "..."} with the token that the workflow was given')
        token, secret = await run_in_threadpool(_exchange, request, site, issuers, turns, signed)
        return _answer({"token": described(token), "secret": secret}, HTTPStatus.CREATED)

    return router


def audience_of(site: Site) -> str:
    """Return the audience that tells this server from every other, so that none can pass a token on to it."""
    return f"sluice:{site.catalogue.identity}"


def described(token: Token) -> dict[str, Any]:
    """Return what is told of a token; times in ms since the epoch."""
    return {
        "id": token.identity,
        "name": token.name,
        "scopes": [str(scope) for scope in token.scopes],
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "used_at": token.used_at,
        "revoked_at": token.revoked_at,
        "minted_by": token.minted_by,
    }


def _make(site: Site, actor: Actor, document: Mapping[str, Any]) -> tuple[Token, str]:
    name, scopes, days = document.get("name"), document.get("scopes"), document.get("days")
    if (
        not isinstance(name, str)
        or not isinstance(scopes, list)
        or not all(isinstance(s, str) for s in scopes)
    ):
        raise TokenError('send {"name": "...", "scopes": ["publish:main"], "days": 90}')
    if days is not None and (type(days) is not int or not 0 < days <= _MAX_DAYS):
        raise TokenError(f"days is a whole number from 1 to {_MAX_DAYS}, or left out for a token that stays")
    lifetime = days * _DAY if days is not None else None
    parsed = [Scope.parse(scope) for scope in scopes]
    return tokens.make(site.keyring, site.ledger, actor, name, parsed, now=site.now(), lifetime=lifetime)


def _exchange(
    request: Request, site: Site, issuers: Issuers, turns: threading.BoundedSemaphore, signed: str
) -> tuple[Token, str]:
    gate, now = gate_of(request), site.now()
    address = request.client.host if request.client else ""
    who = client(address)
    if wait := gate.failed.wait(who, now):
        raise TooManyAttemptsError(-(-wait // 1000))
    if not turns.acquire(blocking=False):
        raise IssuerError("too many workflows ask at once; try again in a few seconds")
    try:
        return oidc.exchange(signed, site.keyring, site.ledger, issuers, address, now=now)
    except ClaimError as error:
        gate.failed.count(who, now)
        if gate.may_tell(who, now):
            stranger = Actor(STRANGER, address=address)
            audit.record(site.ledger, stranger, audit.DENIED, now=now, detail=f"exchange: {error}")
        raise
    finally:
        turns.release()


async def _document(request: Request) -> dict[str, Any]:
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > _MAX_BODY:
            raise TokenError(f"the request has more than {_MAX_BODY} bytes")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise TokenError("the request is no JSON object")
    return document


def _answer(document: object, status: HTTPStatus = HTTPStatus.OK) -> JSONResponse:
    return JSONResponse(document, status, {"Cache-Control": "no-store"})
