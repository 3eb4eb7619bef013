"""Every call of a containment to its cloud's worker, with its time and its retries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, TimeoutError  # noqa: A004 - Temporal's own

with workflow.unsafe.imports_passed_through():
    from activities.evidence import EvidenceActivities
    from activities.inputs import KeepInput, MarkInput, PackageInput, StepInput
    from activities.measures import MeasureActivities
    from firebreak.model import Stored
    from firebreak.record import (
        ContainmentInput,
        Plan,
        PlannedStep,
        Received,
        RunFacts,
        Sealed,
        StepOutcome,
        Unfinished,
    )

from workflows.options import GRACE, HEARTBEAT_TIMEOUT, PLANNING, PRESERVING, RETRY, SEALING


@dataclass(frozen=True)
class Gathered:
    """What the run has put into the evidence store beside its steps' own documents."""

    preserved: tuple[Stored, ...]
    segments: tuple[Stored, ...]
    alerts: tuple[Stored, ...]


class Calls:
    """The activities of one run; each raises ActivityError when it failed for good."""

    def __init__(self, request: ContainmentInput) -> None:
        self.request = request
        self.unfinished: dict[str, Unfinished] = {}
        """What ran out of time, so that a retry goes on there, and the package has what was stored."""

    async def plan(self) -> Plan:
        """Fix what the run will do."""
        return await workflow.execute_activity_method(
            MeasureActivities.plan,
            self.request,
            task_queue=self.request.task_queue,
            schedule_to_close_timeout=PLANNING,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=RETRY,
            summary=f"plan {self.request.workload_id}",
        )

    async def mark(self, plan: Plan) -> None:
        """Record that the workload is being contained."""
        await workflow.execute_activity_method(
            MeasureActivities.mark,
            MarkInput(plan=plan.stored[-1]),
            task_queue=self.request.task_queue,
            schedule_to_close_timeout=PLANNING,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=RETRY,
            summary=f"mark {self.request.workload_id}",
        )

    async def preserve(self, plan: Plan, step: PlannedStep) -> Stored:
        """Capture a volatile source, best effort."""
        summary = f"preserve {step.key}"
        try:
            return await workflow.execute_activity_method(
                MeasureActivities.preserve,
                StepInput(run=plan.run, step=step, until=workflow.now() + PRESERVING),
                task_queue=self.request.task_queue,
                schedule_to_close_timeout=PRESERVING,
                heartbeat_timeout=HEARTBEAT_TIMEOUT,
                retry_policy=RETRY,
                summary=summary,
            )
        except ActivityError as error:
            self._keep(summary, step, error)
            raise

    async def contain(self, request: StepInput) -> StepOutcome:
        """Apply and prove a step; where its worker was stopped, another one goes on."""
        outcome = await self._contain(request)
        while outcome.interrupted:
            request = request.model_copy(update={"applied": outcome})
            outcome = await self._contain(request)
        return outcome

    async def keep_alert(self, plan: Plan, number: int, received: Received) -> tuple[Stored, ...]:
        """Move a raw alert into the evidence store."""
        return await workflow.execute_activity_method(
            EvidenceActivities.keep_alert,
            KeepInput(run=plan.run, number=number, received=received),
            task_queue=self.request.task_queue,
            schedule_to_close_timeout=SEALING,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=RETRY,
            summary=f"raw alert {number}",
        )

    async def package(
        self, plan: Plan, facts: RunFacts, outcomes: Sequence[StepOutcome], gathered: Gathered
    ) -> Sealed:
        """Seal the evidence package."""
        return await workflow.execute_activity_method(
            EvidenceActivities.package,
            PackageInput(
                run=plan.run,
                plan=plan.stored[-1],
                facts=facts,
                proved=tuple(o.findings_stored for o in outcomes if o.findings_stored and not o.error),
                failed=tuple(o for o in outcomes if o.error or not o.findings_stored),
                preserved=gathered.preserved,
                segments=gathered.segments,
                sealed_at=workflow.now(),
                alerts=gathered.alerts,
                unfinished=tuple(self.unfinished.values()),
            ),
            task_queue=self.request.task_queue,
            schedule_to_close_timeout=SEALING,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=RETRY,
            summary="evidence package",
        )

    async def _contain(self, request: StepInput) -> StepOutcome:
        summary = request.step.key
        if begun := self.unfinished.get(summary):
            request = request.model_copy(update={"resume": begun.reported})
        try:
            outcome = await workflow.execute_activity_method(
                MeasureActivities.contain,
                request,
                task_queue=self.request.task_queue,
                schedule_to_close_timeout=max(request.until - workflow.now(), timedelta(0)) + GRACE,
                heartbeat_timeout=HEARTBEAT_TIMEOUT,
                retry_policy=RETRY,
                summary=summary,
            )
        except ActivityError as error:
            self._keep(summary, request.step, error)
            raise
        self.unfinished.pop(summary, None)
        return outcome

    def _keep(self, name: str, step: PlannedStep, error: ActivityError) -> None:
        """Keep the last heartbeat of what ran out of time; the server has it only until then."""
        details = error.cause.last_heartbeat_details if isinstance(error.cause, TimeoutError) else ()
        if details and details[0]:
            self.unfinished[name] = Unfinished(
                measure=step.measure, target=step.target, reported=details[0], ended_at=workflow.now()
            )
