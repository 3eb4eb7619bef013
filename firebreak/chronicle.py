"""Custody events from what a run did: pure, so that a workflow may call it on replay."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from firebreak.evidence.custody import Action, Actor, CustodyEvent
from firebreak.model import Stored
from firebreak.record import Decision, Plan, StepOutcome, Trigger

RESPONDER = Actor(who="responder")
"""Stands for the worker's own identity, which only the worker knows and fills in."""


def triggered(number: int, trigger: Trigger) -> CustodyEvent:
    """An alert or command that started the run or joined it."""
    return CustodyEvent(
        event_id=f"trigger-{number}",
        action=Action.TRIGGERED,
        actor=Actor(who=trigger.requested_by, human=trigger.received is None),
        at=trigger.received_at,
        evidence_ids=("trigger/trigger.json",) if number == 1 else (),
        purpose="containment of a compromised AI workload",
        summary=f"{trigger.source}: {trigger.reason}{_raw(trigger)}",
    )


def planned(plan: Plan, trigger: Trigger) -> CustodyEvent:
    """The plan with all it rests on, and every pre-state, read before the first change."""
    fixed = (*plan.stored, *(step.state for step in plan.steps))
    return CustodyEvent(
        event_id="plan",
        action=Action.PLANNED,
        actor=RESPONDER,
        at=plan.planned_at or trigger.received_at,
        evidence_ids=tuple(evidence_id(each) for each in fixed),
        sha256=tuple(each.sha256 for each in fixed),
        summary=f"{len(plan.steps)} steps planned, pre-states recorded",
    )


def decided(number: int, decision: Decision) -> CustodyEvent:
    """A person's decision, also one that was not accepted."""
    if decision.decided_at is None:
        msg = "a decision is stamped before it is recorded"
        raise ValueError(msg)
    refused = f" (not accepted: {decision.refused})" if decision.refused else ""
    return CustodyEvent(
        event_id=f"decision-{number}",
        action=Action.DECIDED,
        actor=Actor(who=decision.by, human=True),
        at=decision.decided_at,
        authorisation=f"{decision.kind} by {decision.via}" if decision.via else decision.kind,
        summary=f"{decision.kind}: {decision.reason}{refused}",
    )


def step_events(outcome: StepOutcome, attempt: int) -> Iterator[CustodyEvent]:
    """What one step changed and what was observed of it."""
    if outcome.change is not None and outcome.applied_at is not None:
        yield CustodyEvent(
            event_id=f"{outcome.key} changed {attempt}",
            action=Action.CHANGED,
            actor=RESPONDER,
            at=outcome.applied_at,
            evidence_ids=(evidence_id(outcome.change),),
            sha256=(outcome.change.sha256,),
            where=outcome.target.account,
            summary=f"{outcome.measure} on {outcome.target.ref}",
        )
    if outcome.findings_stored is not None:
        yield CustodyEvent(
            event_id=f"{outcome.key} verified {attempt}",
            action=Action.VERIFIED,
            actor=RESPONDER,
            at=outcome.findings[-1].observed_at,
            evidence_ids=(evidence_id(outcome.findings_stored),),
            sha256=(outcome.findings_stored.sha256,),
            summary=f"{outcome.measure} on {outcome.target.ref}: {outcome.verdict}",
        )


def phase_events(outcomes: Iterable[StepOutcome], attempt: int) -> tuple[CustodyEvent, ...]:
    """The events of a whole phase."""
    return tuple(event for outcome in outcomes for event in step_events(outcome, attempt))


def _raw(trigger: Trigger) -> str:
    return f" (raw alert: SHA-256 {trigger.received.sha256})" if trigger.received else ""


def evidence_id(stored: Stored) -> str:
    """The path below the bag's ``data/`` of an object of the store."""
    return stored.uri.split("/data/", 1)[1]
