"""The documents that conda clients read a channel's index from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from sluice.digest import Digest
from sluice_channel import notices as channel_notices
from sluice_channel.address import View
from sluice_channel.addressing import address_of
from sluice_channel.errors import NotServedError, UnreadableError
from sluice_channel.resource import SHARD, SHARDS, UNCHANGING, media_type
from sluice_channel.routes import lives
from sluice_channel.routes.access import reading
from sluice_channel.routes.files import Copy, head, send_bytes, send_file, unchanged
from sluice_channel.routes.mirrored import freshened
from sluice_channel.routes.negotiation import Encoding, negotiate
from sluice_channel.site import Site
from sluice_channel.subdir import KNOWN
from sluice_channel.views import channeldata, documents, library
from sluice_channel.views.library import Form
from sluice_channel.views.state import WHOLE, State
from sluice_channel.views.views import Views

_METHODS: Final = ["GET", "HEAD"]
_TRIES: Final = 5  # states of a channel that changes while its documents are made
_FORMS: Final = {
    f"{document}{form.value}": (document, form)
    for document in (documents.REPODATA, documents.FROM_PACKAGES, documents.RUN_EXPORTS)
    for form in (Form.PLAIN, Form.ZST, Form.BZ2)
} | {documents.INSTRUCTIONS: (documents.INSTRUCTIONS, Form.PLAIN)}
_ENCODED: Final = {Encoding.IDENTITY: Form.PLAIN, Encoding.ZSTD: Form.ZST, Encoding.GZIP: Form.GZIP}


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A document in the form that a client takes it in."""

    document: str
    form: Form
    media_type: str
    headers: dict[str, str]

    @property
    def kind(self) -> str:
        return self.document + self.form.value


@dataclass(frozen=True, slots=True)
class _Terms:
    """What else an answer says, whatever it holds."""

    view: View
    life: str
    headers: dict[str, str]  # of a mirror that could not ask upstream


_SHARD_INDEX: Final = _Wanted(SHARDS, Form.PLAIN, media_type(SHARDS), {})


class IndexRoutes:
    """Answers for each kind of document; see `build_router`."""

    def __init__(self, site: Site, views: Views) -> None:
        self._site = site
        self._views = views

    async def subdir(self, request: Request, channel: str, subdir: str, filename: str) -> Response:
        """Answer for a document or a shard of a subdir."""
        if filename == SHARDS and address_of(request.scope).days is not None:
            return await self._cooled_index(request, channel, subdir)
        if filename == SHARDS:
            return await run_in_threadpool(self._shard_index, request, channel, subdir)
        if SHARD.fullmatch(filename):
            return await run_in_threadpool(self._shard, request, channel, subdir, filename)
        document, form = _FORMS[filename]
        return await self.document(request, channel, subdir, document, form)

    async def document(
        self, request: Request, channel: str, subdir: str, document: str, form: Form = Form.PLAIN
    ) -> Response:
        """Answer for a document that is made on demand."""
        wanted = _wanted(request, document, form)
        for _ in range(_TRIES):
            state, terms = await run_in_threadpool(self._state, request, channel, subdir)
            make_copy = partial(_copy, wanted=wanted, terms=terms)
            if answer := unchanged(request, make_copy(state)):
                return answer
            if request.method == "HEAD":
                return head(make_copy(state), self._views.library.size(state, document, wanted.form))
            state = await self._views.library.make(state, document, wanted.form)
            opened = self._views.library.open(state, document, wanted.form)
            try:
                file = await run_in_threadpool(opened.__enter__)
            except NotServedError:
                continue  # a later state took its place just now
            return send_file(request, make_copy(state), opened, file)
        raise UnreadableError("the channel changes faster than this document is made; try again")

    async def feed(self, request: Request, channel: str) -> Response:
        """Answer for the feed: it names the channel by the address that it was asked for at."""
        link = f"{str(request.base_url).rstrip('/')}/{channel}{address_of(request.scope).below}/"
        wanted = _Wanted(f"rss {link}", Form.PLAIN, "application/rss+xml", {})
        for _ in range(_TRIES):
            state, terms = await run_in_threadpool(self._state, request, channel, WHOLE)
            make_copy = partial(_copy, wanted=wanted, terms=terms)
            if answer := unchanged(request, make_copy(state)):
                return answer
            state = await self._views.library.make(state, library.RECENT, Form.ZST)
            try:
                newest = await run_in_threadpool(self._views.library.recent, state)
            except NotServedError:
                continue
            made_at = await run_in_threadpool(self._views.made_at, state)
            content = channeldata.feed(terms.view.channel, link, made_at, newest)
            return send_bytes(request, make_copy(state), content.encode())
        raise UnreadableError("the channel changes faster than this document is made; try again")

    def notices(self, request: Request, channel: str) -> Response:
        """Answer for a channel's notices: those of now, whatever generation it is asked for below."""
        view = reading(request, self._site, channel)
        content = channel_notices.document(self._site.catalogue.notices(view.channel))
        newest = replace(view, at=None)
        copy = Copy(f'"{Digest.of(content)}"', lives.document(newest), "application/json")
        return send_bytes(request, copy, content)

    def _shard_index(self, request: Request, channel: str, subdir: str) -> Response:
        state, terms = self._state(request, channel, subdir)
        if answer := unchanged(request, _copy(state, _SHARD_INDEX, terms)):
            return answer
        state, content = self._views.shard_index(state)
        return send_bytes(request, _copy(state, _SHARD_INDEX, terms), content)

    async def _cooled_index(self, request: Request, channel: str, subdir: str) -> Response:
        state, terms = await run_in_threadpool(self._state, request, channel, subdir)
        if answer := unchanged(request, _copy(state, _SHARD_INDEX, terms)):
            return answer
        state, content = await self._views.cooled_index(state)
        return send_bytes(request, _copy(state, _SHARD_INDEX, terms), content)

    def _shard(self, request: Request, channel: str, subdir: str, filename: str) -> Response:
        view = reading(request, self._site, channel)
        digest = Digest(filename.partition(".")[0])
        content = self._views.shard(view, subdir, digest)
        copy = Copy(f'"{digest}"', UNCHANGING, media_type(filename))
        return send_bytes(request, copy, content)

    def _state(self, request: Request, channel: str, subdir: str) -> tuple[State, _Terms]:
        view = reading(request, self._site, channel)
        stale = freshened(self._site, view)
        terms = _Terms(view, lives.document(view), stale)
        return self._views.state(view, subdir), terms


def build_router(site: Site, views: Views) -> APIRouter:
    """Serve `/CHANNEL/{channeldata.json,rss.xml,notices.json}` and `/CHANNEL/SUBDIR/DOCUMENT`."""
    router = APIRouter()
    routes = IndexRoutes(site, views)

    @router.api_route(f"/{{channel}}/{library.CHANNELDATA}", methods=_METHODS, response_model=None)
    async def channel_data(request: Request, channel: str) -> Response:
        return await routes.document(request, channel, WHOLE, library.CHANNELDATA)

    @router.api_route("/{channel}/rss.xml", methods=_METHODS, response_model=None)
    async def feed(request: Request, channel: str) -> Response:
        return await routes.feed(request, channel)

    @router.api_route("/{channel}/notices.json", methods=_METHODS, response_model=None)
    def notices(request: Request, channel: str) -> Response:
        return routes.notices(request, channel)

    return router


def is_document(subdir: str, filename: str) -> bool:
    """Tell whether a file of a subdir is one that is made of the catalogue."""
    return subdir in KNOWN and (
        filename == SHARDS or filename in _FORMS or SHARD.fullmatch(filename) is not None
    )


def _wanted(request: Request, document: str, form: Form) -> _Wanted:
    if form is not Form.PLAIN:
        kind = "application/zstd" if form is Form.ZST else "application/x-bzip2"
        return _Wanted(document, form, kind, {})
    encoding = negotiate(request.headers.get("accept-encoding"))
    headers = {"Vary": "Accept-Encoding"}
    if encoding is not Encoding.IDENTITY:
        headers["Content-Encoding"] = encoding.value
    return _Wanted(document, _ENCODED[encoding], media_type(document), headers)


def _copy(state: State, wanted: _Wanted, terms: _Terms) -> Copy:
    # The same bytes as a file and as an encoding are two representations, and need two tags.
    encoding = wanted.headers.get("Content-Encoding", "")
    tag = state.tag(f"{wanted.kind} {encoding}".strip())
    return Copy(f'"{tag}"', terms.life, wanted.media_type, wanted.headers | terms.headers)
