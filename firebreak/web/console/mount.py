"""Puts the console on the application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request
from fastapi.exception_handlers import http_exception_handler, request_validation_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles
from temporalio.service import RPCError

from firebreak.errors import FirebreakError
from firebreak.links import Links
from firebreak.web.api import answers
from firebreak.web.console import answer, events, evidence, forms, pages, problems
from firebreak.web.console.examine import Examiner
from firebreak.web.console.incident import asking
from firebreak.web.console.listing import listing
from firebreak.web.console.streams import Streams
from firebreak.web.console.visit import Console
from firebreak.web.console.watch import Watches
from firebreak.web.identity.login import Door
from firebreak.web.operations import Operations
from firebreak.web.services import Services

LIST_SECONDS = 2.0
"""Between two looks at the list; each asks every run that has not ended."""
Handler = Callable[[Request, Exception], Awaitable[Response]]


class Files(StaticFiles):
    """Our own scripts and style; their addresses change with their content."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        """Let browsers keep a file."""
        answer = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        answer.headers["Cache-Control"] = "public, max-age=86400, immutable"
        return answer


def install(app: FastAPI, services: Services, operations: Operations, door: Door) -> None:
    """Add the pages, their events and files, and errors that people can read."""
    app.state.console = Console(
        services=services,
        operations=operations,
        door=door,
        incidents=Watches(lambda incident_id: asking(services, incident_id)),
        listing=Watches(lambda _: listing(operations), LIST_SECONDS),
        examiner=Examiner(services.settings),
        links=Links.open(services.settings),
        streams=Streams(services.settings.console.live_streams),
    )
    for each in (pages.router, forms.router, evidence.router, events.router, answer.router):
        app.include_router(each)
    app.mount("/static", Files(packages=[("firebreak.web.console", "static")]), name="static")
    app.add_exception_handler(FirebreakError, _ours)
    app.add_exception_handler(RPCError, _away)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, FirebreakError)  # noqa: S101 - registered for it alone
    return (
        problems.ours(request, error) if problems.wants_page(request) else await answers.ours(request, error)
    )


async def _away(request: Request, error: Exception) -> Response:
    return problems.away(request) if problems.wants_page(request) else await answers.away(request, error)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it alone
    if problems.wants_page(request):
        return problems.other(request, error)
    return await http_exception_handler(request, error)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it alone
    if problems.wants_page(request):
        return problems.other(request, error)
    return await request_validation_exception_handler(request, error)
