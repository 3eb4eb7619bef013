"""The alerts of one run: the first, those that join it, and their raw bytes on the way to the evidence."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from firebreak.model import Stored
    from firebreak.record import Plan, Received, RunFacts, Trigger, needs_approval

from workflows.calls import Calls
from workflows.failures import message

KEPT_ALERTS = 50
"""A storm of alerts must not outgrow a payload; later ones are counted, and stay in the history."""

CLEARING = "a further alert that asks nobody ends the wait for approval"
"""The patch of 0.2; runs that began under 0.1 wait for people whatever joins them."""


class Alerts:
    """Records what came in, each delivery once."""

    def __init__(self, facts: RunFacts, calls: Calls) -> None:
        self.facts = facts
        self.calls = calls
        self.late: list[Trigger] = []
        """Those that came when the run was decided already."""
        self.storing: dict[int, asyncio.Task[tuple[Stored, ...]]] = {}

    def record(self, trigger: Trigger, *, late: bool = False) -> None:
        """Keep an alert, or count it where there are many; one that weighs differently is always kept."""
        if trigger.received and any(trigger.received == each.received for each in self.facts.alerts):
            return  # a delivery that was handed over twice
        if late:
            _kept(self.late, trigger)
        if not _kept(self.facts.alerts, trigger):
            self.facts.further_alerts += 1

    def clearing(self, plan: Plan) -> Callable[[], bool]:
        """Whether some alert of this run needs nobody's approval, asked again and again.

        Otherwise a weakly authenticated alert, sent first, would hold the real one back.
        """
        patched = workflow.patched(CLEARING)
        return lambda: patched and any(not needs_approval(plan, each) for each in self.facts.alerts)

    def keep(self, plan: Plan) -> None:
        """Begin to store the raw bytes of every alert that is new; never in the way of a phase."""
        for number, alert in enumerate(self.facts.alerts, start=1):
            if alert.received is not None and number not in self.storing:
                self.storing[number] = asyncio.create_task(self._keep(plan, number, alert.received))

    async def kept(self, plan: Plan) -> tuple[Stored, ...]:
        """Everything that was stored, of every alert so far."""
        self.keep(plan)
        return tuple(stored for some in await asyncio.gather(*self.storing.values()) for stored in some)

    async def _keep(self, plan: Plan, number: int, received: Received) -> tuple[Stored, ...]:
        try:
            return await self.calls.keep_alert(plan, number, received)
        except ActivityError as error:  # said; the hash stays in the custody chain, the bytes in the delivery
            self.facts.warnings.append(
                f"raw alert {number} is only in {received.delivery}, not in the evidence: {message(error)}"
            )
            return ()


def _kept(alerts: list[Trigger], trigger: Trigger) -> bool:
    if len(alerts) >= KEPT_ALERTS and _weight(trigger) in map(_weight, alerts):
        return False
    alerts.append(trigger)
    return True


def _weight(trigger: Trigger) -> tuple[bool, str]:
    return trigger.confirmed, trigger.consent
