"""What may be said of a run, a phase and a measure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from firebreak import start
from firebreak.cli.session import exit_code
from firebreak.model import Cloud, Mode, Phase, Verdict, Workload
from firebreak.record import Plan, RunFacts, StepOutcome, Trigger
from firebreak.settings import Settings
from firebreak.statusdoc import SHOWN_TRIGGERS, phase_verdict, run_verdict, status
from tests.workflows.script import Script, act, observed, reference, standard
from tests.workflows.scripted import _plan, _step

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PART = act("deny-all", 1)
NOT_CONTAINED = [verdict for verdict in Verdict if verdict is not Verdict.CONTAINED]


def outcome(verdict: Verdict, **fields: object) -> StepOutcome:
    usual = {"measure": PART.measure, "target": PART.target, "phase": PART.phase, "verdict": verdict}
    return StepOutcome.model_validate(usual | fields)


def facts(**fields: object) -> RunFacts:
    usual = {
        "incident_id": "INC-1",
        "workflow_id": "w",
        "workload_id": "agent",
        "cloud": Cloud.AWS,
        "mode": Mode.LIVE,
        "triggered_at": AT,
    }
    return RunFacts.model_validate(usual | fields)


@pytest.mark.parametrize(
    "verdicts", list(product([Verdict.CONTAINED, Verdict.UNPROVEN, Verdict.PENDING], repeat=4))
)
def test_a_run_is_contained_only_when_every_phase_is(verdicts: tuple[Verdict, ...]) -> None:
    judged = run_verdict(verdicts)
    assert (judged is Verdict.CONTAINED) is (set(verdicts) == {Verdict.CONTAINED})
    assert (judged is Verdict.UNPROVEN) is (Verdict.CONTAINED not in verdicts)


def test_no_phase_at_all_is_no_proof() -> None:
    assert run_verdict([]) is Verdict.UNPROVEN


@pytest.mark.parametrize("other", NOT_CONTAINED)
def test_a_phase_with_one_unproved_step_is_at_most_partial(other: Verdict) -> None:
    contained = outcome(Verdict.CONTAINED)
    assert phase_verdict([contained, contained]) is Verdict.CONTAINED
    assert phase_verdict([contained, outcome(other)]) is Verdict.PARTIALLY_CONTAINED
    assert phase_verdict([outcome(other)]) is Verdict.UNPROVEN


@pytest.mark.parametrize(
    ("fields", "change"),
    [
        ({}, "pending"),
        ({"error": "AccessDenied"}, "failed"),
        ({"change": reference("INC-1", "change.json"), "changed": True}, "applied"),
        ({"change": reference("INC-1", "change.json")}, "already in place"),
        ({"verdict": Verdict.RELEASED, "change": reference("INC-1", "change.json")}, "reverted"),
    ],
)
def test_a_measures_change_is_told_in_words(fields: dict[str, object], change: str) -> None:
    made = outcome(Verdict.UNPROVEN).model_copy(update=fields)
    assert _measure_of(made) == change


def test_what_release_cannot_undo_is_kept() -> None:
    finding = observed(holds=True)[0].model_copy(update={"detail": {"kept": True}})
    assert _measure_of(outcome(Verdict.RELEASED, findings=(finding,))) == "kept"


@pytest.mark.parametrize("done", [True, False])
def test_a_measure_says_who_else_loses_its_target(*, done: bool) -> None:
    plan = _plan_of_one()
    shared = plan.steps[0].model_copy(update={"blast_radius": ("billing-agent", "reporting")})
    outcomes = {shared.key: outcome(Verdict.CONTAINED)} if done else {}
    document = status(facts(), plan.model_copy(update={"steps": (shared,)}), outcomes, AT)
    assert document.phases[0].measures[0].blast_radius == ("billing-agent", "reporting")


def test_a_storm_of_alerts_is_counted_and_its_first_ones_are_shown() -> None:
    storm = [_trigger().model_copy(update={"finding": str(number)}) for number in range(SHOWN_TRIGGERS + 5)]
    document = status(facts(alerts=storm, further_alerts=7), None, {}, AT)
    assert document.alerts == SHOWN_TRIGGERS + 12
    assert [each.finding for each in document.triggers] == [str(n) for n in range(SHOWN_TRIGGERS)]


def _measure_of(made: StepOutcome) -> str:
    document = status(facts(), _plan_of_one(), {made.key: made}, AT)
    return document.phases[0].measures[0].change


def _plan_of_one() -> Plan:
    request = start.request_for(  # the plan's own run is of no interest here
        Settings(), _workload(), _trigger(), "INC-1", Mode.LIVE
    )
    made = _plan(request, Script(standard()))
    return made.model_copy(update={"steps": (_step("INC-1", PART),)})


def _workload() -> Workload:
    return Workload(id="agent", cloud=Cloud.AWS, account="222222222222", region="eu-central-1")


def _trigger() -> Trigger:
    return Trigger(source="siem", reason="odd", requested_by="riley", received_at=AT)


def test_the_clock_runs_until_the_containment_and_then_stands_still() -> None:
    running = status(facts(), None, {}, AT + timedelta(seconds=61.5))
    assert (running.elapsed_seconds, running.within_target) == (61.5, False)
    done = facts(contained_at=AT + timedelta(seconds=42), ended_at=AT + timedelta(seconds=50))
    later = status(done, None, {}, AT + timedelta(hours=3))
    assert (later.elapsed_seconds, later.within_target) == (42, True)


@pytest.mark.parametrize(("seconds", "within"), [(900, True), (900.001, False)])
def test_the_target_is_fifteen_minutes_to_the_proof(seconds: float, within: bool) -> None:
    contained_at = AT + timedelta(seconds=seconds)
    assert status(facts(contained_at=contained_at), None, {}, AT).within_target is within


def test_a_run_that_ended_uncontained_is_not_within_the_target() -> None:
    document = status(facts(ended_at=AT + timedelta(seconds=5), verdict=Verdict.UNPROVEN), None, {}, AT)
    assert (document.within_target, document.finished, document.elapsed_seconds) == (False, True, 5)


def test_every_phase_is_listed_before_there_is_a_plan() -> None:
    document = status(facts(), None, {}, AT)
    assert [phase.phase for phase in document.phases] == list(Phase)
    assert {phase.verdict for phase in document.phases} == {Verdict.PENDING}
    assert document.alerts == 1


CODES = {
    Verdict.CONTAINED: 0,
    Verdict.RELEASED: 0,
    Verdict.PARTIALLY_CONTAINED: 3,
    Verdict.UNPROVEN: 3,
    Verdict.PENDING: 3,
    Verdict.REFUSED: 4,
    Verdict.REJECTED: 5,
}


@pytest.mark.parametrize("verdict", list(Verdict))
def test_every_verdict_has_its_exit_code(verdict: Verdict) -> None:
    assert exit_code(status(facts(verdict=verdict), None, {}, AT)) == CODES[verdict]
