"""One delivery of an alert: durable with its raw bytes, started once, and known again when it is repeated."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from pydantic import ValidationError

    from activities.inputs import Page
    from firebreak.connect import search_attributes
    from firebreak.delivery import DeliveryInput, Settled
    from firebreak.record import ContainmentInput

from workflows.paging import tell

HANDOVER = timedelta(seconds=5)
"""The web process starts the containment itself, before this begins or in this time; then it is taken for
dead."""

UNRESOLVED = "unresolved_alert"
"""The kind of page of an alert that started nothing."""

HANDED_OVER = "a run that a delivery starts by itself is handed the alert, as the web process does"
"""The patch of 0.2; under 0.1 such a run had no raw alert in its evidence."""


@workflow.defn(name="delivery", failure_exception_types=[ValidationError])
class Delivery:
    """Holds the raw alert, sees to it that something comes of it, and stays as long as senders may retry."""

    @workflow.init
    def __init__(self, request: DeliveryInput) -> None:
        self.settled: Settled | None = None

    @workflow.run
    async def run(self, request: DeliveryInput) -> None:
        """Tell people, or see that the containment was started; then remember."""
        if request.containment is None:
            await tell(Page(incident_id=request.reference, kind=UNRESOLVED, message=request.page))
        else:
            await self._see_to(request, request.containment)
        await workflow.sleep(request.remember_seconds)

    @workflow.signal
    def settle(self, outcome: Settled) -> None:
        """The web process says which run the alert started or joined."""
        self.settled = self.settled or outcome

    async def _see_to(self, request: DeliveryInput, containment: ContainmentInput) -> None:
        """Start or join in place of a web process that died after the delivery became durable."""
        try:
            await workflow.wait_condition(lambda: self.settled is not None, timeout=HANDOVER)
        except TimeoutError:
            await start_or_join(containment, request.containment_id)


async def start_or_join(containment: ContainmentInput, containment_id: str) -> None:
    """Start the containment, or hand its alert to the one that runs."""
    while not (await _started(containment, containment_id) or await _joined(containment, containment_id)):
        workflow.logger.info("the containment ended in between; starting another one")


async def _started(containment: ContainmentInput, containment_id: str) -> bool:
    try:
        started = await workflow.start_child_workflow(
            "containment",
            containment,
            id=containment_id,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            search_attributes=search_attributes(
                containment.incident_id, containment.workload_id, containment.mode
            ),
            static_summary=f"contain {containment.workload_id}",
        )
    except WorkflowAlreadyStartedError:
        return False
    if workflow.patched(HANDED_OVER):
        await _hand_over(started, containment)
    return True


async def _hand_over(started: workflow.ChildWorkflowHandle[Any, Any], containment: ContainmentInput) -> None:
    try:
        await started.signal("record_alert", containment.trigger)
    except ApplicationError:  # it was refused and has ended: there is no evidence to add to
        workflow.logger.info("the containment ended before it was handed the alert")


async def _joined(containment: ContainmentInput, containment_id: str) -> bool:
    running = workflow.get_external_workflow_handle(containment_id)
    try:
        await running.signal("record_alert", containment.trigger)
    except ApplicationError:  # it has ended since
        return False
    return True
