"""The public status document, made from a run's facts, plan and outcomes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from firebreak.model import CONTAINMENT_TARGET, Budgets, Phase, Verdict
from firebreak.record import (
    MeasureStatus,
    PhaseFacts,
    PhaseStatus,
    Plan,
    PlannedStep,
    RunFacts,
    RunStatus,
    StepOutcome,
)

FINAL = (Verdict.CONTAINED, Verdict.PARTIALLY_CONTAINED, Verdict.REFUSED, Verdict.REJECTED, Verdict.RELEASED)

SHOWN_TRIGGERS = 10
"""A storm of alerts must not make the document large; all of them are in the evidence."""


def status(
    facts: RunFacts, plan: Plan | None, outcomes: Mapping[str, StepOutcome], now: datetime
) -> RunStatus:
    """The document at a moment; ``outcomes`` is keyed by the planned step."""
    end = facts.contained_at or facts.ended_at or now
    elapsed = _seconds_between(facts.triggered_at, end)
    return RunStatus(
        incident_id=facts.incident_id,
        workflow_id=facts.workflow_id,
        workload_id=facts.workload_id,
        cloud=facts.cloud,
        mode=facts.mode,
        verdict=facts.verdict,
        requested_by=facts.alerts[0].requested_by if facts.alerts else "",
        triggered_at=facts.triggered_at,
        contained_at=facts.contained_at,
        elapsed_seconds=elapsed,
        within_target=facts.contained_at is not None and elapsed <= CONTAINMENT_TARGET.total_seconds(),
        phases=tuple(_phase(phase, facts.phases[phase], plan, outcomes, now) for phase in Phase),
        evidence=facts.evidence,
        finished=facts.ended_at is not None,
        awaiting=facts.awaiting,
        warnings=tuple(facts.warnings),
        notes=tuple(facts.notes),
        refusals=tuple(facts.refusals),
        decisions=tuple(facts.decisions),
        alerts=max(1, len(facts.alerts) + facts.further_alerts),
        triggers=tuple(facts.alerts[:SHOWN_TRIGGERS]),
    )


def run_verdict(verdicts: Iterable[Verdict]) -> Verdict:
    """Contained when every phase is; unknown is never counted as contained."""
    each = list(verdicts)
    if each and all(verdict is Verdict.CONTAINED for verdict in each):
        return Verdict.CONTAINED
    if any(verdict is Verdict.CONTAINED for verdict in each):
        return Verdict.PARTIALLY_CONTAINED
    return Verdict.UNPROVEN


def phase_verdict(outcomes: Iterable[StepOutcome]) -> Verdict:
    """Contained when every step is proved; a phase without steps is judged by its declaration."""
    each = list(outcomes)
    if all(outcome.proved for outcome in each):
        return Verdict.CONTAINED
    if any(outcome.proved for outcome in each):
        return Verdict.PARTIALLY_CONTAINED
    return Verdict.UNPROVEN


def _seconds_between(start: datetime, end: datetime) -> float:
    """Seconds with millisecond precision, as the public documents print them."""
    return round((end - start).total_seconds(), 3)


def _phase(
    phase: Phase, facts: PhaseFacts, plan: Plan | None, outcomes: Mapping[str, StepOutcome], now: datetime
) -> PhaseStatus:
    steps = plan.of(phase) if plan else ()
    budgets = plan.budgets if plan else Budgets()
    ran_until = facts.verified_at or (now if facts.verdict is Verdict.PENDING else None)
    return PhaseStatus(
        phase=phase,
        title=phase.title,
        verdict=facts.verdict,
        started_at=facts.started_at,
        verified_at=facts.verified_at,
        elapsed_seconds=_seconds_between(facts.started_at, ran_until)
        if facts.started_at and ran_until
        else None,
        budget_seconds=budgets.of(phase).total_seconds(),
        deviations=tuple(facts.deviations),
        measures=tuple(_measure(step, outcomes.get(step.key)) for step in steps),
    )


def _measure(step: PlannedStep, outcome: StepOutcome | None) -> MeasureStatus:
    if outcome is None:
        return MeasureStatus(
            name=step.measure,
            target=step.target.ref,
            verdict=Verdict.PENDING,
            change="pending",
            blast_radius=step.blast_radius,
        )
    return MeasureStatus(
        name=step.measure,
        target=step.target.ref,
        verdict=outcome.verdict,
        change=_change(outcome),
        error=outcome.error,
        applied_at=outcome.applied_at,
        proved_at=outcome.proved_at,
        findings=outcome.findings,
        blast_radius=step.blast_radius,
    )


def _change(outcome: StepOutcome) -> str:
    if outcome.verdict is Verdict.RELEASED:
        kept = any(finding.detail.get("kept") for finding in outcome.findings)
        return "kept" if kept else "reverted"
    if outcome.change is None:
        return "failed" if outcome.error else "pending"
    return "applied" if outcome.changed else "already in place"
