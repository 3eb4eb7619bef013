"""The shared adapter: one cloud's planning and steps as activities. No policy, no SDK logic."""

from __future__ import annotations

from datetime import datetime

import structlog
from temporalio import activity

from activities.errors import translated
from activities.inputs import MarkInput, RevertInput, StepInput
from activities.liveness import heartbeating, pause
from firebreak import marker, planning, steps
from firebreak.engine import Engine
from firebreak.logs import bind_incident
from firebreak.measure import now
from firebreak.model import Stored
from firebreak.planning import Preview
from firebreak.record import ContainmentInput, Plan, StepOutcome, needs_approval
from firebreak.steps import Polling

log = structlog.get_logger("firebreak.measures")

IN_FLIGHT = "a release of an earlier incident was under way and did not end: look at what it reverted"


class MeasureActivities:
    """Activities of one cloud's task queue."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @activity.defn(name="firebreak.preview")
    async def preview(self, request: ContainmentInput) -> Preview:
        """Show what a containment would do, without a mutating call."""
        bind_incident(request.incident_id)
        with translated():
            async with heartbeating():
                return await planning.preview(self.engine, request)

    @activity.defn(name="firebreak.plan")
    async def plan(self, request: ContainmentInput) -> Plan:
        """Fix what the run will do, and record every pre-state."""
        bind_incident(request.incident_id)
        with translated():
            async with heartbeating():
                made = await planning.plan(self.engine, request)
                if not made.refusals and not needs_approval(made, request.trigger):
                    return await self._taken(made)
                return made

    @activity.defn(name="firebreak.mark")
    async def mark(self, request: MarkInput) -> Stored:
        """Record that the workload is being contained; the result is the plan, which nobody reads."""
        with translated():
            async with heartbeating():
                plan = await self.engine.blocking(lambda: planning.read_plan(self.engine, request.plan))
                bind_incident(plan.run.incident_id)
                await self._taken(plan)
                return request.plan

    @activity.defn(name="firebreak.contain")
    async def contain(self, request: StepInput) -> StepOutcome:
        """Apply one step and observe it until it is proved or its time is over."""
        bind_incident(request.run.incident_id)
        polling = Polling(until=_on_this_clock(request.until), gate=request.gate, pause=pause)
        with translated():
            async with heartbeating(request.resume) as progress:
                if request.applied is not None:
                    return await steps.prove(self.engine, request.run, request.step, request.applied, polling)
                return await steps.contain(
                    self.engine, request.run, request.step, polling, progress, request.seen
                )

    @activity.defn(name="firebreak.preserve")
    async def preserve(self, request: StepInput) -> Stored:
        """Capture a volatile source once, best effort."""
        bind_incident(request.run.incident_id)
        with translated():
            async with heartbeating() as progress:
                return await steps.preserve(self.engine, request.run, request.step, progress)

    @activity.defn(name="firebreak.revert")
    async def revert(self, request: RevertInput) -> StepOutcome:
        """Undo one step and prove the pre-state."""
        bind_incident(request.run.incident_id)
        with translated():
            async with heartbeating():
                await self.engine.blocking(lambda: marker.require(self.engine, request.run))
                return await steps.revert(self.engine, request.run, request.step, request.applied)

    async def _taken(self, made: Plan) -> Plan:
        """Take the workload over; the release of an earlier incident then has ended, or it is said."""
        await self.engine.blocking(lambda: marker.take(self.engine, made))
        if await marker.alone(self.engine, made.run):
            return made
        log.warning("marker.release_in_flight", note=IN_FLIGHT)
        return made.model_copy(update={"notes": (*made.notes, IN_FLIGHT)})


def _on_this_clock(until: datetime) -> datetime:
    """The deadline on a clock that may be minutes away from the server's: the time left is the same."""
    return now() + (until - activity.info().started_time)
