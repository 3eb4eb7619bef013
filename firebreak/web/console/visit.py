"""Who visits: a session, or the way to the login; and what else every page of the console needs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Form, Path, Request
from fastapi.responses import HTMLResponse

from firebreak.links import Links
from firebreak.policy.rules import Person
from firebreak.web.console import render
from firebreak.web.console.examine import Examiner
from firebreak.web.console.incident import Incident
from firebreak.web.console.listing import Listing
from firebreak.web.console.streams import Streams
from firebreak.web.console.watch import Watches
from firebreak.web.identity.guard import Guard
from firebreak.web.identity.login import Door
from firebreak.web.identity.sessions import Session
from firebreak.web.operations import Operations
from firebreak.web.services import Services
from firebreak.web.webhook.request import UnauthenticatedError

IncidentPath = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
WorkloadPath = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
_OWN_PATH = re.compile(r"/(?![/\\])[\x21-\x7e]{0,512}")
"""``//host`` and ``/\\host`` are other hosts to a browser (WHATWG URL, "relative slash state")."""


@dataclass(frozen=True)
class Console:
    """What the console works with."""

    services: Services
    operations: Operations
    door: Door
    incidents: Watches[Incident]
    listing: Watches[Listing]
    examiner: Examiner
    links: Links
    streams: Streams

    async def close(self) -> None:
        """End every live page, because the process ends; browsers then connect to the next one."""
        await self.incidents.close()
        await self.listing.close()

    @property
    def guard(self) -> Guard:
        """Who tells who asks."""
        return self.door.guard


@dataclass(frozen=True)
class Visit:
    """One request of a person in a browser."""

    request: Request
    console: Console
    session: Session

    @property
    def person(self) -> Person:
        """Who visits."""
        return self.session.person

    def page(self, template: str, status: int = 200, **context: object) -> HTMLResponse:
        """A page for this person, whose forms only they can send."""
        return render.page(
            template,
            status,
            person=self.person,
            csrf=self.session.csrf,
            live=not self.console.streams.full,
            **context,
        )

    def still_there(self) -> bool:
        """Whether the session has not run out since."""
        return self.console.guard.session(self.request) is not None


def console_of(request: Request) -> Console:
    """The process's console."""
    console: Console = request.app.state.console
    return console


def visiting(request: Request, console: Annotated[Console, Depends(console_of)]) -> Visit:
    """Whoever has a session; raises UnauthenticatedError for everybody else, which leads to the login."""
    session = console.guard.session(request)
    if session is None:
        raise UnauthenticatedError("nobody is logged in")
    return Visit(request, console, session)


def sending(
    visit: Annotated[Visit, Depends(visiting)], csrf: Annotated[str, Form(max_length=128)] = ""
) -> Visit:
    """The sender of a form that was made for their session; raises ForgedError for any other."""
    visit.console.guard.require_own_form(visit.session, csrf)
    return visit


Visiting = Annotated[Visit, Depends(visiting)]
Sending = Annotated[Visit, Depends(sending)]
Text = Annotated[str, Form(max_length=4000)]


def own_path(path: str) -> str:
    """A path of this console, or its first page for anything that leads elsewhere."""
    return path if _OWN_PATH.fullmatch(path) else "/"
