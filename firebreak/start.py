"""From a trigger, or from the wish to release, to a durable run. Shared by CLI and web."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import Priority, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.inputs import Page
from firebreak import runs
from firebreak.connect import INCIDENT, WORKLOAD, ensure_search_attributes, search_attributes
from firebreak.errors import FirebreakError, GuardError, UsageError
from firebreak.measure import now
from firebreak.model import Cloud, FrozenModel, Mode, Workload
from firebreak.people import same_person
from firebreak.planning import Preview
from firebreak.pollers import ACTIVITIES, WORKFLOWS, require_polled
from firebreak.record import ContainmentInput, Ended, ReleaseInput, RunStatus, Sealed, Trigger, alert_refs
from firebreak.settings import Settings
from workflows.alarm import Alarm
from workflows.containment import Containment
from workflows.options import PLANNING
from workflows.preview import PreviewContainment
from workflows.release import Release

PRIORITY = {Mode.LIVE: Priority(priority_key=1), Mode.DRILL: Priority(priority_key=5)}
"""Under load, live runs are worked on before drills."""


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
        f"WorkflowType = 'containment' AND {INCIDENT.name} = {runs.quoted(incident_id)} "
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
    running = await runs.incident_of(handle)
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
            execution_timeout=PLANNING + runs.ANSWER_TIME,
        )
    except WorkflowFailureError as error:
        raise _failure(error) from error


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
    document, sealed = await _contained(client, incident_id)
    request = ReleaseInput(
        incident_id=incident_id,
        workload_id=document.workload_id,
        cloud=document.cloud,
        mode=document.mode,
        by=by,
        approved_by=approved_by,
        reason=reason,
        requested_at=now(),
        record=sealed.record,
        task_queue=cloud_queue(settings, document.cloud),
        alerts=alert_refs(document.triggers),
    )
    try:
        started = await _start_release(client, settings, request)
    except WorkflowAlreadyStartedError as error:
        raise await _asked_before(client, incident_id) from error
    return Started(
        incident_id=incident_id, workflow_id=started.id, run_id=started.result_run_id or "", joined=False
    )


async def _contained(client: Client, incident_id: str) -> tuple[RunStatus, Sealed]:
    """What a release begins with; raises GuardError where the containment left nothing to release."""
    handle = await runs.containment(client, incident_id)
    if closed := runs.without_end(await handle.describe()):
        raise GuardError(closed, resource=incident_id, remedy=runs.AGAIN)
    document = await runs.status(handle)
    if not document.finished:
        raise GuardError(
            "the containment is still running", resource=incident_id, remedy="wait for its end, or stop it"
        )
    ended = await handle.result()
    if ended.sealed is None and any(phase.started_at for phase in document.phases):
        raise GuardError(
            "the evidence was never sealed, so nothing on record says what to release",
            resource=incident_id,
            remedy=runs.AGAIN,
        )
    if ended.sealed is None:
        raise GuardError(
            f"there is nothing to release: the run ended {ended.verdict} without changes on record",
            resource=incident_id,
        )
    return document, ended.sealed


async def _start_release(
    client: Client, settings: Settings, request: ReleaseInput
) -> WorkflowHandle[Release, Ended]:
    return await client.start_workflow(
        Release.run,
        request,
        id=f"release-{request.incident_id}",
        task_queue=settings.task_queue,
        id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
        search_attributes=search_attributes(request.incident_id, request.workload_id, request.mode),
        priority=PRIORITY[request.mode],
        static_summary=f"release {request.workload_id}",
    )


async def _asked_before(client: Client, incident_id: str) -> GuardError:
    """Why a second release is not started: it would drop the names and the reason of who asks for it."""
    other = await runs.status(client.get_workflow_handle(f"release-{incident_id}"))
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
