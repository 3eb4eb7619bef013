"""A run told for people: what happened when, and what is still open with the command for it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from firebreak.model import Phase, Verdict
from firebreak.reading import awaiting_commands, latest_finding, proved
from firebreak.record import Decision, MeasureStatus, PhaseStatus, RunStatus

DONE = (Verdict.CONTAINED, Verdict.RELEASED)


@dataclass(frozen=True)
class Happening:
    """One line of the timeline."""

    at: datetime
    what: str
    look: str
    """``run``, ``phase``, ``person``, ``alert`` or ``measure``."""


@dataclass(frozen=True)
class OpenPoint:
    """Something that is not as it should be."""

    what: str
    why: str
    commands: tuple[str, ...] = ()
    urgent: bool = False


def happenings(containment: RunStatus, release: RunStatus | None) -> list[Happening]:
    """Everything with a time, the newest first."""
    told = [*_run(containment, "contained"), *(_run(release, "released") if release else ())]
    return sorted(told, key=lambda each: each.at, reverse=True)


def open_points(status: RunStatus) -> list[OpenPoint]:
    """What waits for a person, is not proved, or was refused; what waits comes first."""
    return [*_awaited(status), *_refusals(status), *_unproved(status)]


def one_line(status: RunStatus) -> str:
    """What a screen reader says when the run has changed."""
    if status.finished:
        return f"The run has ended: {status.verdict.replace('_', ' ')}."
    if status.awaiting:
        return f"A person is needed: {status.awaiting.reason}."
    phase = next((each for each in status.phases if each.started_at and not each.verified_at), None)
    if phase is None:
        return "Between phases." if any(each.started_at for each in status.phases) else "Planning."
    return f"Phase {int(phase.phase)}, {phase.title}: {proved(phase)}."


def _run(status: RunStatus, end: str) -> Iterator[Happening]:
    yield Happening(status.triggered_at, _beginning(status, end), "run")
    for alert in status.triggers[1:]:
        yield Happening(alert.received_at, f"further alert from {alert.source}: {alert.reason}", "alert")
    for phase in status.phases:
        yield from _phase(phase)
    for decision in status.decisions:
        if decision.decided_at is not None:
            yield Happening(decision.decided_at, decided(decision), "person")
    if status.awaiting:
        yield Happening(status.awaiting.since, f"waits for a person: {status.awaiting.reason}", "person")
    if status.contained_at:
        yield Happening(status.contained_at, f"{end}: everything is proved", "run")


def _beginning(status: RunStatus, end: str) -> str:
    if end == "released":
        return f"release requested by {status.requested_by}"
    source = status.triggers[0].source if status.triggers else "an alert"
    return f"triggered by {source}, {status.requested_by}"


def _phase(phase: PhaseStatus) -> Iterator[Happening]:
    name = f"phase {int(phase.phase)} {phase.title}"
    if phase.started_at:
        yield Happening(phase.started_at, f"{name} began", "phase")
    if phase.verified_at:
        words = phase.verdict.value.replace("_", " ")
        yield Happening(phase.verified_at, f"{name}: {words}", "phase")
    for measure in phase.measures:
        if measure.applied_at and measure.change == "applied":
            yield Happening(measure.applied_at, f"{measure.name} applied", "measure")
        if measure.proved_at:
            yield Happening(measure.proved_at, f"{measure.name} proved", "measure")


def decided(decision: Decision) -> str:
    """A decision in one line."""
    about = f" on {Phase(decision.phase).title}" if decision.phase else ""
    refused = f" (not accepted: {decision.refused})" if decision.refused else ""
    how = f" by {decision.via}" if decision.via else ""
    return f"{decision.by}: {decision.kind}{about}{how}, “{decision.reason}”{refused}"


def _awaited(status: RunStatus) -> Iterator[OpenPoint]:
    if status.awaiting is None:
        return
    what = "An approval" if status.awaiting.kind == "approval" else "A decision"
    about = f" on {Phase(status.awaiting.phase).title}" if status.awaiting.phase else ""
    commands = tuple(awaiting_commands(status))
    yield OpenPoint(f"{what}{about} is needed", status.awaiting.reason, commands, urgent=True)


def _refusals(status: RunStatus) -> Iterator[OpenPoint]:
    again = (f"firebreak contain {status.workload_id} --plan --reason TEXT",)
    for refusal in status.refusals:
        yield OpenPoint("Refused before the first change", refusal, again, urgent=True)


def _unproved(status: RunStatus) -> Iterator[OpenPoint]:
    for phase in status.phases:
        if phase.started_at is None and status.finished and phase.verdict not in DONE:
            title = f"Phase {int(phase.phase)}, {phase.title}, never began"
            yield OpenPoint(title, "nothing of it was done", _command(status, phase), urgent=True)
        if phase.started_at is not None:
            yield from _of_phase(status, phase)


def _of_phase(status: RunStatus, phase: PhaseStatus) -> Iterator[OpenPoint]:
    """Every measure that failed or was judged unproven; those that are still being observed in one line."""
    left = [measure for measure in phase.measures if measure.verdict not in DONE]
    judged = phase.verified_at is not None or status.finished
    failed = [each for each in left if judged or each.error or each.verdict is not Verdict.PENDING]
    for measure in failed:
        yield _point(status, phase, measure)
    if len(left) > len(failed):
        words = f"{len(left) - len(failed)} of {len(phase.measures)} measures still to be proved"
        yield OpenPoint(f"Phase {int(phase.phase)}, {phase.title}", words)


def _point(status: RunStatus, phase: PhaseStatus, measure: MeasureStatus) -> OpenPoint:
    finding = latest_finding(measure)
    why = measure.error or (finding.observed if finding else f"no observation, {measure.change}")
    return OpenPoint(f"{measure.name} on {measure.target}", why, _command(status, phase), urgent=True)


def _command(status: RunStatus, phase: PhaseStatus) -> tuple[str, ...]:
    """What a person types where the page is away: try again in the run, or run again after it."""
    if status.finished:
        return (f"firebreak contain {status.workload_id} --reason TEXT --wait",)
    if status.awaiting and status.awaiting.phase is phase.phase:
        return (f"firebreak retry {status.incident_id} --by NAME --reason TEXT",)
    return (f"firebreak status {status.incident_id} --watch",)
