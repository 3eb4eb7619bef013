"""Errors as answers: what happened, to which resource, and what to do next; never a traceback."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from temporalio.service import RPCError

from firebreak.errors import FirebreakError, ForbiddenError, GuardError, NotFoundError, UsageError
from firebreak.model import FrozenModel
from firebreak.web.identity.claims import ClaimsError
from firebreak.web.identity.guard import ForgedError, TooManyAttemptsError
from firebreak.web.webhook.request import UnauthenticatedError

STATUS: tuple[tuple[type[Exception], int], ...] = (
    (UnauthenticatedError, 401),
    (ForgedError, 403),
    (ClaimsError, 403),
    (TooManyAttemptsError, 429),
    (ForbiddenError, 403),
    (NotFoundError, 404),
    (UsageError, 422),
    (GuardError, 409),
    (FirebreakError, 502),
)
"""The first that fits, so that the special ones come before the general ones."""


class Problem(FrozenModel):
    """One error."""

    type: str
    message: str
    resource: str = ""
    remedy: str = ""


class ErrorAnswer(FrozenModel):
    """The body of every answer that is no success."""

    error: Problem


RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": words}
    for status, words in {
        401: "Nobody was authenticated",
        403: "The rules do not permit it",
        404: "There is no such run or workload, or not for this person",
        409: "The run does not accept it",
        422: "The request itself is wrong",
        502: "A run failed to answer",
        503: "Temporal does not answer",
    }.items()
}


def install(app: FastAPI) -> None:
    """Answer our errors in one shape."""
    app.add_exception_handler(FirebreakError, ours)
    app.add_exception_handler(RPCError, away)


async def ours(_: Request, error: Exception) -> JSONResponse:
    """One of our errors."""
    assert isinstance(error, FirebreakError)  # noqa: S101 - registered for it alone
    status = next(code for kind, code in STATUS if isinstance(error, kind))
    if status == 401:  # noqa: PLR2004 - the same words whatever was wrong: they are for our log
        problem = Problem(type="UnauthenticatedError", message="nobody was authenticated", remedy="log in")
        return _answer(problem, status, {"WWW-Authenticate": "Bearer"})
    problem = Problem(
        type=type(error).__name__, message=error.message, resource=error.resource, remedy=error.remedy
    )
    return _answer(problem, status, {})


async def away(_: Request, __: Exception) -> JSONResponse:
    """Temporal does not answer."""
    problem = Problem(type="Unavailable", message="Temporal does not answer", remedy="try again in a moment")
    return _answer(problem, 503, {"Retry-After": "2"})


def _answer(problem: Problem, status: int, headers: dict[str, str]) -> JSONResponse:
    return JSONResponse(ErrorAnswer(error=problem).model_dump(), status, headers)
