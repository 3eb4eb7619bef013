"""The routes of ``/api/v1``."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import Field

from firebreak.model import FrozenModel, Mode, Workload
from firebreak.people import Reason
from firebreak.planning import Preview
from firebreak.policy.rules import Person
from firebreak.record import Decision, RunStatus
from firebreak.start import Started
from firebreak.web.api.answers import RESPONSES
from firebreak.web.identity.guard import Guard
from firebreak.web.operations import Operations, RunSummary

IncidentPath = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
WorkloadPath = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


class ContainRequest(FrozenModel):
    """What starts a containment; who asks is the token's or the session's person."""

    reason: Reason
    mode: Mode = Mode.LIVE


class DecisionRequest(FrozenModel):
    """What a person decides."""

    kind: Literal["approve", "reject", "retry", "proceed", "stop"]
    reason: Reason


class ReleaseRequest(FrozenModel):
    """Why a workload may be given back."""

    reason: Reason


class Me(FrozenModel):
    """Who is asking, as Firebreak sees them."""

    name: str
    roles: tuple[str, ...]


class Runs(FrozenModel):
    """The newest runs first."""

    runs: tuple[RunSummary, ...]


class Workloads(FrozenModel):
    """The workloads of the inventory that the person may see."""

    workloads: tuple[Workload, ...]


class Allowed(FrozenModel):
    """A run, and what the person may do about it."""

    run: RunStatus
    may: tuple[str, ...] = Field(default=())


async def caller(request: Request) -> Person:
    """Whoever a token or a session proves; raises UnauthenticatedError for nobody."""
    guard: Guard = request.app.state.guard
    return await guard.caller(request)


def offered(request: Request) -> Operations:
    """What the process offers."""
    operations: Operations = request.app.state.operations
    return operations


Who = Annotated[Person, Depends(caller)]
Offered = Annotated[Operations, Depends(offered)]
router = APIRouter(prefix="/api/v1", responses=RESPONSES)


@router.get("/me", tags=["people"])
async def me(person: Who) -> Me:
    """Who I am."""
    return Me(name=person.name, roles=tuple(sorted(person.roles)))


@router.get("/workloads", tags=["workloads"])
def workloads(person: Who, operations: Offered) -> Workloads:
    """The workloads that I may see."""
    return Workloads(workloads=tuple(operations.workloads(person)))


@router.get("/workloads/{workload_id}/plan", tags=["workloads"])
async def plan(person: Who, operations: Offered, workload_id: WorkloadPath) -> Preview:
    """What a containment would do; nothing is changed."""
    return await operations.preview(person, workload_id)


@router.post("/workloads/{workload_id}/containments", status_code=202, tags=["workloads"])
async def contain(
    person: Who, operations: Offered, workload_id: WorkloadPath, body: ContainRequest
) -> Started:
    """Contain a workload, or join the containment that runs."""
    return await operations.contain(person, workload_id, body.reason, body.mode)


@router.get("/runs", tags=["runs"])
async def runs(person: Who, operations: Offered, limit: Annotated[int, Query(ge=1, le=200)] = 50) -> Runs:
    """The newest runs of workloads that I may see."""
    return Runs(runs=tuple(await operations.runs(person, limit)))


@router.get("/runs/{incident_id}", tags=["runs"])
async def run(person: Who, operations: Offered, incident_id: IncidentPath) -> Allowed:
    """A containment, as ``firebreak status --json`` has it, and what I may do about it."""
    document = await operations.status(person, incident_id)
    return Allowed(run=document, may=tuple(sorted(operations.may(person, document))))


@router.post("/runs/{incident_id}/decisions", tags=["runs"])
async def decide(
    person: Who, operations: Offered, incident_id: IncidentPath, body: DecisionRequest
) -> Decision:
    """Decide about a run in my own name."""
    return await operations.decide(person, incident_id, body.kind, body.reason)


@router.get("/runs/{incident_id}/release", tags=["runs"])
async def release(person: Who, operations: Offered, incident_id: IncidentPath) -> Allowed:
    """The release of an incident."""
    document = await operations.status(person, incident_id, release=True)
    return Allowed(run=document, may=tuple(sorted(operations.may(person, document))))


@router.post("/runs/{incident_id}/release", status_code=202, tags=["runs"])
async def request_release(
    person: Who, operations: Offered, incident_id: IncidentPath, body: ReleaseRequest
) -> Started:
    """Ask for a release; another person has to approve it."""
    return await operations.request_release(person, incident_id, body.reason)
