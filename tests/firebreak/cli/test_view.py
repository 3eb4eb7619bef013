from __future__ import annotations

import io
import re
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console, RenderableType

from firebreak.cli import view
from firebreak.cli.output import duration
from firebreak.model import Cloud, Finding, Method, Mode, Phase, Verdict
from firebreak.reading import Clock
from firebreak.record import Awaiting, EvidenceStatus, MeasureStatus, PhaseStatus, RunStatus

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def finding(observed: str, *, holds: bool, seconds: float = 1) -> Finding:
    return Finding(holds=holds, method=Method.LIVE_PROBE, observed=observed, observed_at=at(seconds))


def measure(verdict: Verdict, *findings: Finding, error: str = "") -> MeasureStatus:
    return MeasureStatus(
        name="aws.deny-all", target="arn:aws:iam::1:role/agent", verdict=verdict,
        change="applied", error=error, findings=findings,
    )  # fmt: skip


def phase(
    number: int, *, started: float | None = None, verified: float | None = None, **more: object
) -> PhaseStatus:
    values = {
        "phase": Phase(number),
        "title": Phase(number).title,
        "verdict": Verdict.CONTAINED if verified else Verdict.PENDING,
        "started_at": at(started) if started is not None else None,
        "verified_at": at(verified) if verified is not None else None,
        "budget_seconds": 180,
    }
    return PhaseStatus.model_validate(values | more)


def run(*phases: PhaseStatus, **more: object) -> RunStatus:
    values = {
        "incident_id": "INC-1",
        "workflow_id": "containment-1",
        "workload_id": "agent",
        "cloud": Cloud.AWS,
        "mode": Mode.LIVE,
        "verdict": Verdict.PENDING,
        "triggered_at": START,
        "elapsed_seconds": 0,
        "within_target": False,
        "phases": phases or tuple(phase(n) for n in Phase),
    }
    return RunStatus.model_validate(values | more)


def text(renderable: RenderableType) -> str:
    output = io.StringIO()
    Console(file=output, width=160, markup=False, highlight=False).print(renderable)
    return output.getvalue()


def test_the_clock_counts_and_forecasts_from_the_budgets() -> None:
    status = run(phase(1, started=0, verified=100), phase(2, started=100), phase(3), phase(4))
    clock = Clock.read(status, at(130))
    assert (clock.elapsed, clock.remaining) == (130, 770)
    assert clock.forecast == 130 + (180 - 30) + 180 + 180


def test_the_clock_stands_once_the_run_is_contained() -> None:
    status = run(contained_at=at(200), elapsed_seconds=200, finished=True, verdict=Verdict.CONTAINED)
    assert Clock.read(status, at(5000)) == Clock(200, 700, 200)


def test_a_run_in_progress_shows_phase_measure_finding_and_clock() -> None:
    proved = measure(Verdict.CONTAINED, finding("denied: AccessDenied (403)", holds=True))
    screen = text(
        view.live(run(phase(1, started=0, measures=(proved,)), phase(2), phase(3), phase(4)), at(90))
    )
    for words in ("INC-1", "IDENTITY REVOKE", "aws.deny-all", "denied: AccessDenied (403)", "1:30 of 15:00"):
        assert words in screen
    assert "left 13:30" in screen


def test_the_compact_view_lists_the_measures_of_the_phase_in_progress_only() -> None:
    done = phase(1, started=0, verified=5, measures=(measure(Verdict.CONTAINED),))
    going = phase(2, started=5, measures=(measure(Verdict.PENDING),))
    status = run(done, going, phase(3), phase(4))
    assert text(view.live(status, at(9))).count("aws.deny-all") == 2
    assert text(view.live(status, at(9), view.Detail.OPEN)).count("aws.deny-all") == 1
    assert "1 of 1 measures proved" in text(view.live(status, at(9), view.Detail.OPEN))


def test_the_finding_that_does_not_hold_is_the_one_shown() -> None:
    findings = (finding("denied", holds=True, seconds=9), finding("still allowed", holds=False, seconds=5))
    screen = text(
        view.live(run(phase(1, started=0, measures=(measure(Verdict.UNPROVEN, *findings),))), at(10))
    )
    assert "still allowed" in screen


def test_an_overrun_is_said() -> None:
    assert "over by 1:00" in text(view.live(run(), at(960)))


@pytest.mark.parametrize(
    ("kind", "phase", "commands"),
    [
        ("approval", None, ["approve", "reject"]),
        ("decision", 1, ["retry", "proceed", "stop"]),
        ("decision", None, ["retry", "stop"]),  # planning failed, or sealing: there is no gate to go through
    ],
)
def test_what_is_awaited_is_shown_with_the_commands_that_answer_it(
    kind: str, phase: int | None, commands: list[str]
) -> None:
    awaiting = Awaiting.model_validate({"kind": kind, "phase": phase, "reason": "not proved", "since": START})
    screen = text(view.live(run(awaiting=awaiting), at(1)))
    assert "not proved" in screen
    assert re.findall(r"firebreak (\w+) INC-1 --by NAME --reason TEXT", screen) == commands


def test_the_summary_names_verdict_time_and_evidence() -> None:
    evidence = EvidenceStatus(uri="s3://evidence/INC-1", manifest_sha256="ab" * 32)
    status = run(
        contained_at=at(61), elapsed_seconds=61, within_target=True, finished=True,
        verdict=Verdict.CONTAINED, evidence=evidence,
    )  # fmt: skip
    screen = text(view.summary(status))
    assert "contained after 1:01, within 15:00" in screen
    assert "s3://evidence/INC-1" in screen
    command = f"firebreak evidence verify s3://evidence/INC-1 --trust KEY.pub --manifest-sha256 {'ab' * 32}"
    assert command in " ".join(screen.split())


def test_a_refusal_and_a_failure_are_shown_in_words() -> None:
    failed = measure(Verdict.UNPROVEN, error="AccessDenied for the responder")
    status = run(phase(1, measures=(failed,)), refusals=("too many targets",), verdict=Verdict.REFUSED)
    screen = text(view.summary(status))
    assert "refused: too many targets" in screen
    assert "AccessDenied for the responder" in screen


def test_a_drill_says_so() -> None:
    assert "DRILL" in text(view.live(run(mode=Mode.DRILL), at(1)))
    assert "DRILL" not in text(view.live(run(), at(1)))


def test_hostile_text_cannot_steer_the_terminal() -> None:
    hostile = finding("\x1b]0;owned\x07[bold]x[/bold]", holds=False)
    screen = text(view.live(run(phase(1, measures=(measure(Verdict.UNPROVEN, hostile),))), at(1)))
    assert "\x1b" not in screen
    assert "[bold]x[/bold]" in screen


def test_the_progress_line_changes_with_the_run_and_not_with_the_clock() -> None:
    waiting = run(phase(1, started=0, measures=(measure(Verdict.PENDING),)))
    proved = run(phase(1, started=0, measures=(measure(Verdict.CONTAINED),)), elapsed_seconds=7)
    assert view.progress_line(waiting) == "INC-1 | agent | phase 1 identity revoke: 0 of 1 measures proved"
    assert view.progress_line(proved) == "INC-1 | agent | phase 1 identity revoke: 1 of 1 measures proved"
    assert view.progress_line(run(finished=True, verdict=Verdict.UNPROVEN)) == "INC-1 | agent | unproven"


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00"), (59.9, "0:59"), (61, "1:01"), (3661, "1:01:01"), (-61, "-1:01")]
)
def test_durations_read_like_a_clock(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown
