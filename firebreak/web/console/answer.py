"""Answering by signed link: a page that asks, and one POST that decides. Opening a link decides nothing.

Whoever holds a link acts as its person, so that no login and no cookie is involved: the link itself is the
secret that a forged form would lack (OWASP CSRF prevention, "token-based mitigation").
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Form
from fastapi.responses import Response
from temporalio.service import RPCError

from firebreak.errors import FirebreakError, ForbiddenError, GuardError, NotFoundError, UsageError
from firebreak.links import PATH, Link
from firebreak.logs import AUDIT
from firebreak.policy.rules import Person
from firebreak.record import RunStatus, answered_once
from firebreak.web.console import render
from firebreak.web.console.forms import reason_of
from firebreak.web.console.panel import Panel, panel
from firebreak.web.console.story import open_points
from firebreak.web.console.visit import Console, Text, console_of
from firebreak.web.operations import is_release

log = structlog.get_logger(AUDIT)

HEADERS = {"X-Robots-Tag": "noindex, nofollow"}
Consoled = Annotated[Console, Depends(console_of)]
Sent = Annotated[str, Form()]

router = APIRouter(include_in_schema=False)


class LinkRefusedError(FirebreakError):
    """A link that decides nothing, and what its holder is told."""

    def __init__(self, status: int, message: str, *, resource: str = "", remedy: str = "") -> None:
        super().__init__(message, resource=resource, remedy=remedy)
        self.status = status


@router.get(f"{PATH}/{{token:path}}")
async def ask(console: Consoled, token: str) -> Response:
    """Show what is asked. Scanners of mail and previews of chats open links too, so nothing else happens."""
    return await _shown(_asked(console, token))


@router.post(PATH)
async def answer(console: Consoled, token: Sent = "", kind: Sent = "", reason: Text = "") -> Response:
    """Decide as the link's person, by the same operation and rules as the API."""
    return await _shown(_answered(console, token, kind, reason))


async def _shown(page: Awaitable[Response]) -> Response:
    """A page, or the one that says why there is none; Temporal's silence is told without the address."""
    try:
        return await page
    except LinkRefusedError as error:
        return _notice(error.status, error.message, error.remedy, error.resource)
    except RPCError:
        return _notice(
            503, "Temporal does not answer", "Open your link again: it shows whether anything was recorded."
        )


async def _asked(console: Console, token: str) -> Response:
    link, person = _opened(console, token)
    return await _page(console, token, link, person)


async def _answered(console: Console, token: str, kind: str, reason: str) -> Response:
    link, person = _opened(console, token)
    try:
        made = await console.operations.decide(person, link.incident_id, kind, reason_of(reason), link)
    except (ForbiddenError, NotFoundError) as error:
        raise _refused(link, 403, error.message, "ask somebody who may decide") from error
    except GuardError as error:
        raise _refused(link, 409, error.message, "look at the incident in the console") from error
    except UsageError as error:
        return await _page(console, token, link, person, error, reason)
    log.info("link.used", subject=link.subject, incident_id=link.incident_id, kind=made.kind)
    return render.page("answered", kind=made.kind, incident_id=link.incident_id, name=person.name)


def _opened(console: Console, token: str) -> tuple[Link, Person]:
    """Whom a link lets answer what; raises LinkRefusedError, the same for everything we did not sign."""
    link = console.links.read(token)
    if link is None:
        log.warning("link.refused", why="it was not made here, or is not whole")
        raise LinkRefusedError(
            403, "This link is not valid", remedy="open it exactly as it came, or use the console"
        )
    person = console.links.person(link)
    if person is None:
        raise _refused(link, 403, "This link's person does not decide by link any more", "use the console")
    if console.services.clock() >= link.ends_at:
        raise _refused(link, 410, "This link has run out", "decide in the console, or from the command line")
    return link, person


async def _page(
    console: Console,
    token: str,
    link: Link,
    person: Person,
    error: UsageError | None = None,
    reason: str = "",
) -> Response:
    """The question, with the answers that the person has; raises LinkRefusedError where there is none."""
    try:
        run = await console.operations.asked(person, link)
    except NotFoundError as gone:
        raise _refused(link, 403, "There is nothing here that you may decide", "use the console") from gone
    _require_open(link, person, run)
    offered = _offered(console, person, run)
    if not offered.choices:
        raise _refused(link, 403, offered.remark, "ask somebody who may decide")
    planned = await console.operations.status(person, link.incident_id) if is_release(run) else run
    answer = render.page(
        "answer",
        422 if error else 200,
        run=run,
        planned=planned,
        release=is_release(run),
        offered=offered,
        points=open_points(run),
        link=link,
        token=token,
        name=person.name,
        error=error,
        reason=reason,
    )
    answer.headers.update(HEADERS)
    return answer


def _require_open(link: Link, person: Person, run: RunStatus) -> None:
    if answered_once(run.decisions, person.name, link.asked_at):
        raise _refused(link, 410, "You have used this link: it works once", "look at it in the console")
    if run.awaiting is None or run.awaiting.since != link.asked_at:
        raise _refused(link, 410, "This question has been answered", "look at the incident in the console")


def _offered(console: Console, person: Person, run: RunStatus) -> Panel:
    may = console.operations.may(person, run)
    return panel(person, may, run, run if is_release(run) else None)


def _refused(link: Link, status: int, message: str, remedy: str) -> LinkRefusedError:
    """Said to the holder and logged; the link itself is in neither."""
    log.warning("link.refused", why=message, subject=link.subject, incident_id=link.incident_id)
    return LinkRefusedError(status, message, resource=link.incident_id, remedy=remedy)


def _notice(status: int, message: str, remedy: str, incident_id: str = "") -> Response:
    answer = render.page("notice", status, message=message, remedy=remedy, incident_id=incident_id)
    answer.headers.update(HEADERS)
    return answer
