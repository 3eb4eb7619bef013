"""What is asked of runs that exist: their state, and what people decide about them. Shared by CLI and web."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from temporalio.client import (
    Client,
    WorkflowExecution,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from firebreak.connect import INCIDENT, WORKLOAD
from firebreak.errors import FirebreakError, GuardError, NotFoundError, UsageError
from firebreak.reading import cut_off
from firebreak.record import Decision, Ended, RunStatus
from workflows.containment import Containment

PATIENCE = timedelta(seconds=10)
"""How long a status is waited for."""
ANSWER_TIME = timedelta(seconds=30)
"""How long a person who has decided waits for the run; one that is alive takes a fraction of a second."""
BUSY = "TMPRL1101"
"""Temporal's rule for a workflow that did not yield for two seconds: a query is answered with it by a worker
that had no processor for so long, and is worth asking again (temporalio/rules, TMPRL1101)."""
AGAIN = "contain the workload again: what is in place is found so, and that incident can be released"
"""What is left to do where a containment never came to its end."""


async def find(client: Client, name: str) -> WorkflowHandle[Any, Any]:
    """The newest run of an incident, workflow or workload id; raises NotFoundError when there is none."""
    wanted = quoted(name)
    query = (
        f"WorkflowType IN ('containment', 'release') AND "
        f"({INCIDENT.name} = {wanted} OR {WORKLOAD.name} = {wanted} OR WorkflowId = {wanted})"
    )
    async for each in client.list_workflows(query, limit=1):
        return client.get_workflow_handle(each.id, run_id=each.run_id)
    raise NotFoundError(f"there is no run {name}", remedy="`firebreak status` lists the runs")


async def containment(client: Client, incident_id: str) -> WorkflowHandle[Containment, Ended]:
    """The containment of an incident; raises NotFoundError when there is none."""
    query = f"WorkflowType = 'containment' AND {INCIDENT.name} = {quoted(incident_id)}"
    async for each in client.list_workflows(query, limit=1):
        return client.get_workflow_handle_for(Containment.run, each.id, run_id=each.run_id)
    raise NotFoundError(f"there is no containment {incident_id}", remedy="`firebreak status` lists the runs")


async def newest(client: Client, limit: int = 50) -> list[WorkflowExecution]:
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
    if not (closed := without_end(run)):
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


async def incident_of(handle: WorkflowHandle[Any, Any]) -> str:
    """The incident of a run, from its search attributes: no worker is needed."""
    description = await handle.describe()
    return description.typed_search_attributes[INCIDENT]


def without_end(run: WorkflowExecution) -> str:
    """How a run was closed before it came to its own end, in words; nothing where it goes on or has ended."""
    if run.status in {WorkflowExecutionStatus.RUNNING, WorkflowExecutionStatus.COMPLETED}:
        return ""
    how = run.status.name.lower().replace("_", " ") if run.status else "lost"
    return f"the {run.workflow_type} never came to its end: it was {how}"


def quoted(name: str) -> str:
    """A visibility query literal; ids hold no quotes, so anything with one is refused."""
    if not name or any(character in name for character in "'\"\\`") or not name.isprintable():
        raise UsageError(f"{name!r} is not an id")
    return f"'{name}'"


async def _deciding(client: Client, incident_id: str, decision: Decision) -> WorkflowHandle[Any, Ended]:
    """The run that the decision is about: a release that waits for consent, or else the containment."""
    if decision.kind in {"approve", "reject"}:
        releasing: WorkflowHandle[Any, Ended] = client.get_workflow_handle(
            f"release-{incident_id}", result_type=Ended
        )
        if await _is_running(releasing):
            return releasing
    return await containment(client, incident_id)


async def _is_running(handle: WorkflowHandle[Any, Any]) -> bool:
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
