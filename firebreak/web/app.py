"""The web application: what it mounts, and what is around every request."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, FastAPI
from fastapi.responses import JSONResponse
from temporalio.service import RPCError

from firebreak import __version__
from firebreak.web import people
from firebreak.web.bounds import BodyLimit, SecurityHeaders
from firebreak.web.services import Services
from firebreak.web.webhook.authenticate.fetch import Fetch, fetch
from firebreak.web.webhook.configuration import Source
from firebreak.web.webhook.reception import Reception
from firebreak.web.webhook.routes import router as webhook


def create_app(services: Services, sources: Sequence[Source] = (), *, read_keys: Fetch = fetch) -> FastAPI:
    """The application over these services; ``read_keys`` reads public keys of senders."""
    app = FastAPI(title="Firebreak", version=__version__, docs_url=None, redoc_url=None)
    app.include_router(webhook(services, Reception(services, sources, read_keys)))
    app.include_router(_health(services))
    people.install(app, services, read_keys)
    app.add_middleware(BodyLimit, limit=services.settings.web.max_body_bytes)
    app.add_middleware(SecurityHeaders)
    return app


def _health(services: Services) -> APIRouter:
    routes = APIRouter(tags=["health"])

    @routes.get("/healthz", summary="Alive")
    async def alive() -> dict[str, str]:
        """Answer while the process does."""
        return {"status": "alive", "version": __version__}

    @routes.get("/readyz", summary="Ready", responses={503: {"description": "Temporal does not answer"}})
    async def ready() -> JSONResponse:
        """Answer 200 while alerts can be made durable."""
        try:
            reached = await services.temporal.service_client.check_health()
        except (RPCError, RuntimeError):  # away, or never reached
            reached = False
        return JSONResponse({"status": "ready" if reached else "away"}, 200 if reached else 503)

    return routes
