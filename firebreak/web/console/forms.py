"""What people do: a page that says what will happen and asks why, then one POST, then the run's page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import APIRouter
from fastapi.responses import RedirectResponse, Response
from pydantic import TypeAdapter, ValidationError

from firebreak.errors import FirebreakError, ForbiddenError, GuardError, UsageError
from firebreak.model import Mode
from firebreak.people import Reason
from firebreak.web.console.pages import look
from firebreak.web.console.panel import Choice, panel
from firebreak.web.console.visit import IncidentPath, Sending, Text, Visit, Visiting, WorkloadPath

CONTAIN = Choice(
    "contain",
    "Contain",
    "Identity, network, artifacts and evidence: four phases, each proved before the next. "
    "Nothing is deleted, and a release can undo it.",
    "danger",
)

_REASON: TypeAdapter[str] = TypeAdapter(Reason)

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class Question:
    """A confirmation page: what will happen to what, and where its form goes."""

    choice: Choice
    subject: str
    back: str
    action: str
    incident_id: str = ""
    modes: tuple[str, ...] = ()
    """More than one where the workload may also be drilled."""


@router.get("/incidents/{incident_id}/actions/{kind}")
async def confirm(visit: Visiting, incident_id: IncidentPath, kind: str) -> Response:
    """Ask before a decision or a release request."""
    return _asked(visit, await _question(visit, incident_id, kind))


@router.post("/incidents/{incident_id}/actions/{kind}")
async def act(visit: Sending, incident_id: IncidentPath, kind: str, reason: Text = "") -> Response:
    """Decide, or request the release, in the person's own name."""
    operations = visit.console.operations

    async def done() -> str:
        if kind == "release":
            await operations.request_release(visit.person, incident_id, reason_of(reason))
        else:
            await operations.decide(visit.person, incident_id, kind, reason_of(reason))
        return f"/incidents/{incident_id}"

    return await _done(visit, done, lambda: _question(visit, incident_id, kind), reason)


@router.get("/workloads/{workload_id}/contain")
async def confirm_containment(visit: Visiting, workload_id: WorkloadPath) -> Response:
    """Ask before a containment."""
    return _asked(visit, await _containment(visit, workload_id))


@router.post("/workloads/{workload_id}/contain")
async def contain(
    visit: Sending, workload_id: WorkloadPath, reason: Text = "", mode: Text = Mode.LIVE.value
) -> Response:
    """Start or join a containment in the person's own name."""

    async def done() -> str:
        if mode not in list(Mode):
            raise UsageError(f"{mode!r} is no mode", remedy="choose live or drill")
        started = await visit.console.operations.contain(
            visit.person, workload_id, reason_of(reason), Mode(mode)
        )
        return f"/incidents/{started.incident_id}?waited=0"

    return await _done(visit, done, lambda: _containment(visit, workload_id), reason)


async def _done(
    visit: Visit, do: Callable[[], Awaitable[str]], ask: Callable[[], Awaitable[Question]], reason: str
) -> Response:
    """Redirect after a POST that worked; otherwise the form again, with what happened and what to do."""
    try:
        return RedirectResponse(await do(), 303)
    except ForbiddenError:
        raise
    except (UsageError, GuardError) as error:
        return _asked(visit, await _again(ask, error), error, reason)


async def _again(ask: Callable[[], Awaitable[Question]], error: FirebreakError) -> Question:
    """The question once more, or the error where it cannot be asked any more."""
    try:
        return await ask()
    except GuardError as gone:
        raise error from gone


def _asked(
    visit: Visit, question: Question, error: FirebreakError | None = None, reason: str = ""
) -> Response:
    status = 200 if error is None else 409 if isinstance(error, GuardError) else 422
    return visit.page("confirm", status, question=question, error=error, reason=reason)


async def _question(visit: Visit, incident_id: str, kind: str) -> Question:
    """The question of a choice that the person really has; GuardError where there is no such choice."""
    found = await look(visit, incident_id)
    may = visit.console.operations.may(visit.person, found.current)
    offered = panel(visit.person, may, found.containment, found.release)
    choice = next((each for each in offered.choices if each.kind == kind), None)
    if choice is None:
        raise GuardError(
            f"you cannot {kind} here now: {offered.remark or offered.title.lower()}",
            resource=incident_id,
            remedy="look at the incident again: somebody may have decided since",
        )
    return Question(
        choice=choice,
        subject=found.containment.workload_id,
        back=f"/incidents/{incident_id}",
        action=f"/incidents/{incident_id}/actions/{kind}",
        incident_id=incident_id,
    )


async def _containment(visit: Visit, workload_id: str) -> Question:
    workload = visit.console.operations.workload(visit.person, workload_id)
    return Question(
        choice=CONTAIN,
        subject=workload_id,
        back=f"/workloads/{workload_id}",
        action=f"/workloads/{workload_id}/contain",
        modes=(Mode.LIVE.value, Mode.DRILL.value) if workload.sandbox else (Mode.LIVE.value,),
    )


def reason_of(text: str) -> str:
    """A reason that a run accepts; raises UsageError for none."""
    try:
        return _REASON.validate_python(text.strip())
    except ValidationError as error:
        raise UsageError(
            "a reason is needed, of at most 2,000 characters", remedy="say in a sentence why you do this"
        ) from error
