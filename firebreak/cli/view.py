"""How a run looks to people. Pure: a status document and the present time in, something to print out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from enum import IntEnum

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from firebreak.cli.output import both_times, duration, plain, table, verdict_text
from firebreak.model import Phase, Verdict
from firebreak.reading import Clock, awaiting_commands, latest_finding, proved, verify_command
from firebreak.record import Awaiting, MeasureStatus, PhaseStatus, RunStatus

_NARROW_TARGET = 48


class Detail(IntEnum):
    """How much of a run is shown, so that it fits a screen."""

    PHASES = 0
    """No measures: for several runs at a time."""
    OPEN = 1
    """The measures of the phases in progress."""
    FULL = 2
    """Every measure."""


def live(status: RunStatus, now: datetime, detail: Detail = Detail.FULL) -> RenderableType:
    """A run as it goes."""
    return Group(
        _headline(status),
        _clock_line(status, Clock.read(status, now)),
        Text(),
        _phases(status, now, detail),
        *_open_points(status),
        *_ending(status),
    )


def summary(status: RunStatus) -> RenderableType:
    """The run after it has ended: verdicts, findings, and where the evidence is."""
    return Group(
        _headline(status),
        Text(),
        _phases(status, status.triggered_at),
        *_open_points(status),
        *_ending(status),
    )


def progress_line(status: RunStatus) -> str:
    """One line for logs and pipes; it changes only when the run does."""
    phase = next((each for each in status.phases if each.started_at and not each.verified_at), None)
    parts = [status.incident_id, status.workload_id]
    if status.finished:
        parts.append(status.verdict.value)
    elif phase is None:
        parts.append("between phases" if any(each.started_at for each in status.phases) else "planning")
    else:
        parts.append(f"phase {int(phase.phase)} {phase.title}: {proved(phase)}")
    if status.awaiting:
        parts.append(_awaited(status.awaiting))
    return " | ".join(parts)


def _headline(status: RunStatus) -> Text:
    drill = Text(" DRILL ", style="reverse") if status.mode.value == "drill" else Text()
    return Text.assemble(
        (status.incident_id, "bold"),
        f"  {status.workload_id} ({status.cloud})  ",
        verdict_text(status.verdict),
        "  ",
        drill,
        f"triggered {both_times(status.triggered_at)}",
    )


def _clock_line(status: RunStatus, clock: Clock) -> RenderableType:
    late = clock.remaining < 0
    words = f"{duration(clock.elapsed)} of {duration(status.target_seconds)}"
    words += f", {'over by' if late else 'left'} {duration(abs(clock.remaining))}"
    if not status.finished:
        words += f", ends by {duration(clock.forecast)}"
    bar = ProgressBar(
        total=status.target_seconds,
        completed=min(clock.elapsed, status.target_seconds),
        width=30,
        complete_style="red"
        if late
        else "yellow"
        if clock.remaining < status.target_seconds / 5
        else "green",
        finished_style="red" if late else "green",
    )
    line = Table.grid(padding=(0, 2))
    line.add_row(bar, Text(words, style="bold red" if late else ""))
    return line


def _phases(status: RunStatus, now: datetime, detail: Detail = Detail.FULL) -> Table:
    rows: list[tuple[str | Text, ...]] = []
    for phase in status.phases:
        rows.append(_phase_row(phase, now))
        if detail is Detail.FULL or (detail is Detail.OPEN and _is_in_progress(phase)):
            rows.extend(_measure_row(measure) for measure in phase.measures)
        rows.extend(_deviation_row(each) for each in phase.deviations)
    return table(("", "verdict", "phase, measure and target", "time", "latest finding"), rows)


def _deviation_row(deviation: str) -> tuple[str | Text, ...]:
    return ("", "", Text(plain(f"deviation: {deviation}"), style="yellow"), "", "")


def _is_in_progress(phase: PhaseStatus) -> bool:
    return phase.started_at is not None and phase.verdict is not Verdict.CONTAINED


def _phase_row(phase: PhaseStatus, now: datetime) -> tuple[str | Text, ...]:
    spent = phase.elapsed_seconds
    if spent is None and phase.started_at and phase.verified_at is None:
        spent = (now - phase.started_at).total_seconds()
    time = f"{duration(spent)} / {duration(phase.budget_seconds)}" if spent is not None else ""
    return (
        str(int(phase.phase)),
        verdict_text(phase.verdict),
        Text(phase.title.upper(), style="bold"),
        time,
        proved(phase) if phase.started_at else "",
    )


def _measure_row(measure: MeasureStatus) -> tuple[str | Text, ...]:
    finding = latest_finding(measure)
    return (
        "",
        verdict_text(measure.verdict),
        f"  {measure.name}  {_short(measure.target)}",
        measure.change,
        Text(
            plain(measure.error or (finding.observed if finding else "")),
            style="red" if measure.error else "",
        ),
    )


def _open_points(status: RunStatus) -> Iterator[RenderableType]:
    if status.awaiting:
        yield Text(f"\n{plain(_awaited(status.awaiting))}", style="bold yellow")
        yield from (Text(f"  {command}") for command in awaiting_commands(status))
    yield from (Text(f"refused: {plain(each)}", style="red") for each in status.refusals)
    yield from (Text(f"warning: {plain(each)}", style="yellow") for each in status.warnings)
    yield from (Text(f"note: {plain(each)}", style="dim") for each in status.notes)


def _ending(status: RunStatus) -> Iterator[RenderableType]:
    if status.contained_at:
        within = "within" if status.within_target else "NOT within"
        took, target = duration(status.elapsed_seconds), duration(status.target_seconds)
        yield Text(f"\ncontained after {took}, {within} {target}")
    if status.evidence:
        yield Text(
            f"evidence {plain(status.evidence.uri)}\nmanifest sha256 {status.evidence.manifest_sha256}"
        )
        yield Text(f"check it with {plain(verify_command(status, status.evidence))}")


def _awaited(awaiting: Awaiting) -> str:
    what = "an approval" if awaiting.kind == "approval" else "a decision"
    phase = f" on {Phase(awaiting.phase).title}" if awaiting.phase else ""
    until = f" until {both_times(awaiting.until)}" if awaiting.until else ""
    return f"waiting for {what}{phase}{until}: {awaiting.reason}"


def _short(target: str) -> str:
    """The end of a long reference: the part that tells two resources apart."""
    return target if len(target) <= _NARROW_TARGET else f"...{target[-_NARROW_TARGET:]}"
