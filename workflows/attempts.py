"""Every try at the steps of a run, what came of each step, and which of them still hold a gate."""

from __future__ import annotations

import asyncio
from datetime import datetime

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.inputs import StepInput
    from firebreak.model import Phase, Verdict
    from firebreak.record import Plan, PlannedStep, StepOutcome
    from firebreak.steps import Gate

from workflows.calls import Calls
from workflows.failures import message

ASKED_ONCE = "a risk that was accepted is not asked about again when late logs are judged"
"""The patch of 0.2; before, a retry of the late proof tried accepted steps of an earlier phase as well."""


class Attempts:
    """Tries steps, and keeps the newest outcome of each."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.number = 0
        self.outcomes: dict[str, StepOutcome] = {}
        self.late: dict[str, asyncio.Task[None]] = {}
        """Steps that wait for log evidence alone, which their gate does not wait for."""
        self.accepted: set[str] = set()

    async def make(self, plan: Plan, phase: Phase, steps: list[PlannedStep]) -> None:
        """Try these steps of a phase; those that have to be last in it follow the others."""
        self.number += 1
        until = workflow.now() + plan.budgets.of(phase)
        gate: Gate = "prompt" if plan.flow_log_gate == "deferred" else "all"
        for last in (False, True):
            group = [step for step in steps if step.last_in_phase is last]
            await asyncio.gather(*(self._step(plan, step, until, gate) for step in group))

    def accept(self, steps: list[PlannedStep]) -> None:
        """A person accepted the risk of steps that are not proved."""
        if workflow.patched(ASKED_ONCE):
            self.accepted.update(step.key for step in steps)

    def open_steps(self, plan: Plan, phase: Phase) -> list[PlannedStep]:
        """Steps that hold the gate: neither proved nor accepted, nor waiting for log evidence alone."""
        settled = self.accepted.union(self.late)
        open_steps = (step for step in plan.of(phase) if not self.outcomes[step.key].proved)
        return [step for step in open_steps if step.key not in settled]

    async def late_logs(self) -> frozenset[str]:
        """Wait for the log evidence that no gate waited for; the steps that it was about."""
        await asyncio.gather(*self.late.values())
        late, self.late = frozenset(self.late), {}
        return late

    async def _step(self, plan: Plan, step: PlannedStep, until: datetime, gate: Gate) -> None:
        before = self.outcomes.get(step.key)
        seen = before.findings_stored if before else None
        request = StepInput(run=plan.run, step=step, until=until, gate=gate, seen=seen)
        outcome = await self._outcome(request)
        self.outcomes[step.key] = outcome
        if outcome.awaiting_logs:
            self.late[step.key] = asyncio.create_task(self._await_logs(plan, step, outcome))

    async def _await_logs(self, plan: Plan, step: PlannedStep, applied: StepOutcome) -> None:
        until = workflow.now() + plan.budgets.of(step.phase)
        request = StepInput(run=plan.run, step=step, until=until, applied=applied)
        self.outcomes[step.key] = await self._outcome(request)

    async def _outcome(self, request: StepInput) -> StepOutcome:
        """The outcome, also where the step failed; one failed step does not stop its siblings."""
        try:
            return await self.calls.contain(request)
        except ActivityError as error:
            step = request.step
            before = self.outcomes.get(step.key)
            failed = before or StepOutcome(measure=step.measure, target=step.target, phase=step.phase)
            return failed.model_copy(update={"verdict": Verdict.UNPROVEN, "error": message(error)})
