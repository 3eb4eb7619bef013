"""Release: the human decision to give a workload back; reverts in reverse order, each proved."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from pydantic import ValidationError

    from activities.inputs import ReleasePackageInput, ReleasePlan, RevertInput
    from activities.measures import MeasureActivities
    from activities.release import ReleaseActivities
    from firebreak.errors import FirebreakError
    from firebreak.model import Consent, Phase, Verdict
    from firebreak.record import (
        Ended,
        Plan,
        PlannedStep,
        ReleaseInput,
        RunFacts,
        RunStatus,
        Sealed,
        StepOutcome,
        Trigger,
    )
    from firebreak.statusdoc import status

from workflows.approvable import Approvable
from workflows.decisions import Decisions
from workflows.failures import message, said_no
from workflows.oncall import OnCall
from workflows.options import HEARTBEAT_TIMEOUT, PLANNING, RETRY, SEALING

REVERTING = timedelta(minutes=10)
"""Time for one revert with its retries; what still fails is reported, and can be released again."""

SEALED_ALWAYS = "the decision not to release is sealed"
"""The patch of 0.2: under 0.1 a release that was refused or rejected left no package."""

CONSENT = Consent(mode="approval", approvers=1, timeout_seconds=86_400, default="reject")
"""A release that nobody else approves within a day does not happen: the workload stays contained."""


@workflow.defn(name="release", failure_exception_types=[ValidationError, FirebreakError])
class Release(Approvable):
    """One release of one contained workload, by one person and approved by another."""

    @workflow.init
    def __init__(self, request: ReleaseInput) -> None:
        self.request = request
        self.facts = RunFacts(
            incident_id=request.incident_id,
            workflow_id=workflow.info().workflow_id,
            workload_id=request.workload_id,
            cloud=request.cloud,
            mode=request.mode,
            triggered_at=request.requested_at,
        )
        self.plan: ReleasePlan | None = None
        self.outcomes: dict[str, StepOutcome] = {}
        self.oncall = OnCall(self.facts, request.alerts)
        asked = Trigger(
            source="release",
            reason=request.reason,
            requested_by=request.by,
            received_at=request.requested_at,
        )
        self.facts.alerts.append(asked)
        self.decisions = Decisions(self.facts, asked, self.oncall)

    @workflow.run
    async def run(self, request: ReleaseInput) -> Ended:
        """Revert every change and prove the pre-state; what is irreversible stays, and says so."""
        approved = f"approved by {request.approved_by}" if request.approved_by else "not approved yet"
        self.oncall.begin(f"release asked for by {request.by}, {approved}")
        ended = await self._release()
        if self.oncall.news:
            self.oncall.end()
            await workflow.wait_condition(workflow.all_handlers_finished)
            await self.oncall.deliver_last()
        return ended

    async def _approved(self) -> bool:
        """Whether another person agreed, here or with the request."""
        if self.request.approved_by:
            return True
        if not await self.decisions.approval(CONSENT, lambda: False):
            return False
        self.request = self.request.model_copy(update={"approved_by": self.decisions.approvers()[0]})
        return True

    async def _release(self) -> Ended:
        if not await self._approved():
            return await self._refused(("nobody else approved the release",), Verdict.REJECTED)
        try:
            plan = await self._planned()
        except ActivityError as error:
            verdict = Verdict.REFUSED if said_no(error) else Verdict.UNPROVEN
            return await self._refused((message(error),), verdict)
        if plan.refusals:
            return await self._refused(plan.refusals)
        self.plan = plan
        for phase in reversed(Phase):
            await self._revert_phase(plan, phase)
        self._judge()
        return await self._sealed()

    @workflow.query
    def status(self) -> RunStatus:
        """The public status document; verdicts of measures say what was reverted."""
        plan = Plan(run=self.plan.run, steps=self.plan.steps) if self.plan else None
        return status(self.facts, plan, self.outcomes, workflow.now())

    async def _planned(self) -> ReleasePlan:
        return await workflow.execute_activity_method(
            ReleaseActivities.plan,
            self.request,
            task_queue=self.request.task_queue,
            schedule_to_close_timeout=PLANNING,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=RETRY,
            summary=f"plan release of {self.request.workload_id}",
        )

    async def _revert_phase(self, plan: ReleasePlan, phase: Phase) -> None:
        facts = self.facts.phases[phase]
        facts.started_at = workflow.now()
        steps = [step for step in plan.steps if step.phase is phase]
        first = [step for step in steps if step.last_in_phase]
        last = [step for step in steps if step.last_in_release and not step.last_in_phase]
        between = [step for step in steps if not step.last_in_phase and not step.last_in_release]
        for chosen in (first, between, last):
            await asyncio.gather(*(self._revert(plan, step) for step in chosen))
        done = [self.outcomes[step.key] for step in steps]
        released = all(outcome.verdict is Verdict.RELEASED for outcome in done)
        facts.verdict = Verdict.RELEASED if released else Verdict.UNPROVEN
        facts.verified_at = workflow.now() if released else None

    async def _revert(self, plan: ReleasePlan, step: PlannedStep) -> None:
        known = {outcome.key: outcome for outcome in plan.outcomes}
        applied = known.get(step.key) or StepOutcome(
            measure=step.measure, target=step.target, phase=step.phase
        )
        try:
            self.outcomes[step.key] = await workflow.execute_activity_method(
                MeasureActivities.revert,
                RevertInput(run=plan.run, step=step, applied=applied),
                task_queue=self.request.task_queue,
                schedule_to_close_timeout=REVERTING,
                heartbeat_timeout=HEARTBEAT_TIMEOUT,
                retry_policy=RETRY,
                summary=f"revert {step.key}",
            )
        except ActivityError as error:
            self.outcomes[step.key] = applied.model_copy(
                update={"verdict": Verdict.UNPROVEN, "error": message(error)}
            )

    def _judge(self) -> None:
        released = all(outcome.verdict is Verdict.RELEASED for outcome in self.outcomes.values())
        self.facts.verdict = Verdict.RELEASED if released else Verdict.UNPROVEN
        self.facts.ended_at = workflow.now()

    async def _refused(self, reasons: tuple[str, ...], verdict: Verdict = Verdict.REFUSED) -> Ended:
        self.facts.refusals.extend(reasons)
        self.facts.verdict = verdict
        self.facts.ended_at = workflow.now()
        if workflow.patched(SEALED_ALWAYS):
            return await self._sealed()
        return Ended(incident_id=self.request.incident_id, verdict=verdict)

    async def _sealed(self) -> Ended:
        try:
            sealed: Sealed | None = await workflow.execute_activity_method(
                ReleaseActivities.package,
                ReleasePackageInput(
                    request=self.request, facts=self.facts, outcomes=tuple(self.outcomes.values())
                ),
                task_queue=self.request.task_queue,
                schedule_to_close_timeout=SEALING,
                heartbeat_timeout=HEARTBEAT_TIMEOUT,
                retry_policy=RETRY,
                summary="release package",
            )
        except ActivityError as error:
            self.facts.warnings.append(f"the release's evidence could not be sealed: {message(error)}")
            if self.facts.verdict is Verdict.RELEASED:
                self.facts.verdict = Verdict.UNPROVEN  # and the workload stays marked as contained
            sealed = None
        self.facts.evidence = sealed.evidence if sealed else None
        if sealed and sealed.held_by:
            self.facts.notes.append(f"{sealed.held_by} still holds targets of this workload: release it too")
        return Ended(incident_id=self.request.incident_id, verdict=self.facts.verdict, sealed=sealed)
