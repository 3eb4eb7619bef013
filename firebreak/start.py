"""From a trigger to a durable run, and everything that people then ask of it. Shared by CLI and web."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from datetime import timedelta
from typing import Any

from temporalio.client import (
    Client,
    WorkflowExecution,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import (
    Priority,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.inputs import Page
from firebreak.connect import INCIDENT, WORKLOAD, ensure_search_attributes, search_attributes
from firebreak.errors import FirebreakError, GuardError, NotFoundError, UsageError
from firebreak.measure import now
from firebreak.model import Cloud, FrozenModel, Mode, Verdict, Workload
from firebreak.people import same_person
from firebreak.planning import Preview
from firebreak.pollers import ACTIVITIES, WORKFLOWS, require_polled
from firebreak.reading import cut_off
from firebreak.record import ContainmentInput, Decision, Ended, ReleaseInput, RunStatus, Trigger, alert_refs
from firebreak.settings import Settings
from workflows.alarm import Alarm
from workflows.containment import Containment
from workflows.options import PLANNING
from workflows.preview import PreviewContainment
from workflows.release import Release

PRIORITY = {Mode.LIVE: Priority(priority_key=1), Mode.DRILL: Priority(priority_key=5)}
"""Under load, live runs are worked on before drills."""
PATIENCE = timedelta(seconds=10)
ANSWER_TIME = timedelta(seconds=30)
"""How long a person who has decided waits for the run; one that is alive takes a fraction of a second."""
BUSY = "TMPRL1101"
"""Temporal's rule for a workflow that did not yield for two seconds: a query is answered with it by a worker
that had no processor for so long, and is worth asking again (temporalio/rules, TMPRL1101)."""
AGAIN = "contain the workload again: what is in place is found so, and that incident can be released"


class Started(FrozenModel):
    """A durable run: acknowledged once the server has it."""

    incident_id: str
    workflow_id: str
    run_id: str
    joined: bool
    """The workload was already being contained; this trigger was recorded on that run."""


def cloud_queue(settings: Settings, cloud: Cloud) -> str:
    """The task queue of a cloud's activities."""
    return f"{settings.task_queue}-{cloud}"


def new_incident_id() -> str:
    """An id that sorts by time."""
    return f"INC-{now():%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def workflow_id(workload: Workload) -> str:
    """One run per workload: the id is made from what it is and where it lives."""
    where = f"{workload.cloud}\n{workload.account}\n{workload.id}"
    return f"containment-{hashlib.sha256(where.encode()).hexdigest()[:32]}"


def request_for(
    settings: Settings, workload: Workload, trigger: Trigger, incident_id: str, mode: Mode
) -> ContainmentInput:
    """What a containment is started with."""
    return ContainmentInput(
        incident_id=incident_id,
        workload_id=workload.id,
        workload_digest=workload.digest(),
        cloud=workload.cloud,
        mode=mode,
        trigger=trigger,
        task_queue=cloud_queue(settings, workload.cloud),
    )


async def require_unused(client: Client, workload: Workload, incident_id: str) -> None:
    """Raise UsageError where a chosen id is already another workload's incident.

    Decisions, the release and the evidence of a run are found by it. One that was given a moment ago may not
    be seen yet; the plan then refuses it, by what lies in the evidence store.
    """
    query = (
        f"WorkflowType = 'containment' AND {INCIDENT.name} = {_quoted(incident_id)} "
        f"AND WorkflowId != '{workflow_id(workload)}'"
    )
    try:
        others = [each async for each in client.list_workflows(query, limit=1)]
    except RPCError as error:
        if not _lacks_attributes(error):
            raise
        return  # no containment has ever been started in this namespace
    for other in others:
        raise UsageError(
            f"{incident_id} is already the incident of {other.typed_search_attributes[WORKLOAD]}",
            resource=other.id,
            remedy="leave --incident out, or give each workload an id of its own",
        )


async def contain(
    client: Client, settings: Settings, workload: Workload, trigger: Trigger, *, incident_id: str, mode: Mode
) -> Started:
    """Start a containment, or join the one that runs. Durable when it returns, with or without a worker."""
    request = request_for(settings, workload, trigger, incident_id, mode)
    try:
        handle = await _start(client, settings, workload, request)
    except RPCError as error:
        if not _lacks_attributes(error):
            raise
        await ensure_search_attributes(client)  # a namespace in which no worker has ever started
        handle = await _start(client, settings, workload, request)
    running = await incident_of(handle)
    return Started(
        incident_id=running,
        workflow_id=handle.id,
        run_id=handle.result_run_id or "",
        joined=running != incident_id,
    )


async def preview(client: Client, settings: Settings, workload: Workload, trigger: Trigger) -> Preview:
    """What a containment would do, without a mutating call; raises FirebreakError where no worker is."""
    incident_id = new_incident_id()
    request = request_for(settings, workload, trigger, incident_id, Mode.LIVE)
    await require_polled(client, settings.task_queue, WORKFLOWS, "workflows")
    await require_polled(client, request.task_queue, ACTIVITIES, workload.cloud)
    try:
        return await client.execute_workflow(
            PreviewContainment.run,
            request,
            id=f"preview-{incident_id}",
            task_queue=settings.task_queue,
            execution_timeout=PLANNING + ANSWER_TIME,
        )
    except WorkflowFailureError as error:
        raise _failure(error) from error


async def find(client: Client, name: str) -> WorkflowHandle[Any, Any]:
    """The newest run of an incident, workflow or workload id; raises NotFoundError when there is none."""
    wanted = _quoted(name)
    query = (
        f"WorkflowType IN ('containment', 'release') AND "
        f"({INCIDENT.name} = {wanted} OR {WORKLOAD.name} = {wanted} OR WorkflowId = {wanted})"
    )
    async for each in client.list_workflows(query, limit=1):
        return client.get_workflow_handle(each.id, run_id=each.run_id)
    raise NotFoundError(f"there is no run {name}", remedy="`firebreak status` lists the runs")


async def containment(client: Client, incident_id: str) -> WorkflowHandle[Containment, Ended]:
    """The containment of an incident; raises NotFoundError when there is none."""
    query = f"WorkflowType = 'containment' AND {INCIDENT.name} = {_quoted(incident_id)}"
    async for each in client.list_workflows(query, limit=1):
        return client.get_workflow_handle_for(Containment.run, each.id, run_id=each.run_id)
    raise NotFoundError(f"there is no containment {incident_id}", remedy="`firebreak status` lists the runs")


async def runs(client: Client, limit: int = 50) -> list[WorkflowExecution]:
    """The newest runs, newest first."""
    query = "WorkflowType IN ('containment', 'release')"
    return [each async for each in client.list_workflows(query, limit=limit)]


async def status(handle: WorkflowHandle[Any, Any], patience: timedelta = PATIENCE) -> RunStatus:
    """The public status document; needs a worker for workflows, and waits for its answer as long as told.

    A run that failed or was terminated answers with its last state for ever: the server tells that it closed.
    """
    try:
        document = await _asked_status(handle, patience)
    except RPCError as error:
        if BUSY not in error.message:
            raise
        document = await _asked_status(handle, patience)
    if document.finished:
        return document
    run = await handle.describe(rpc_timeout=patience)
    if not (closed := _without_end(run)):
        return document
    again = AGAIN if run.workflow_type == "containment" else "ask for the release again"
    return cut_off(document, f"{closed}. What is in force stays; {again}")


async def _asked_status(handle: WorkflowHandle[Any, Any], patience: timedelta) -> RunStatus:
    document: RunStatus = await handle.query("status", result_type=RunStatus, rpc_timeout=patience)
    return document


async def decide(client: Client, incident_id: str, decision: Decision) -> Decision:
    """Hand a person's decision to the run; raises GuardError when the run does not accept it.

    A refused decision is recorded on the run as well, since Temporal itself keeps no trace of it.
    """
    return await hand_over(await _deciding(client, incident_id, decision), incident_id, decision)


async def hand_over(
    handle: WorkflowHandle[Any, Any],
    incident_id: str,
    decision: Decision,
    patience: timedelta = ANSWER_TIME,
) -> Decision:
    """Hand a decision to exactly this run; raises GuardError when it does not accept it.

    Raises FirebreakError when nobody answers for the run: Temporal keeps no decision that no worker has seen.
    """
    try:
        async with asyncio.timeout(patience.total_seconds()):
            made: Decision = await handle.execute_update(decision.kind, decision, result_type=Decision)
    except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError) as error:
        raise FirebreakError(
            f"{decision.kind} was not confirmed: nobody answers for the run",
            resource=incident_id,
            remedy="start a worker for workflows, and look at `firebreak status` before deciding again",
        ) from error
    except WorkflowUpdateFailedError as error:
        why = error.cause.message if isinstance(error.cause, ApplicationError) else str(error.cause)
        await _keep_refused(handle, decision.model_copy(update={"refused": why}))
        raise GuardError(f"{decision.kind} was not accepted: {why}", resource=incident_id) from error
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        raise GuardError(
            f"{decision.kind} was not accepted: the run has ended", resource=incident_id
        ) from error
    return made


async def release(
    client: Client, settings: Settings, incident_id: str, *, by: str, approved_by: str = "", reason: str
) -> Started:
    """Start the release of a contained workload; raises GuardError where it may not be released.

    Without an approver it waits, at most a day, for another person's ``approve``; one at a time.
    """
    if approved_by and same_person(by, approved_by):
        raise GuardError(
            f"{by} cannot release alone", resource=incident_id, remedy="let another person approve"
        )
    handle = await containment(client, incident_id)
    if closed := _without_end(await handle.describe()):
        raise GuardError(closed, resource=incident_id, remedy=AGAIN)
    document = await status(handle)
    if not document.finished:
        raise GuardError(
            "the containment is still running", resource=incident_id, remedy="wait for its end, or stop it"
        )
    ended = await handle.result()
    if ended.sealed is None and any(phase.started_at for phase in document.phases):
        raise GuardError(
            "the evidence was never sealed, so nothing on record says what to release",
            resource=incident_id,
            remedy=AGAIN,
        )
    if ended.sealed is None:
        raise GuardError(
            f"there is nothing to release: the run ended {ended.verdict} without changes on record",
            resource=incident_id,
        )
    request = ReleaseInput(
        incident_id=incident_id,
        workload_id=document.workload_id,
        cloud=document.cloud,
        mode=document.mode,
        by=by,
        approved_by=approved_by,
        reason=reason,
        requested_at=now(),
        record=ended.sealed.record,
        task_queue=cloud_queue(settings, document.cloud),
        alerts=alert_refs(document.triggers),
    )
    try:
        started = await client.start_workflow(
            Release.run,
            request,
            id=f"release-{incident_id}",
            task_queue=settings.task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            search_attributes=search_attributes(incident_id, document.workload_id, document.mode),
            priority=PRIORITY[document.mode],
            static_summary=f"release {document.workload_id}",
        )
    except WorkflowAlreadyStartedError as error:
        raise await _asked_before(client, incident_id) from error
    return Started(
        incident_id=incident_id, workflow_id=started.id, run_id=started.result_run_id or "", joined=False
    )


async def _asked_before(client: Client, incident_id: str) -> GuardError:
    """Why a second release is not started: it would drop the names and the reason of who asks for it."""
    other = await status(client.get_workflow_handle(f"release-{incident_id}"))
    waits = other.awaiting is not None and other.awaiting.kind == "approval"
    approve = f"`firebreak approve {incident_id} --by NAME --reason TEXT`, by another person"
    return GuardError(
        f"a release asked for by {other.requested_by} {'waits for approval' if waits else 'is under way'}",
        resource=incident_id,
        remedy=approve if waits else f"`firebreak status release-{incident_id} --watch`",
    )


async def alarm(client: Client, settings: Settings, *, reference: str, kind: str, message: str) -> None:
    """Tell the on-call something that belongs to no run; durable when it returns."""
    await client.start_workflow(
        Alarm.run,
        Page(incident_id=reference, kind=kind, message=message, at=now()),
        id=f"alarm-{reference}",
        task_queue=settings.task_queue,
        execution_timeout=timedelta(days=2),
        static_summary=kind,
    )


def exit_code(document: RunStatus) -> int:
    """The CLI's exit code for a document (docs/runbook.md)."""
    codes = {
        Verdict.CONTAINED: 0,
        Verdict.RELEASED: 0,
        Verdict.REFUSED: 4,
        Verdict.REJECTED: 5,
    }
    return codes.get(document.verdict, 3)


async def _deciding(client: Client, incident_id: str, decision: Decision) -> WorkflowHandle[Any, Ended]:
    """The run that the decision is about: a release that waits for consent, or else the containment."""
    if decision.kind in {"approve", "reject"}:
        releasing: WorkflowHandle[Any, Ended] = client.get_workflow_handle(
            f"release-{incident_id}", result_type=Ended
        )
        if await _runs(releasing):
            return releasing
    return await containment(client, incident_id)


async def _runs(handle: WorkflowHandle[Any, Any]) -> bool:
    try:
        description = await handle.describe()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return False
    return description.status is WorkflowExecutionStatus.RUNNING


async def _keep_refused(handle: WorkflowHandle[Any, Any], decision: Decision) -> None:
    try:
        await handle.signal("decision_refused", decision)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:  # otherwise the run has ended in between
            raise


async def _start(
    client: Client, settings: Settings, workload: Workload, request: ContainmentInput
) -> WorkflowHandle[Containment, Ended]:
    return await client.start_workflow(
        Containment.run,
        request,
        id=workflow_id(workload),
        task_queue=settings.task_queue,
        start_signal="record_alert",
        start_signal_args=[request.trigger],
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        search_attributes=search_attributes(request.incident_id, workload.id, request.mode),
        priority=PRIORITY[request.mode],
        static_summary=f"contain {workload.id}",
    )


async def incident_of(handle: WorkflowHandle[Any, Any]) -> str:
    """The incident of a run, from its search attributes: no worker is needed."""
    description = await handle.describe()
    return description.typed_search_attributes[INCIDENT]


def _without_end(run: WorkflowExecution) -> str:
    """How a run was closed before it came to its own end, in words; nothing where it goes on or has ended."""
    if run.status in {WorkflowExecutionStatus.RUNNING, WorkflowExecutionStatus.COMPLETED}:
        return ""
    how = run.status.name.lower().replace("_", " ") if run.status else "lost"
    return f"the {run.workflow_type} never came to its end: it was {how}"


def _lacks_attributes(error: RPCError) -> bool:
    """Whether the namespace does not know our search attributes yet."""
    return error.status is RPCStatusCode.INVALID_ARGUMENT and "search attribute" in error.message


def _failure(error: WorkflowFailureError) -> FirebreakError:
    cause: BaseException | None = error.cause
    while cause is not None and not isinstance(cause, ApplicationError):
        cause = cause.__cause__
    text = cause.message if isinstance(cause, ApplicationError) else str(error.cause)
    kind = cause.type if isinstance(cause, ApplicationError) else ""
    if kind in {"UsageError", "InventoryError", "SettingsError"}:
        return UsageError(text)
    if kind in {"GuardError", "MissingPermissionError"}:
        return GuardError(text)
    return FirebreakError(text, remedy="`firebreak doctor` tells whether the workers answer")


def _quoted(name: str) -> str:
    """A visibility query literal; ids hold no quotes, so anything with one is refused."""
    if not name or any(character in name for character in "'\"\\`") or not name.isprintable():
        raise UsageError(f"{name!r} is not an id")
    return f"'{name}'"
