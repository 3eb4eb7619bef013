"""The timeline of a run as numbers for an SVG: when each phase ran, and how much of its budget it used."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from firebreak.model import CONTAINMENT_TARGET
from firebreak.report.facts import Facts, PhaseFacts

WIDTH = 720.0
ROW = 34
LEFT = 150
TICK_MINUTES = 3


@dataclass(frozen=True)
class Bar:
    """One phase in the plot; lengths in pixels."""

    title: str
    verdict: str
    y: int
    x: float
    width: float
    label: str
    used: float
    """Share of the budget, 1.0 for all of it."""
    budget: str


@dataclass(frozen=True)
class Plot:
    """Everything the template draws."""

    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...]
    target_x: float
    height: int
    width: float = LEFT + WIDTH + 70


def plot(facts: Facts) -> Plot:
    """Lay the phases out between the trigger and the target, or the end where that is later."""
    target = CONTAINMENT_TARGET.total_seconds()
    ends = [each.verified_at for each in facts.phases if each.verified_at]
    last = max((seconds(facts, end) for end in ends), default=0.0)
    scale = WIDTH / max(target, last)
    step = TICK_MINUTES * 60
    ticks = range(0, int(max(target, last)) + 1, step)
    return Plot(
        bars=tuple(_bar(facts, each, number, scale) for number, each in enumerate(facts.phases)),
        ticks=tuple((LEFT + second * scale, f"{second // 60} min") for second in ticks),
        target_x=LEFT + target * scale,
        height=ROW * len(facts.phases) + 30,
    )


def seconds(facts: Facts, moment: datetime) -> float:
    """Seconds after the trigger."""
    return (moment - facts.triggered_at).total_seconds()


def duration(value: float | None) -> str:
    """Minutes and seconds, or a dash for what never ended."""
    return "-" if value is None else f"{int(value // 60)}:{int(value % 60):02d}"


def _bar(facts: Facts, phase: PhaseFacts, number: int, scale: float) -> Bar:
    elapsed = phase.elapsed_seconds or 0.0
    start = seconds(facts, phase.started_at) if phase.started_at else 0.0
    return Bar(
        title=f"{int(phase.phase)} {phase.title}",
        verdict=phase.verdict,
        y=number * ROW + 6,
        x=LEFT + start * scale,
        width=max(elapsed * scale, 2.0) if phase.started_at else 0.0,
        label=duration(phase.elapsed_seconds),
        used=elapsed / phase.budget_seconds,
        budget=duration(phase.budget_seconds),
    )
