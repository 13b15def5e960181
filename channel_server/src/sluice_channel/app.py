"""The application: a catalogue in, ASGI out. Nothing is opened when this module is imported."""

from __future__ import annotations

from dataclasses import replace

from fastapi import FastAPI

from sluice_channel import problems
from sluice_channel.acting import Acting
from sluice_channel.addressing import Addressing
from sluice_channel.headers import SecurityHeaders
from sluice_channel.measuring import Holdings, Measuring, measured
from sluice_channel.metrics import Metrics
from sluice_channel.oidc import Issuers
from sluice_channel.routes import (
    api_channels,
    api_packages,
    deployments,
    environments,
    health,
    index,
    packages,
    registering,
    upload,
    web_envs,
    web_history,
    web_site,
)
from sluice_channel.routes import metrics as metrics_route
from sluice_channel.routes import tokens as tokens_route
from sluice_channel.routes.access import Gate
from sluice_channel.site import Site
from sluice_channel.uploads import Bounds, Uploads
from sluice_channel.views.views import Views
from sluice_channel.watch import Watch
from sluice_channel.window import Archive


def create_site_app(site: Site, *, everyone: bool = False, accel_prefix: str | None = None) -> FastAPI:
    """Make the server of a catalogue; closing the site is the caller's.

    With `everyone`, clients on this machine may do everything without a token. With `accel_prefix` package
    files are left to the proxy in front, by `X-Accel-Redirect` to that path.
    """
    metrics = Metrics()
    site = replace(site, catalogue=measured(site.catalogue, metrics))
    app = _app()
    app.add_middleware(Measuring, metrics=metrics)
    app.add_middleware(Acting)
    app.add_middleware(Addressing)  # outermost: what is inside it sees the paths of resources
    app.state.site = site
    app.state.gate = Gate(everyone)
    app.state.issuers = Issuers()
    app.state.watch = Watch(site.registry)
    uploads = Uploads(site.blobs, Bounds())
    archive = Archive(site.catalogue)
    views = Views(site.catalogue, site.scratch, site.now, metrics.derivation)
    api_channels.describe(app)
    for router in (
        health.build_router(),
        upload.build_router(site, uploads),
        api_packages.build_router(site, uploads),
        api_channels.build_router(site),
        tokens_route.build_router(site, app.state.issuers),
        metrics_route.build_router(site, metrics, Holdings(archive, site.blobs)),
        registering.build_router(site, app.state.watch),
        deployments.build_router(site),
        environments.build_router(site, app.state.watch),
        web_envs.build_router(site, archive),
        web_history.build_router(site, archive),
        web_site.build_router(site, archive),
        index.build_router(site, views),
        packages.build_router(site, views, accel_prefix),  # last: its pattern is the widest
    ):
        app.include_router(router)
    return app


def _app() -> FastAPI:
    # The interactive API pages load scripts from another host; this server's pages load nothing.
    app = FastAPI(
        title="Sluice channel", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False
    )
    app.add_middleware(SecurityHeaders)
    problems.install(app)
    return app
