"""Proof by observation: what counts, what never does, and what is left to release."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firebreak import planning, steps
from firebreak.engine import Engine
from firebreak.errors import PermanentCloudError, TransientCloudError
from firebreak.measure import Progress, found, now
from firebreak.model import Change, Finding, Method, Phase, Verdict
from firebreak.record import Observations, Plan, PlannedStep, StepOutcome
from firebreak.steps import Gate, Polling, Streak
from tests.firebreak.imaginary import World
from tests.firebreak.story import request_for

SHUT = found(Method.LIVE_PROBE, "denied", holds=True)
OPEN = found(Method.LIVE_PROBE, "allowed", holds=False)
UNKNOWN = found(Method.LIVE_PROBE, "throttled", holds=False, inconclusive=True)
CONFIGURED = found(Method.CONFIGURATION, "policy in place", holds=True)
LOGGED = found(Method.LOG_EVIDENCE, "REJECT of our canary", holds=True)
SILENT = found(Method.LOG_EVIDENCE, "no record yet", holds=False, inconclusive=True)


def verdicts(*observations: tuple[Finding, ...], needed: int = 3, gate: Gate = "all") -> list[bool]:
    streak = Streak(needed)
    return [streak.add(each, gate) for each in observations]


def test_a_live_probe_needs_three_denials_in_a_row() -> None:
    assert verdicts((SHUT,), (SHUT,), (SHUT,)) == [False, False, True]


@pytest.mark.parametrize("other", [OPEN, UNKNOWN])
def test_one_that_does_not_hold_starts_again_from_nothing(other: Finding) -> None:
    assert verdicts((SHUT,), (SHUT,), (other,), (SHUT,), (SHUT,), (SHUT,)) == [False] * 5 + [True]


def test_configuration_alone_needs_one_observation() -> None:
    assert verdicts((CONFIGURED,)) == [True]
    assert verdicts((CONFIGURED, SHUT)) == [False]


def test_every_finding_of_an_observation_has_to_hold() -> None:
    assert verdicts((CONFIGURED, OPEN), (CONFIGURED, UNKNOWN), (CONFIGURED, SILENT), needed=1) == [False] * 3


def test_no_finding_at_all_never_counts() -> None:
    assert verdicts((), (), (), needed=1) == [False] * 3
    assert verdicts((), needed=1, gate="prompt") == [False]


def test_the_prompt_gate_leaves_log_evidence_for_later() -> None:
    assert verdicts((CONFIGURED, SILENT), gate="prompt") == [True]
    assert verdicts((CONFIGURED, SILENT), gate="all") == [False]
    assert verdicts((OPEN, LOGGED), needed=1, gate="prompt") == [False]
    assert verdicts((SILENT,), gate="prompt") == [True]


def test_everything_seen_is_kept_also_what_the_gate_ignores() -> None:
    streak = Streak(1)
    streak.add((CONFIGURED, SILENT), "prompt")
    assert list(streak.observations) == [(CONFIGURED, SILENT)]


@given(st.lists(st.sampled_from([SHUT, OPEN, UNKNOWN]), max_size=30), st.integers(1, 5))
def test_proof_is_exactly_that_many_denials_at_the_end(seen: list[Finding], needed: int) -> None:
    proved = verdicts(*((each,) for each in seen), needed=needed)
    for at, holds in enumerate(proved, start=1):
        assert holds is (at >= needed and all(each is SHUT for each in seen[at - needed : at]))


async def planned(engine: Engine, incident_id: str = "INC-1") -> Plan:
    return await planning.plan(engine, request_for(engine, incident_id))


def step_of(plan: Plan, phase: Phase) -> PlannedStep:
    return plan.of(phase)[-1]


def quick(seconds: float = 5, **fields: Any) -> Polling:
    return Polling(until=now() + timedelta(seconds=seconds), **fields)


async def contain(engine: Engine, plan: Plan, phase: Phase, **polling: Any) -> StepOutcome:
    return await steps.contain(engine, plan.run, step_of(plan, phase), quick(**polling), Progress())


def kept(engine: Engine, outcome: StepOutcome) -> Observations:
    assert outcome.findings_stored is not None
    return Observations.model_validate_json(engine.get(outcome.findings_stored))


async def test_a_step_is_applied_once_and_proved_by_three_denials(world: World, engine: Engine) -> None:
    outcome = await contain(engine, await planned(engine), Phase.NETWORK_ISOLATE)
    assert outcome.verdict is Verdict.CONTAINED
    assert outcome.changed
    assert outcome.observations == 3
    assert world.applied == ["gateway"]
    assert len(kept(engine, outcome).observations) == 3


async def test_a_second_call_after_a_crash_changes_nothing_more(world: World, engine: Engine) -> None:
    plan = await planned(engine)
    await contain(engine, plan, Phase.NETWORK_ISOLATE)
    again = await contain(engine, plan, Phase.NETWORK_ISOLATE)
    assert again.verdict is Verdict.CONTAINED
    assert not again.changed
    assert world.applied == ["gateway"]


async def test_a_store_that_goes_away_does_not_hold_up_the_change_and_its_record_stays_true(
    world: World, engine: Engine
) -> None:
    plan = await planned(engine)
    objects = world.root / "vault" / "objects"
    away = objects.rename(objects.with_name("away"))
    objects.touch()
    with pytest.raises(OSError, match="objects"):
        await contain(engine, plan, Phase.NETWORK_ISOLATE)
    assert world.applied == ["gateway"]
    objects.unlink()
    away.rename(objects)
    outcome = await contain(engine, plan, Phase.NETWORK_ISOLATE)
    assert outcome.verdict is Verdict.CONTAINED
    assert outcome.changed
    assert outcome.change is not None
    assert Change.model_validate_json(engine.get(outcome.change)).before == {"open": True}
    again = await contain(engine, plan, Phase.NETWORK_ISOLATE)
    assert not again.changed


async def test_a_failure_to_observe_is_inconclusive_and_never_proof(world: World, engine: Engine) -> None:
    world.verify_errors["gateway"] = [TransientCloudError("throttled") for _ in range(500)]
    outcome = await contain(engine, await planned(engine), Phase.NETWORK_ISOLATE, seconds=0.3)
    assert outcome.verdict is Verdict.UNPROVEN
    assert outcome.proved_at is None
    assert all(f.inconclusive and not f.holds for f in outcome.findings)
    assert "could not observe: throttled" in outcome.findings[0].observed


async def test_an_observation_that_fails_in_between_starts_the_count_again(
    world: World, engine: Engine
) -> None:
    plan = await planned(engine)
    world.verify_errors["gateway"] = [TransientCloudError("throttled")]
    outcome = await contain(engine, plan, Phase.NETWORK_ISOLATE)
    assert outcome.observations == 4


async def test_what_cannot_be_applied_is_an_error_not_an_outcome(world: World, engine: Engine) -> None:
    plan = await planned(engine)
    world.apply_errors["gateway"] = [PermanentCloudError("AccessDenied")]
    with pytest.raises(PermanentCloudError):
        await contain(engine, plan, Phase.NETWORK_ISOLATE)


async def test_missing_log_evidence_waits_under_the_prompt_gate_and_is_proved_later(
    world: World, engine: Engine
) -> None:
    plan = await planned(engine)
    world.log_lines["gateway"] = False
    early = await contain(engine, plan, Phase.NETWORK_ISOLATE, gate="prompt")
    assert (early.verdict, early.awaiting_logs, early.proved_at) == (Verdict.UNPROVEN, True, None)
    world.log_lines["gateway"] = True
    late = await steps.prove(engine, plan.run, step_of(plan, Phase.NETWORK_ISOLATE), early, quick())
    assert (late.verdict, late.awaiting_logs) == (Verdict.CONTAINED, False)
    assert late.change == early.change


async def test_a_stopping_worker_hands_over_and_the_next_one_counts_anew(
    world: World, engine: Engine
) -> None:
    plan = await planned(engine)

    async def stopping(_: float) -> bool:
        return True

    half = await contain(engine, plan, Phase.NETWORK_ISOLATE, pause=stopping)
    assert (half.interrupted, half.verdict, half.observations) == (True, Verdict.UNPROVEN, 1)
    whole = await steps.prove(engine, plan.run, step_of(plan, Phase.NETWORK_ISOLATE), half, quick())
    assert (whole.interrupted, whole.verdict, whole.observations) == (False, Verdict.CONTAINED, 4)
    assert world.applied == ["gateway"]


async def test_a_thing_that_opens_again_is_not_proved(world: World, engine: Engine) -> None:
    plan = await planned(engine)

    async def reopening(_: float) -> bool:
        world.open["gateway"] = True
        return False

    outcome = await contain(engine, plan, Phase.NETWORK_ISOLATE, pause=reopening, seconds=0.2)
    assert outcome.verdict is Verdict.UNPROVEN


async def test_the_volatile_pre_capture_lies_apart_from_the_capture(engine: Engine) -> None:
    plan = await planned(engine)
    step = step_of(plan, Phase.FORENSIC_CAPTURE)
    stored = await steps.preserve(engine, plan.run, step, Progress())
    assert "/data/preserved/gcp.capture/" in stored.uri
    proved = await contain(engine, plan, Phase.FORENSIC_CAPTURE)
    assert proved.change is not None
    assert proved.change.uri != stored.uri


async def test_a_step_knows_when_its_time_is_over_and_nobody_waits_for_a_pre_capture(engine: Engine) -> None:
    plan, polling = await planned(engine), quick()
    step = step_of(plan, Phase.FORENSIC_CAPTURE)
    early = await steps.preserve(engine, plan.run, step, Progress())
    proved = await steps.contain(engine, plan.run, step, polling, Progress())
    assert proved.change is not None
    told = [Change.model_validate_json(engine.get(each)).after["until"] for each in (early, proved.change)]
    assert told == ["", polling.until.isoformat()]


async def test_revert_restores_and_what_is_irreversible_says_so(world: World, engine: Engine) -> None:
    plan = await planned(engine)
    applied = await contain(engine, plan, Phase.NETWORK_ISOLATE)
    back = await steps.revert(engine, plan.run, step_of(plan, Phase.NETWORK_ISOLATE), applied)
    assert back.verdict is Verdict.RELEASED
    assert world.open["gateway"]
    sessions = next(step for step in plan.steps if step.irreversible)
    ended = await steps.contain(engine, plan.run, sessions, quick(), Progress())
    stays = await steps.revert(engine, plan.run, sessions, ended)
    assert stays.verdict is Verdict.RELEASED
    assert stays.findings[0].detail == {"kept": True}


def unknown(step: PlannedStep) -> StepOutcome:
    """What a run knows of a step whose activity never came back."""
    return StepOutcome(
        measure=step.measure,
        target=step.target,
        phase=step.phase,
        verdict=Verdict.UNPROVEN,
        error="timed out",
    )


async def test_a_change_whose_step_failed_afterwards_is_still_reverted(world: World, engine: Engine) -> None:
    plan = await planned(engine)
    step = step_of(plan, Phase.NETWORK_ISOLATE)
    await contain(engine, plan, Phase.NETWORK_ISOLATE)
    back = await steps.revert(engine, plan.run, step, unknown(step))
    assert back.verdict is Verdict.RELEASED
    assert world.open["gateway"]


async def failed_half_way(world: World, engine: Engine, plan: Plan, phase: Phase) -> None:
    thing = step_of(plan, phase).target.ref
    world.half_way.add(thing)
    world.apply_errors[thing] = [PermanentCloudError("AccessDenied half way")]
    with pytest.raises(PermanentCloudError):
        await contain(engine, plan, phase)


async def test_a_step_that_never_began_leaves_alone_what_somebody_else_changed(
    world: World, engine: Engine
) -> None:
    world.controls["gateway"] = {"works": ["probe"]}
    plan = await planned(engine)
    step = step_of(plan, Phase.NETWORK_ISOLATE)
    never = unknown(step).model_copy(update={"error": ""})
    world.controls["gateway"] = {"why_not": "its identity was cut in phase 1"}
    untouched = await steps.revert(engine, plan.run, step, never)
    assert untouched.verdict is Verdict.RELEASED
    world.open["gateway"] = False
    touched = await steps.revert(engine, plan.run, step, never)
    assert touched.verdict is Verdict.UNPROVEN
    assert "gateway" in touched.findings[0].observed
    assert not world.open["gateway"]


async def test_what_a_step_did_before_it_failed_for_good_is_undone(world: World, engine: Engine) -> None:
    plan = await planned(engine)
    step = step_of(plan, Phase.NETWORK_ISOLATE)
    await failed_half_way(world, engine, plan, Phase.NETWORK_ISOLATE)
    back = await steps.revert(engine, plan.run, step, unknown(step))
    assert (back.verdict, back.findings[0].observed) == (Verdict.RELEASED, "as before")
    assert world.open["gateway"]


async def test_what_cannot_be_undone_is_kept_only_where_it_happened(world: World, engine: Engine) -> None:
    plan = await planned(engine)
    step = next(step for step in plan.steps if step.irreversible)
    never = await steps.revert(engine, plan.run, step, unknown(step))
    assert (never.verdict, never.findings[0].detail) == (Verdict.RELEASED, {})
    world.open[step.target.ref] = False
    kept = await steps.revert(engine, plan.run, step, unknown(step))
    assert (kept.verdict, kept.findings[0].detail) == (Verdict.RELEASED, {"kept": True})
