"""The HTTP face of the webhook: one route for each source, and the same 401 for whatever is not proved."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Path, Request
from fastapi.responses import JSONResponse

from firebreak.web.services import Services
from firebreak.web.webhook.alert import MalformedError
from firebreak.web.webhook.limits import RETRY_AFTER_SECONDS, TooManyError
from firebreak.web.webhook.reception import Acknowledged, AwayError, Reception, StaleError
from firebreak.web.webhook.request import Received, UnauthenticatedError

log = structlog.get_logger("firebreak.webhook")

BODY_SECONDS = 10.0
"""A sender that takes longer to send 256 kB holds a connection and nothing else."""
AWAY_SECONDS = 5
UNAUTHORIZED = {"detail": "unauthorized"}
"""The same for an unknown source, a wrong signature, a stale time: who asks learns nothing."""

_Name = Annotated[str, Path(max_length=63, description="Name of the source in the file of sources")]
_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"description": "The body cannot be taken from the connection"},
    401: {"description": "Not proved who sent it; the same answer for every reason"},
    408: {"description": "The body did not arrive in time"},
    413: {"description": "The body is too large"},
    422: {
        "description": "Authenticated, but not what this source sends, or too old to be told from a replay"
    },
    429: {"description": "More than the limits of this source; try again after Retry-After"},
    503: {"description": "Nothing was acknowledged; try again after Retry-After"},
}


def router(services: Services, reception: Reception) -> APIRouter:
    """The routes of every configured source."""
    routes = APIRouter(tags=["webhook"])

    @routes.post(
        "/hooks/{source}", status_code=202, response_model=Acknowledged, responses=_ERRORS, summary="An alert"
    )
    async def take(source: _Name, request: Request) -> JSONResponse:
        """Start or join the containment that an alert asks for; 202 as soon as that is durable."""
        try:
            received = await _received(services, request)
            acknowledged = await reception.receive(source, received)
        except UnauthenticatedError as error:
            log.warning("alert.unauthenticated", source=source, peer=_peer(request), why=str(error))
            return JSONResponse(UNAUTHORIZED, 401, {"WWW-Authenticate": "Webhook"})
        except (MalformedError, StaleError) as error:
            log.warning("alert.refused", source=source, why=str(error))
            return JSONResponse({"detail": str(error)}, 422)
        except TooManyError as error:
            log.warning("alert.limited", source=source, why=str(error))
            return _later(429, error.message, RETRY_AFTER_SECONDS)
        except AwayError as error:
            log.warning("alert.not_taken", source=source, why=str(error))
            return _later(503, "not taken: the orchestrator does not answer", AWAY_SECONDS)
        except TimeoutError:
            return JSONResponse({"detail": "the body did not arrive in time"}, 408)
        return JSONResponse(acknowledged.model_dump(mode="json", exclude_none=True), 202)

    return routes


async def _received(services: Services, request: Request) -> Received:
    async with asyncio.timeout(BODY_SECONDS):
        body = await request.body()
    return Received(
        body=body,
        headers=tuple(
            (name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in request.headers.raw
        ),
        query=dict(request.query_params),
        peer=_peer(request),
        certificate=request.scope.get("firebreak.client_certificate"),
        received_at=services.clock(),
    )


def _peer(request: Request) -> str:
    return request.client.host if request.client else ""


def _later(code: int, detail: str, seconds: int) -> JSONResponse:
    return JSONResponse({"detail": detail}, code, {"Retry-After": str(seconds)})
