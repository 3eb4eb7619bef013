"""A delivery of an alert becomes durable, and starts or joins a containment once, however often it comes."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowHandle, WorkflowHistory
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from firebreak import runs, start
from firebreak.delivery import DeliveryInput, Settled
from firebreak.errors import EvidenceError, FirebreakError
from firebreak.model import FrozenModel, Mode, Workload
from firebreak.record import ContainmentInput
from firebreak.settings import Settings
from workflows.delivery import Delivery

WEB_STARTS = timedelta(seconds=5)
"""A delivery's first workflow task waits so long, or until it is told which run came of it (Temporal, "Start
Delay"): with the web process alive, that saves every alert a task and a timer."""


class Taken(FrozenModel):
    """What became of a delivery; the same answer each time it comes."""

    reference: str
    """The incident id, or the name under which people find an alert that started nothing."""
    settled: Settled | None
    """The run; None where people are told instead."""
    repeated: bool
    """It had come before."""


def delivery_id(source: str, key: str) -> str:
    """One workflow per delivery: the id is made from the source and its own key for it."""
    which = f"{source}\n{key}"
    return f"delivery-{hashlib.sha256(which.encode()).hexdigest()[:32]}"


async def take(
    client: Client, settings: Settings, name: str, delivery: DeliveryInput, workload: Workload | None
) -> Taken:
    """Make a delivery durable, then start or join what it asks for.

    Whatever happens after the first step, nothing is lost: the delivery itself sees to the start.
    """
    try:
        handle = await client.start_workflow(
            Delivery.run,
            delivery,
            id=name,
            task_queue=settings.task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            priority=start.PRIORITY[delivery.containment.mode if delivery.containment else Mode.LIVE],
            static_summary=f"alert of {delivery.source}",
            start_delay=WEB_STARTS if delivery.containment else None,
        )
    except WorkflowAlreadyStartedError:
        return await _again(client, settings, client.get_workflow_handle(name), workload)
    settled = await _settle(client, settings, handle, delivery.containment, workload)
    return Taken(reference=_reference(delivery, settled), settled=settled, repeated=False)


async def _again(
    client: Client, settings: Settings, handle: WorkflowHandle[Any, Any], workload: Workload | None
) -> Taken:
    """The answer that an earlier delivery was given, or would have been."""
    history = await handle.fetch_history()
    first = await read(client, history.events[0])
    settled = await _outcome(client, first, history)
    if settled is None:
        settled = await _settle(client, settings, handle, first.containment, workload)
    return Taken(reference=_reference(first, settled), settled=settled, repeated=True)


async def read(client: Client, started: HistoryEvent) -> DeliveryInput:
    """What a delivery was started with, from the first event of its history."""
    payloads = started.workflow_execution_started_event_attributes.input.payloads
    (delivery,) = await client.data_converter.decode(payloads, [DeliveryInput])
    if not isinstance(delivery, DeliveryInput):
        raise EvidenceError("a delivery's history does not begin with an alert")
    return delivery


async def _settle(
    client: Client,
    settings: Settings,
    handle: WorkflowHandle[Any, Any],
    containment: ContainmentInput | None,
    workload: Workload | None,
) -> Settled | None:
    if containment is None:
        return None
    if workload is None or workload.id != containment.workload_id:
        raise FirebreakError(
            "the inventory has changed since this alert first came; its delivery sees to the start",
            resource=containment.incident_id,
        )
    started = await start.contain(
        client,
        settings,
        workload,
        containment.trigger,
        incident_id=containment.incident_id,
        mode=containment.mode,
    )
    settled = Settled.model_validate(started.model_dump())
    await handle.signal(Delivery.settle, settled)
    return settled


async def _outcome(client: Client, first: DeliveryInput, history: WorkflowHistory) -> Settled | None:
    """The run that an earlier delivery started or joined, as its history tells."""
    for event in history.events:
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
            payloads = event.workflow_execution_signaled_event_attributes.input.payloads
            (settled,) = await client.data_converter.decode(payloads, [Settled])
            return Settled.model_validate(settled)
        if event.event_type == EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED:
            run_id = event.child_workflow_execution_started_event_attributes.workflow_execution.run_id
            return _seen_to(first, run_id, joined=False)
        if event.event_type == EventType.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED:
            run_id = event.external_workflow_execution_signaled_event_attributes.workflow_execution.run_id
            return await _joined(client, first, run_id)
    return None


async def _joined(client: Client, first: DeliveryInput, run_id: str) -> Settled:
    handle: WorkflowHandle[Any, Any] = client.get_workflow_handle(first.containment_id, run_id=run_id or None)
    found = await runs.incident_of(handle)
    return _seen_to(first, run_id, joined=True).model_copy(update={"incident_id": found})


def _seen_to(first: DeliveryInput, run_id: str, *, joined: bool) -> Settled:
    return Settled(
        incident_id=first.reference, workflow_id=first.containment_id, run_id=run_id, joined=joined
    )


def _reference(delivery: DeliveryInput, settled: Settled | None) -> str:
    return settled.incident_id if settled else delivery.reference
