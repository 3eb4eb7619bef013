"""The pages that only show: the list, an incident, the inventory, a plan, and the login."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from firebreak.errors import NotFoundError
from firebreak.policy.rules import Action
from firebreak.web.console import render
from firebreak.web.console.incident import Incident, own_sections
from firebreak.web.console.listing import Listing, Row
from firebreak.web.console.visit import (
    Console,
    IncidentPath,
    Visit,
    Visiting,
    WorkloadPath,
    console_of,
    own_path,
)

NEXT = "next"
PATIENCE = 30
"""Times that the page of a run that was just started is loaded again until visibility knows it."""

router = APIRouter(include_in_schema=False)


@router.get("/login")
async def login(
    request: Request,
    console: Annotated[Console, Depends(console_of)],
    next_path: Annotated[str, Query(alias=NEXT, max_length=1024)] = "/",
) -> Response:
    """The ways in. Where somebody wanted to go is kept until they are back from the identity provider."""
    if console.guard.session(request) is not None:
        return RedirectResponse(own_path(next_path), 303)
    request.session[NEXT] = own_path(next_path)
    settings = console.door.settings
    return render.page(
        "login",
        oidc=settings.oidc is not None,
        sealed=bool(settings.break_glass_hash.get_secret_value()),
        links=bool(console.door.unused),
        error="",
    )


@router.get("/")
async def incidents(visit: Visiting) -> Response:
    """The incidents, newest first; right after the login, where the person wanted to go."""
    wanted = visit.request.session.pop(NEXT, "/")
    if wanted != "/":
        return RedirectResponse(own_path(wanted), 303)
    listing = Listing(await visit.console.operations.newest())
    return visit.page("incidents", rows=await rows(visit, listing), seen=listing.fingerprint)


@router.get("/incidents/{incident_id}")
async def incident(
    visit: Visiting, incident_id: IncidentPath, waited: Annotated[int, Query(ge=0, le=PATIENCE)] = PATIENCE
) -> Response:
    """One incident. ``waited`` is on the address of a run that was started a moment ago."""
    try:
        found = await look(visit, incident_id)
    except NotFoundError:
        if waited >= PATIENCE:
            raise
        return visit.page("starting", 202, incident_id=incident_id, waited=waited + 1)
    return visit.page(
        "incident",
        incident=found,
        run=found.containment,
        sections={**found.sections, **own(visit, found)},
        seen=found.fingerprint,
    )


@router.get("/incidents/{incident_id}/later")
async def later(
    request: Request,
    console: Annotated[Console, Depends(console_of)],
    incident_id: IncidentPath,
    seen: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """Whether something has followed the end that a page shows: a release, or the end of the session.

    The page is then loaded again (htmx 2 reference, "HX-Refresh"), which makes it live again.
    """
    session = console.guard.session(request)
    if session is None:
        return HTMLResponse(render.part("stale", since=None, session_over=True))
    found = await look(Visit(request, console, session), incident_id)
    return (
        Response(status_code=204) if found.fingerprint == seen else Response(headers={"HX-Refresh": "true"})
    )


@router.get("/workloads")
async def workloads(visit: Visiting) -> Response:
    """The inventory, with what is really known about readiness."""
    operations = visit.console.operations
    known = await asyncio.to_thread(operations.workloads, visit.person)
    listing = Listing(await operations.newest())
    shown = [(each, listing.last_of(each.id), _may_contain(visit, each.id)) for each in known]
    return visit.page("workloads", workloads=shown)


@router.get("/workloads/{workload_id}")
async def workload(visit: Visiting, workload_id: WorkloadPath, *, plan: bool = False) -> Response:
    """One workload, and on request what a containment would do."""
    operations = visit.console.operations
    found = operations.workload(visit.person, workload_id)
    preview = await operations.preview(visit.person, workload_id) if plan else None
    listing = Listing(await operations.newest())
    return visit.page(
        "workload",
        workload=found,
        preview=preview,
        last=listing.last_of(workload_id),
        may_contain=_may_contain(visit, workload_id),
    )


async def look(visit: Visit, incident_id: str) -> Incident:
    """The documents of an incident as they are now; NotFoundError where the person may not see them."""
    operations = visit.console.operations
    containment = await operations.status(visit.person, incident_id)
    try:
        release = await operations.status(visit.person, incident_id, release=True)
    except NotFoundError:  # nobody has asked for one
        release = None
    return Incident(containment, release)


async def rows(visit: Visit, listing: Listing) -> list[Row]:
    """The rows of a list that the person may see."""
    visible = await asyncio.to_thread(visit.console.operations.workloads, visit.person)
    return listing.rows(each.id for each in visible)


def own(visit: Visit, found: Incident) -> dict[str, str]:
    """The sections of an incident's page that are this person's."""
    examiner = visit.console.examiner
    return own_sections(visit.console.operations, visit.person, found, examiner)


def _may_contain(visit: Visit, workload_id: str) -> bool:
    operations = visit.console.operations
    workload = operations.workload(visit.person, workload_id)
    return operations.rules.ask(visit.person, Action.CONTAIN, workload).allowed
