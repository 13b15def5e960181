"""Whether the server answers."""

from __future__ import annotations

from fastapi import APIRouter


def build_router() -> APIRouter:
    """Serve `/health`."""
    router = APIRouter()

    @router.api_route("/health", methods=["GET", "HEAD"])
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    return router
