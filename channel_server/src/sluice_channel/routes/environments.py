"""Environments of a site: list, read, wait for, compare, audit, and say who uses a package."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from sluice.digest import Digest
from sluice.export import formats
from sluice_channel import lockfiles, versions
from sluice_channel.address import View
from sluice_channel.errors import NotServedError, RegistrationError
from sluice_channel.registry import Version
from sluice_channel.resource import media_type
from sluice_channel.routes.enquiry import METHODS, PLAIN, Enquiry, Form, Name, Which
from sluice_channel.site import Site
from sluice_channel.vulnerabilities import loading
from sluice_channel.watch import Watch

MAX_WAIT: Final = 60  # seconds
_NOT_MODIFIED: Final = 304
_KEPT: Final = re.compile(r"([0-9a-f]{64})\.lock")
_EXPLICIT: Final = lockfiles.FILENAMES[lockfiles.EXPLICIT]
_CONDA_LOCK: Final = lockfiles.FILENAMES[lockfiles.CONDA_LOCK]


def build_router(site: Site, watch: Watch) -> APIRouter:
    """Serve `/CHANNEL/envs`, what can be read below it, and `/CHANNEL/packages/NAME/used-by`."""
    router = APIRouter()
    enquiry = Enquiry(site)
    waiting = _Waiting(enquiry, watch)

    @router.api_route("/{channel}/envs", methods=METHODS, response_model=None)
    @router.api_route("/{channel}/envs/", methods=METHODS, response_model=None)
    def listed(request: Request, channel: str) -> Response:
        view, base = enquiry.view(request, channel)
        found = site.registry.environments(view.channel, view.at)
        return enquiry.document(request, view, [versions.summary(version, base) for version in found])

    @router.api_route("/{channel}/envs/{name}", methods=METHODS, response_model=None)
    async def one(
        request: Request,
        channel: str,
        name: Name,
        version: Which = None,
        wait: Annotated[int, Query(ge=0, le=MAX_WAIT)] = 0,
    ) -> Response:
        return await waiting.answer(request, channel, name, version, wait)

    @router.api_route("/{channel}/envs/{name}/history", methods=METHODS, response_model=None)
    def history(
        request: Request,
        channel: str,
        name: Name,
        before: Annotated[int | None, Query(ge=1, lt=1 << 40)] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Response:
        view, base = enquiry.view(request, channel)
        found = site.registry.history(view.channel, name, before=before, limit=limit)
        return enquiry.document(request, view, [versions.summary(version, base) for version in found])

    @router.api_route("/{channel}/envs/{name}/diff", methods=METHODS, response_model=None)
    def diff(
        request: Request,
        channel: str,
        name: Name,
        before: Annotated[str, Query(alias="from", max_length=64)],
        after: Annotated[str | None, Query(alias="to", max_length=64)] = None,
        form: Form = "json",
    ) -> Response:
        view, _ = enquiry.view(request, channel)
        first, second = enquiry.find(view, name, before), enquiry.find(view, name, after)
        found = versions.difference(site.registry, view.channel, first, second)
        if form == "text":
            return enquiry.plain(request, view, versions.difference_text(first, second, found))
        return enquiry.document(request, view, versions.difference_json(first, second, found))

    @router.api_route("/{channel}/envs/{name}/audit", methods=METHODS, response_model=None)
    def audit(
        request: Request, channel: str, name: Name, version: Which = None, form: Form = "json"
    ) -> Response:
        view, _ = enquiry.view(request, channel)
        found = enquiry.find(view, name, version)
        edition, audited = loading.audited(site.registry, site.advisories, view.channel, found)
        if form == "text":
            return enquiry.plain(request, view, loading.audit_text(found, edition, audited))
        return enquiry.document(request, view, loading.audit_json(found, edition, audited))

    @router.api_route("/{channel}/envs/{name}/{filename}", methods=METHODS, response_model=None)
    def file(
        request: Request,
        channel: str,
        name: Name,
        filename: str,
        platform: Annotated[str, Query(max_length=40)] = "",
    ) -> Response:
        return _file(enquiry, request, channel, name, filename, platform)

    @router.api_route("/{channel}/packages/{package}/used-by", methods=METHODS, response_model=None)
    def used_by(
        request: Request,
        channel: str,
        package: Annotated[str, Path(max_length=200)],
        current: Annotated[bool, Query()] = False,
    ) -> Response:
        view, _ = enquiry.view(request, channel)
        told = versions.used_by(site.registry, view.channel, package, now=site.now(), current=current)
        return enquiry.document(request, view, told)

    return router


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Answers with an environment's document, at once or when there is another one."""

    enquiry: Enquiry
    watch: Watch

    async def answer(
        self, request: Request, channel: str, name: str, which: str | None, wait: int
    ) -> Response:
        """Wait while the client has the newest document; everything is looked up anew afterwards."""
        loop = asyncio.get_running_loop()
        until = loop.time() + wait
        while True:
            stamp, view, answer = await run_in_threadpool(self._look, request, channel, name, which)
            left = until - loop.time()
            settled = which is not None or view.at is not None
            if answer.status_code != _NOT_MODIFIED or left <= 0 or settled:
                return answer
            if not await _unless_gone(request, self.watch.changed(view.channel, name, stamp, left)):
                return answer
            if hasattr(request.state, "caller"):
                del request.state.caller  # the token may have been revoked meanwhile

    def _look(
        self, request: Request, channel: str, name: str, which: str | None
    ) -> tuple[int, View, Response]:
        registry = self.enquiry.site.registry
        stamp = registry.stamp()  # first: what is registered from here on is waited for
        view, base = self.enquiry.view(request, channel)
        version = self.enquiry.find(view, name, which)
        told = versions.details(registry, view.channel, version, base)
        return stamp, view, self.enquiry.document(request, view, told)


async def _unless_gone(request: Request, waiting: Awaitable[bool]) -> bool:
    """Wait for something, but not for a client that has hung up."""
    wanted = asyncio.ensure_future(waiting)
    gone = asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait({wanted, gone}, return_when=asyncio.FIRST_COMPLETED)
        return wanted.done() and wanted.result()
    finally:
        for task in (wanted, gone):
            task.cancel()
        await asyncio.gather(wanted, gone, return_exceptions=True)


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _file(
    enquiry: Enquiry, request: Request, channel: str, name: str, filename: str, platform: str
) -> Response:
    view, _ = enquiry.view(request, channel)
    registry = enquiry.site.registry
    if match := _KEPT.fullmatch(filename):
        version = registry.version(view.channel, name, Digest(match[1]))
        content = registry.text(view.channel, version)
        return enquiry.answer(request, view, content, media_type(filename), kept=True)
    version = registry.newest(view.channel, name, view.at)
    if filename == versions.SPEC:
        content = registry.spec(view.channel, version).encode()
    elif filename == lockfiles.FILENAMES[version.format]:
        content = registry.text(view.channel, version)
    elif filename == _EXPLICIT:
        lock = registry.lock(view.channel, version)
        content = formats.explicit(lock, _platform(version, platform)).encode()
    elif filename == _CONDA_LOCK:
        content = formats.conda_lock(registry.lock(view.channel, version)).encode()
    else:
        offered = sorted({versions.SPEC, lockfiles.FILENAMES[version.format], _EXPLICIT, _CONDA_LOCK})
        raise NotServedError(f"{name} has {', '.join(offered)}, not {filename[:80]!r}")
    kind = PLAIN if filename == _EXPLICIT else media_type(filename)
    return enquiry.answer(request, view, content, kind)


def _platform(version: Version, platform: str) -> str:
    if platform in version.platforms:
        return platform
    if not platform and len(version.platforms) == 1:
        return version.platforms[0]
    raise RegistrationError(f"say for which platform: ?platform= one of {', '.join(version.platforms)}")
