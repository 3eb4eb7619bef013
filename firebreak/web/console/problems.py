"""Errors as pages, for browsers; programs keep the API's JSON."""

from __future__ import annotations

from urllib.parse import urlencode

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException

from firebreak.errors import FirebreakError
from firebreak.web.api.answers import STATUS
from firebreak.web.console import render
from firebreak.web.webhook.request import UnauthenticatedError

PROGRAMS = ("/api/", "/hooks/", "/healthz", "/readyz", "/openapi.json")
AWAY_SECONDS = 5


def wants_page(request: Request) -> bool:
    """Whether a browser asks, and for something that people read."""
    path = request.url.path
    return "text/html" in request.headers.get("accept", "") and not path.startswith(PROGRAMS)


def ours(request: Request, error: FirebreakError) -> Response:
    """What happened, to what, and what to do next; or the login, where nobody is logged in."""
    if isinstance(error, UnauthenticatedError):
        return _login(request, error)
    status = next(code for kind, code in STATUS if isinstance(error, kind))
    return _page(request, status, error.message, error.resource, error.remedy)


def away(request: Request) -> Response:
    """Temporal does not answer: the page comes back by itself."""
    words = "Temporal does not answer"
    remedy = "Containments that run go on. This page tries again every few seconds."
    return _page(request, 503, words, "", remedy, again=AWAY_SECONDS)


def other(request: Request, error: Exception) -> Response:
    """What the framework itself refuses."""
    if isinstance(error, RequestValidationError):
        return _page(request, 422, "this address or form is not one of ours", "", "go back and try again")
    status = error.status_code if isinstance(error, HTTPException) else 500
    words = str(error.detail) if isinstance(error, HTTPException) else "something went wrong"
    return _page(request, status, words, "", "")


def _login(request: Request, error: UnauthenticatedError) -> Response:
    console = request.app.state.console
    if request.url.path.startswith("/login"):
        return render.page(
            "login",
            401,
            oidc=console.door.settings.oidc is not None,
            sealed=bool(console.door.settings.break_glass_hash.get_secret_value()),
            links=bool(console.door.unused),
            error=error.message,
        )
    wanted = request.url.path if request.method in {"GET", "HEAD"} else "/"
    return RedirectResponse(f"/login?{urlencode({'next': wanted})}", 303)


def _page(request: Request, status: int, words: str, resource: str, remedy: str, again: int = 0) -> Response:
    session = request.app.state.console.guard.session(request)
    return render.page(
        "problem",
        status,
        person=session.person if session else None,
        csrf=session.csrf if session else "",
        code=status,
        words=words,
        resource=resource,
        remedy=remedy,
        again=again,
    )
