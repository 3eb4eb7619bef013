"""The custody chain of one run, written part by part as the run goes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.evidence import EvidenceActivities
    from activities.inputs import CustodyInput
    from firebreak import chronicle
    from firebreak.evidence.custody import CustodyEvent, genesis
    from firebreak.model import Stored
    from firebreak.record import ContainmentInput, Plan, RunFacts, StepOutcome

from workflows.options import HEARTBEAT_TIMEOUT, RETRY


class Custody:
    """Holds the head of the chain between two parts."""

    def __init__(self, request: ContainmentInput) -> None:
        self.request = request
        self.head = genesis(request.incident_id)
        self.segments: list[Stored] = []
        self.known: frozenset[str] = frozenset()
        self.pending: tuple[CustodyEvent, ...] = ()
        self.outcomes: dict[str, StepOutcome] = {}

    def new(self, outcomes: Iterable[StepOutcome]) -> list[StepOutcome]:
        """Those that the chain does not know yet."""
        fresh = [outcome for outcome in outcomes if self.outcomes.get(outcome.key) != outcome]
        self.outcomes |= {outcome.key: outcome for outcome in fresh}
        return fresh

    async def seal(
        self, plan: Plan, facts: RunFacts, name: str, events: tuple[CustodyEvent, ...], time: timedelta
    ) -> None:
        """Chain these events, behind every alert and decision that came since the last part.

        Raises ActivityError when the store is away for all that time; the next part then begins with
        the same events.
        """
        events = self.pending = (*self.pending, *self._news(plan, facts), *events)
        if not events:
            return
        segment = await workflow.execute_activity_method(
            EvidenceActivities.chain,
            CustodyInput(run=plan.run, segment=name, head=self.head, events=events),
            task_queue=self.request.task_queue,
            schedule_to_close_timeout=time,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=RETRY,
            summary=f"custody {name}",
        )
        self.pending = ()
        self.head = segment.head
        self.segments.append(segment.stored)

    def _news(self, plan: Plan, facts: RunFacts) -> list[CustodyEvent]:
        alerts = facts.alerts or [self.request.trigger]
        events = [
            *(chronicle.triggered(number, alert) for number, alert in enumerate(alerts, start=1)),
            chronicle.planned(plan, self.request.trigger),
            *(chronicle.decided(number, made) for number, made in enumerate(facts.decisions, start=1)),
        ]
        new = [event for event in events if event.event_id not in self.known]
        self.known |= {event.event_id for event in new}
        return new
