"""The runbook: four gated phases, each proved before the next. Deterministic, no SDK imports."""

from __future__ import annotations

import asyncio

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from pydantic import ValidationError

    from firebreak import chronicle
    from firebreak.errors import FirebreakError
    from firebreak.model import Phase, Stored, Verdict
    from firebreak.record import (
        ContainmentInput,
        Decision,
        Ended,
        Plan,
        PlannedStep,
        RunFacts,
        RunStatus,
        Sealed,
        Trigger,
        alert_refs,
        asked_consent,
        needs_approval,
    )
    from firebreak.statusdoc import phase_verdict, run_verdict, status

from workflows.alerts import Alerts
from workflows.approvable import Approvable
from workflows.attempts import Attempts
from workflows.calls import Calls, Gathered
from workflows.custody import Custody
from workflows.decisions import Decisions, check_kind
from workflows.failures import message, refused, said_no
from workflows.oncall import OnCall
from workflows.options import CHAINING, SEALING
from workflows.sentry import Watch

CANCEL_STOPS = "a cancel is a stop: what is in force is judged and sealed"
"""The patch of 0.2; before, a cancelled run ended at once, without a package."""

SEALED_AGAIN = "a package that could not be sealed is asked about"
"""The patch of 0.2; before, the run ended unsealed."""

NOTHING_CAPTURED = "a run that is stopped before its first change captures nothing"
"""The patch of 0.2."""

LOST = (
    "the containment closed without an end: it failed or was terminated. What is in force stays, nothing is "
    "sealed. Contain the workload again: what is in place is found so, and that run can be released"
)


@workflow.defn(name="containment", failure_exception_types=[ValidationError, FirebreakError])
class Containment(Approvable):
    """One containment of one workload; later alerts for the same workload join it."""

    @workflow.init
    def __init__(self, request: ContainmentInput) -> None:
        self.request = request
        self.facts = RunFacts(
            incident_id=request.incident_id,
            workflow_id=workflow.info().workflow_id,
            workload_id=request.workload_id,
            cloud=request.cloud,
            mode=request.mode,
            triggered_at=request.trigger.received_at,
        )
        self.plan: Plan | None = None
        self.calls = Calls(request)
        self.attempts = Attempts(self.calls)
        self.alerts = Alerts(self.facts, self.calls)
        self.oncall = OnCall(self.facts, alert_refs((request.trigger,)))
        self.oncall.correct_clock()
        self.custody = Custody(request)
        self.preserving: list[asyncio.Task[Stored | None]] = []
        self.decisions = Decisions(self.facts, request.trigger, self.oncall)
        self.watch = Watch()
        self.sealings = 0
        self.next_incident = ""

    @workflow.run
    async def run(self, request: ContainmentInput) -> Ended:
        """Contain the workload; the result says what was proved and where the evidence lies."""
        whole = asyncio.create_task(self._run())
        try:
            return await asyncio.shield(whole)
        except asyncio.CancelledError:
            if workflow.patched(CANCEL_STOPS):
                self.decisions.cancelled(workflow.cancellation_reason() or "no reason given")
            else:
                whole.cancel()
        return await whole

    async def _run(self) -> Ended:
        self.oncall.begin(f"containment asked for by {self.request.trigger.requested_by}")
        clock = asyncio.create_task(self.oncall.watch_clock())
        self.watch.begin(self.oncall.written("breach", LOST))
        try:
            ended = await self._contain()
        finally:
            clock.cancel()
        self.oncall.end()
        await workflow.wait_condition(workflow.all_handlers_finished)
        await self.oncall.deliver_last()
        await self.watch.relieve(self._following)
        return ended

    @workflow.query
    def status(self) -> RunStatus:
        """The public status document as of now."""
        return status(self.facts, self.plan, self.attempts.outcomes, workflow.now())

    @workflow.signal
    def record_alert(self, trigger: Trigger) -> None:
        """Keep an alert for this workload: the one that started the run, or one that joins it."""
        decided = self.decisions.closing or self.facts.verdict is not Verdict.PENDING
        self.alerts.record(trigger, late=decided and trigger != self.request.trigger)

    @workflow.update
    def retry(self, decision: Decision) -> Decision:
        """Try again what is not proved in the phase that waits."""
        return self.decisions.accept(decision)

    @workflow.update
    def proceed(self, decision: Decision) -> Decision:
        """Accept the risk of an unproved phase and go on; recorded as a deviation."""
        return self.decisions.accept(decision)

    @workflow.update
    def stop(self, decision: Decision) -> Decision:
        """End the run at the next gate; what is contained stays contained."""
        return self.decisions.accept(decision)

    @retry.validator
    def _may_retry(self, decision: Decision) -> None:
        check_kind(decision, "retry")
        self.decisions.check_awaited("decision", decision)

    @proceed.validator
    def _may_proceed(self, decision: Decision) -> None:
        check_kind(decision, "proceed")
        self.decisions.check_awaited("decision", decision)
        if self.facts.awaiting is not None and self.facts.awaiting.phase is None:
            raise refused(f"{self._nothing_to_accept()}: retry or stop")

    @stop.validator
    def _may_stop(self, decision: Decision) -> None:
        check_kind(decision, "stop")
        self.decisions.check_stop(decision)

    def _nothing_to_accept(self) -> str:
        if self.facts.verdict is Verdict.PENDING:
            return "nothing was changed yet, so there is nothing to proceed with"
        return "without its sealed evidence nothing counts as contained, and nothing can be released"

    async def _contain(self) -> Ended:
        plan = await self._planned()
        if plan is None:
            return self._end()
        self.alerts.keep(plan)
        if not await self._consented(plan):
            self.facts.verdict = Verdict.REJECTED
            return await self._sealed(plan)
        if await self._marked(plan):
            if not (self.decisions.stop_requested and workflow.patched(NOTHING_CAPTURED)):
                self._preserve(plan)
            await self._phases(plan)
        self._judge()
        return await self._sealed(plan)

    async def _phases(self, plan: Plan) -> None:
        for phase in Phase:
            if self.decisions.stop_requested:
                break
            await self._phase(plan, phase)
        await self._settle(plan)

    async def _planned(self) -> Plan | None:
        while True:
            try:
                plan = await self.calls.plan()
            except ActivityError as error:
                if not await self._planning_failed(error):
                    return None
                continue
            if plan.refusals:
                self._refuse(plan.refusals)
                return None
            self.plan = plan
            self.facts.notes.extend(plan.notes)
            return plan

    async def _planning_failed(self, error: ActivityError) -> bool:
        """Whether to plan again."""
        if said_no(error):
            self._refuse((message(error),))
            return False
        if await self.decisions.retried(f"nothing was changed: planning failed: {message(error)}"):
            return True
        self.facts.verdict = Verdict.UNPROVEN
        return False

    def _refuse(self, reasons: tuple[str, ...]) -> None:
        self.facts.refusals.extend(reasons)
        self.facts.verdict = Verdict.REFUSED

    async def _consented(self, plan: Plan) -> bool:
        trigger = self.request.trigger
        if self.decisions.stop_requested or not needs_approval(plan, trigger):
            return True
        return await self.decisions.approval(asked_consent(plan, trigger), self.alerts.clearing(plan))

    async def _marked(self, plan: Plan) -> bool:
        """Mark the workload after a consent (planning does it otherwise); without it nothing is changed."""
        while needs_approval(plan, self.request.trigger) and not self.decisions.stop_requested:
            try:
                await self.calls.mark(plan)
            except ActivityError as error:
                if not await self.decisions.retried(f"nothing was changed: no mark: {message(error)}"):
                    return False
                continue
            break
        return True

    def _preserve(self, plan: Plan) -> None:
        volatile = [step for step in plan.steps if step.preserve_first]
        self.preserving = [asyncio.create_task(self._preserve_one(plan, step)) for step in volatile]

    async def _preserve_one(self, plan: Plan, step: PlannedStep) -> Stored | None:
        try:
            return await self.calls.preserve(plan, step)
        except ActivityError as error:  # best effort: said, and never in the way of phase 1
            self.facts.notes.append(f"pre-capture of {step.target.ref} failed: {message(error)}")
            return None

    async def _phase(self, plan: Plan, phase: Phase) -> None:
        facts = self.facts.phases[phase]
        facts.started_at = workflow.now()
        if phase in plan.empty_phases:
            facts.deviations.append(f"declared absent: {plan.empty_phases[phase]}")
        await self.attempts.make(plan, phase, list(plan.of(phase)))
        await self._gate(plan, phase)

    async def _gate(self, plan: Plan, phase: Phase) -> None:
        """Hold the next phase until this one is proved, or a named person decided otherwise."""
        while (steps := self.attempts.open_steps(plan, phase)) and not self.decisions.stop_requested:
            decision = await self.decisions.decide(phase, _unproved(phase, steps))
            if decision.kind == "retry":
                await self.attempts.make(plan, phase, steps)
                continue
            if decision.kind == "proceed":
                self._accept(phase, steps, decision)
            break
        self._judge_phase(plan, phase)
        self.oncall.gate(phase)
        await self._chain(plan, phase)

    def _accept(self, phase: Phase, steps: list[PlannedStep], decision: Decision) -> None:
        self.facts.phases[phase].deviations.append(
            f"proceeded unproved: {decision.by} accepted the risk: {decision.reason}"
        )
        self.attempts.accept(steps)

    def _judge_phase(self, plan: Plan, phase: Phase) -> None:
        """Nothing is proved by a phase without steps; one that waits for its logs is not judged yet."""
        facts = self.facts.phases[phase]
        steps = plan.of(phase)
        if any(step.key in self.attempts.late for step in steps):
            return
        declared = bool(steps) or phase in plan.empty_phases
        judged = phase_verdict(self.attempts.outcomes[step.key] for step in steps)
        facts.verdict = judged if declared else Verdict.UNPROVEN
        facts.verified_at = workflow.now() if facts.verdict is Verdict.CONTAINED else None

    async def _settle(self, plan: Plan) -> None:
        """Wait for log evidence that phases did not wait for, again after each retry."""
        while self.attempts.late:
            late = await self.attempts.late_logs()
            for phase in Phase:
                if any(step.key in late for step in plan.of(phase)):
                    self.attempts.number += 1
                    await self._gate(plan, phase)

    def _judge(self) -> None:
        self._conclude(run_verdict(facts.verdict for facts in self.facts.phases.values()))

    def _conclude(self, verdict: Verdict) -> None:
        self.facts.verdict = verdict
        self.facts.contained_at = workflow.now() if verdict is Verdict.CONTAINED else None

    async def _chain(self, plan: Plan, phase: Phase) -> None:
        """Seal the phase's new findings into the custody chain before the next phase begins.

        A store that is away holds neither the containment nor the chain: what is missing follows with
        the next part, and without it the package is not sealed.
        """
        outcomes = [self.attempts.outcomes[step.key] for step in plan.of(phase)]
        attempt = self.attempts.number
        events = chronicle.phase_events(self.custody.new(outcomes), attempt)
        try:
            await self.custody.seal(plan, self.facts, f"phase-{int(phase)}-{attempt}", events, CHAINING)
        except ActivityError as error:
            self.facts.warnings.append(f"the findings of {phase.title} are not sealed yet: {message(error)}")
            self.oncall.page("warning", self.facts.warnings[-1])

    async def _sealed(self, plan: Plan) -> Ended:
        """Seal the evidence package, again where a person says so; without it nothing counts as contained."""
        judged = self.facts.verdict
        while True:
            try:
                sealed = await self._package(plan)
            except ActivityError as error:
                if not await self._sealing_failed(judged, error):
                    return self._end()
                self._conclude(judged)
                continue
            self.facts.evidence = sealed.evidence
            return self._end(sealed)

    async def _package(self, plan: Plan) -> Sealed:
        preserved = tuple(stored for stored in await asyncio.gather(*self.preserving) if stored)
        alerts = await self.alerts.kept(plan)
        self.sealings += 1
        part = "end" if self.sealings == 1 else f"end-{self.sealings}"
        await self.custody.seal(plan, self.facts, part, (), SEALING)
        gathered = Gathered(preserved, tuple(self.custody.segments), alerts)
        return await self.calls.package(plan, self.facts, list(self.attempts.outcomes.values()), gathered)

    async def _sealing_failed(self, judged: Verdict, error: ActivityError) -> bool:
        """Whether to seal again; an alert that came late to an uncontained run does not wait for that."""
        why = f"the evidence package could not be sealed: {message(error)}"
        self.facts.warnings.append(why)
        self.oncall.page("breach", why)
        if judged is Verdict.CONTAINED:
            self._conclude(Verdict.PARTIALLY_CONTAINED)
        if judged is Verdict.REJECTED or not workflow.patched(SEALED_AGAIN):
            return False  # nothing was changed, so nothing is lost
        self.oncall.overdue()
        return await self.decisions.resealed(
            why, unless=lambda: judged is not Verdict.CONTAINED and bool(self.alerts.late)
        )

    def _following(self) -> tuple[ContainmentInput, ...]:
        """What is contained next: alerts that came when this run was decided, and had not contained."""
        if self.facts.verdict is Verdict.CONTAINED or not self.alerts.late:
            return ()
        if not self.next_incident:
            self.next_incident = f"INC-{workflow.now():%Y%m%d-%H%M%S}-{workflow.uuid4().hex[:6]}"
            self.facts.notes.append(f"an alert came after the decision: {self.next_incident} follows")
        update = {"incident_id": self.next_incident}
        return tuple(self.request.model_copy(update={**update, "trigger": each}) for each in self.alerts.late)

    def _end(self, sealed: Sealed | None = None) -> Ended:
        self.facts.ended_at = workflow.now()
        return Ended(incident_id=self.request.incident_id, verdict=self.facts.verdict, sealed=sealed)


def _unproved(phase: Phase, steps: list[PlannedStep]) -> str:
    names = ", ".join(step.key for step in steps)
    return f"not proved within the budget of the phase {phase.title}: {names}"
