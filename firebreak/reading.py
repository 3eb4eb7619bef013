"""What people read off a run, wherever it is shown: its clock, what it awaits, what is still open. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from firebreak.model import Finding, Method, Mode, Verdict
from firebreak.record import Awaiting, EvidenceStatus, MeasureStatus, PhaseStatus, RunStatus
from firebreak.statusdoc import run_verdict


@dataclass(frozen=True)
class Clock:
    """Where a run stands against its target, in seconds."""

    elapsed: float
    remaining: float
    forecast: float
    """When the run ends at the latest if every open phase uses its whole budget."""

    @classmethod
    def read(cls, status: RunStatus, now: datetime) -> Clock:
        """The clock of a run at a moment."""
        elapsed = status.elapsed_seconds
        if status.contained_at is None and not status.finished:
            elapsed = max(elapsed, (now - status.triggered_at).total_seconds())
        forecast = elapsed + sum(_still_to_spend(phase, now) for phase in open_phases(status))
        return cls(elapsed, status.target_seconds - elapsed, forecast)


def open_phases(status: RunStatus) -> Iterator[PhaseStatus]:
    """The phases that a running containment has yet to prove."""
    return (phase for phase in status.phases if phase.verified_at is None and not status.finished)


def answers(awaiting: Awaiting) -> tuple[str, ...]:
    """The kinds of decision that answer a question; only the gate of a phase can be proceeded through."""
    if awaiting.kind == "approval":
        return "approve", "reject"
    return ("retry", "stop") if awaiting.phase is None else ("retry", "proceed", "stop")


def awaiting_commands(status: RunStatus) -> list[str]:
    """The commands that answer what the run waits for."""
    verbs = answers(status.awaiting) if status.awaiting else ()
    return [f"firebreak {verb} {status.incident_id} --by NAME --reason TEXT" for verb in verbs]


def verify_command(status: RunStatus, evidence: EvidenceStatus) -> str:
    """How anybody checks that the package is genuine, and the one that the run sealed."""
    trust = "--trust-drill DRILL_KEY.pub" if status.mode is Mode.DRILL else "--trust KEY.pub"
    return f"firebreak evidence verify {evidence.uri} {trust} --manifest-sha256 {evidence.manifest_sha256}"


def latest_finding(measure: MeasureStatus) -> Finding | None:
    """The finding that most needs reading: one that does not hold, else the strongest, else the newest."""
    strength = {method: rank for rank, method in enumerate(Method)}
    return min(
        measure.findings,
        key=lambda each: (each.holds, strength[each.method], -each.observed_at.timestamp()),
        default=None,
    )


def proved(phase: PhaseStatus) -> str:
    """How much of a phase is proved, in words."""
    count = sum(measure.verdict is Verdict.CONTAINED for measure in phase.measures)
    return f"{count} of {len(phase.measures)} measures proved"


def cut_off(status: RunStatus, why: str) -> RunStatus:
    """The document of a run that closed before its own end: nothing is awaited, and what is proved counts."""
    verdict = status.verdict
    if verdict is Verdict.PENDING:
        verdict = run_verdict(phase.verdict for phase in status.phases)
    warnings = (*status.warnings, why)
    return status.model_copy(
        update={"finished": True, "awaiting": None, "verdict": verdict, "warnings": warnings}
    )


def _still_to_spend(phase: PhaseStatus, now: datetime) -> float:
    spent = (now - phase.started_at).total_seconds() if phase.started_at else 0.0
    return max(0.0, phase.budget_seconds - spent)
