"""The report's page from facts made by hand; the whole way from a package is under test with the CLI."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from firebreak.errors import SettingsError, UsageError
from firebreak.evidence.custody import Action, Actor, CustodyEntry
from firebreak.evidence.verify import Problem, Report, Step
from firebreak.model import (
    Budgets,
    Cloud,
    Finding,
    Method,
    Mode,
    Phase,
    Stored,
    Target,
    Verdict,
    Workload,
)
from firebreak.record import Plan, RunRef, StepOutcome, Trigger
from firebreak.report import clocks, page
from firebreak.report.facts import Alteration, Facts, PhaseFacts
from firebreak.report.plot import LEFT, WIDTH, plot

AT = datetime(2026, 1, 2, 3, 0, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"
STORED = Stored(uri="s3://e/x", version_id="1", sha256="ab" * 32, size=10)
TARGET = Target(kind="iam-role", ref="arn:aws:iam::222222222222:role/agent", account="2", region="r")


def facts(**fields: Any) -> Facts:
    run = RunRef(incident_id="INC-1", cloud=Cloud.AWS, mode=Mode.LIVE, triggered_at=AT, workload=STORED)
    usual: dict[str, Any] = {
        "verification": Report(
            path="p", steps=(Step(number=1, title="t", checked="c"),), incident_id="INC-1", mode=Mode.LIVE
        ),
        "workload": Workload(id="agent", cloud=Cloud.AWS, account="222222222222", region="eu-central-1"),
        "trigger": Trigger(source="siem", reason="exfiltration", requested_by="riley", received_at=AT),
        "plan": Plan(run=run),
        "verdict": "contained",
        "triggered_at": AT,
        "contained_at": AT + timedelta(minutes=4),
        "phases": tuple(phase_facts(phase, minute) for minute, phase in enumerate(Phase)),
        "steps": (),
        "alterations": (),
        "exhibits": (),
    }
    return Facts(**usual | fields)


def phase_facts(phase: Phase, minute: int, **fields: Any) -> PhaseFacts:
    usual = {
        "phase": phase,
        "title": phase.title,
        "verdict": "contained",
        "started_at": AT + timedelta(minutes=minute),
        "verified_at": AT + timedelta(minutes=minute + 1),
        "elapsed_seconds": 60.0,
        "budget_seconds": Budgets().of(phase).total_seconds(),
    }
    return PhaseFacts.model_validate(usual | fields)


def written(made: Facts) -> str:
    return page.html(made, clocks.load(), made_at=AT)


class Elements(HTMLParser):
    """Counts elements and collects addresses of other places."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href"}]


def test_what_an_attacker_may_have_written_is_shown_as_text() -> None:
    step = StepOutcome(
        measure="aws.deny-all",
        target=TARGET,
        phase=Phase.IDENTITY_REVOKE,
        error=HOSTILE,
        findings=(Finding(holds=False, method=Method.LIVE_PROBE, observed=HOSTILE, observed_at=AT),),
    )
    trigger = Trigger(source=HOSTILE, reason=HOSTILE, requested_by=HOSTILE, received_at=AT)
    found = Elements(written(facts(steps=(step,), trigger=trigger)))
    assert not {"script", "img"} & set(found.names)


def test_the_page_refers_to_nothing_outside_itself() -> None:
    found = Elements(written(facts()))
    assert found.addresses == []
    assert not {"link", "iframe", "script"} & set(found.names)


def test_alterations_carry_the_digest_of_the_state_before() -> None:
    change = Alteration(measure="aws.deny-all", target=TARGET.ref, applied_at=AT, before_sha256="cd" * 32)
    assert "cd" * 32 in written(facts(alterations=(change,)))


def test_decisions_and_deviations_name_who_and_why() -> None:
    entry = CustodyEntry(
        event_id="d-1",
        action=Action.DECIDED,
        actor=Actor(who="casey", human=True),
        at=AT,
        summary="proceed: the bucket belongs to a partner",
        seq=1,
        prev_hash="0" * 64,
    )
    phases = tuple(
        phase_facts(phase, 0, deviations=("proceeded unproved: casey accepted the risk",)) for phase in Phase
    )
    text = written(facts(custody=(entry,), phases=phases))
    assert "the bucket belongs to a partner" in text
    assert "Phase 2: proceeded unproved: casey accepted the risk" in text


def test_a_package_that_is_not_genuine_is_said_to_be_so_on_top() -> None:
    broken = Step(number=2, title="t", checked="c", problems=(Problem(step=2, item="x", message="altered"),))
    text = written(facts(verification=Report(path="p", steps=(broken,))))
    assert "1 problems: do not rely on it" in text
    assert "genuine" not in text


def test_a_run_that_never_ended_a_phase_is_drawn_and_says_so() -> None:
    open_phase = phase_facts(
        Phase.NETWORK_ISOLATE, 1, verdict="unproven", verified_at=None, elapsed_seconds=None
    )
    never = phase_facts(
        Phase.ARTIFACT_FREEZE, 1, verdict="pending", started_at=None, verified_at=None, elapsed_seconds=None
    )
    made = facts(phases=(phase_facts(Phase.IDENTITY_REVOKE, 0), open_phase, never), contained_at=None)
    first, second, third = plot(made).bars
    assert (first.label, second.label, third.label) == ("1:00", "-", "-")
    assert second.width > third.width == 0
    assert 'class="unproven"' in written(made)


def test_phases_are_drawn_to_scale_of_the_target_or_of_what_it_took() -> None:
    quick = plot(facts())
    assert quick.target_x == LEFT + WIDTH
    assert quick.bars[1].x == pytest.approx(LEFT + WIDTH / 15)
    slow = phase_facts(Phase.IDENTITY_REVOKE, 0, verified_at=AT + timedelta(minutes=30), elapsed_seconds=1800)
    assert plot(facts(phases=(slow,))).target_x == pytest.approx(LEFT + WIDTH / 2)
    assert plot(facts(phases=(slow,))).bars[0].used == pytest.approx(10)


def test_duties_run_from_awareness_and_the_rest_wait_for_a_person() -> None:
    found = clocks.due(clocks.load(), AT)
    dates = [each.due_at for each in found if each.due_at]
    assert dates == sorted(dates)
    assert found[0].due_at == AT + timedelta(hours=24)
    assert {each.clock.starts_at for each in found if each.due_at is None} == {
        "classification",
        "notification",
    }


def test_duties_are_data_with_a_date_and_a_source() -> None:
    deadlines = clocks.load()
    assert deadlines.reviewed_on.year >= 2026
    assert all(clock.source for clock in deadlines.clocks)
    regimes = " ".join(clock.regime for clock in deadlines.clocks)
    assert all(name in regimes for name in ("AI Act", "NIS2", "DORA", "GDPR"))


def test_a_file_of_duties_that_is_wrong_is_a_clear_error(tmp_path: Path) -> None:
    own = tmp_path / "duties.yaml"
    own.write_text("clocks: [{regime: x}]", encoding="utf-8")
    with pytest.raises(SettingsError, match="reviewed_on"):
        clocks.load(own)


def test_without_weasyprint_a_pdf_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "weasyprint", None)  # how Python marks a module that is not there
    with pytest.raises(UsageError, match="a PDF cannot be written here") as caught:
        page.pdf(written(facts()), tmp_path / "report.pdf")
    assert "firebreak[pdf]" in caught.value.remedy


def test_a_pdf_is_written_where_weasyprint_is(tmp_path: Path) -> None:
    pytest.importorskip("weasyprint", exc_type=ImportError)
    where = tmp_path / "report.pdf"
    page.pdf(written(facts()), where)
    assert where.read_bytes().startswith(b"%PDF")


def test_an_unproven_step_is_not_counted_as_contained() -> None:
    step = StepOutcome(
        measure="aws.deny-all", target=TARGET, phase=Phase.IDENTITY_REVOKE, verdict=Verdict.UNPROVEN
    )
    assert facts(steps=(step,)).of(Phase.IDENTITY_REVOKE) == (step,)
    assert '<td class="unproven">unproven</td>' in written(facts(steps=(step,)))
