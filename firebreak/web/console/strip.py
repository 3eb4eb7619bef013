"""The fifteen minutes as a strip: when phases ran, and when the open ones run at the latest. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from firebreak.reading import Clock
from firebreak.record import PhaseStatus, RunStatus

WIDTH = 1000.0
"""Units of the drawing, whatever its size on the screen."""
INTERVALS = 5
ROUND_TO = 300
"""A run that takes longer gets whole intervals of a minute."""
OVERHANG = 60
"""A forecast that is this little over the target is drawn up to the edge."""


@dataclass(frozen=True)
class Segment:
    """One phase on the strip."""

    number: int
    title: str
    look: str
    """A verdict, ``running``, or ``planned``."""
    x: float
    width: float
    words: str


@dataclass(frozen=True)
class Strip:
    """Everything that the template draws."""

    scale_seconds: float
    segments: tuple[Segment, ...]
    ticks: tuple[float, ...]
    """In seconds, at equal distances."""
    target_x: float
    now_x: float


def strip(status: RunStatus, now: datetime) -> Strip:
    """Lay a run out between its trigger and its target, or its latest end where that is later."""
    clock = Clock.read(status, now)
    longest = max(status.target_seconds, clock.elapsed, clock.forecast)
    scale = status.target_seconds
    while scale < longest - OVERHANG:
        scale += ROUND_TO
    unit = WIDTH / scale
    return Strip(
        scale_seconds=scale,
        segments=tuple(_segments(status, now, unit)),
        ticks=tuple(scale / INTERVALS * number for number in range(INTERVALS + 1)),
        target_x=status.target_seconds * unit,
        now_x=min(clock.elapsed, scale) * unit,
    )


def _segments(status: RunStatus, now: datetime, unit: float) -> Iterator[Segment]:
    free_from = (now - status.triggered_at).total_seconds()
    for phase in status.phases:
        if phase.started_at is not None:
            start, end = _span(status, phase, now)
            running = phase.verified_at is None and not status.finished
            yield _segment(phase, "running" if running else phase.verdict.value, start * unit, end * unit)
            if running:
                latest = max(end, start + phase.budget_seconds)
                yield _segment(phase, "planned", end * unit, latest * unit)
                free_from = latest
        elif not status.finished:
            end = free_from + phase.budget_seconds
            yield _segment(phase, "planned", free_from * unit, end * unit)
            free_from = end


def _span(status: RunStatus, phase: PhaseStatus, now: datetime) -> tuple[float, float]:
    assert phase.started_at is not None  # noqa: S101 - the caller asked
    start = (phase.started_at - status.triggered_at).total_seconds()
    if phase.verified_at is not None:
        return start, (phase.verified_at - status.triggered_at).total_seconds()
    if status.finished:
        return start, max(start, status.elapsed_seconds)
    return start, (now - status.triggered_at).total_seconds()


def _segment(phase: PhaseStatus, look: str, start: float, end: float) -> Segment:
    words = "planned, at the latest" if look == "planned" else look.replace("_", " ")
    number = int(phase.phase)
    return Segment(
        number, phase.title, look, start, max(end - start, 1.0), f"{number} {phase.title}: {words}"
    )
