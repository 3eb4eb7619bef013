"""Four phases in order, each gated; what a failing step does, and what people may then decide."""

from __future__ import annotations

import asyncio

import pytest
from temporalio.client import WorkflowUpdateFailedError

from firebreak.evidence import custody
from firebreak.model import Phase, Verdict
from firebreak.record import RunStatus
from tests.workflows.script import Act, Play, Script, act, standard
from tests.workflows.scripted import Recording
from tests.workflows.stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")

FAILING: Play = "permanent"


def phase_of(document: RunStatus, number: int) -> Verdict:
    return document.phases[number - 1].verdict


def assert_phases_never_overlap(recording: Recording) -> None:
    """Every call of a phase ends, and its findings are sealed, before the next phase begins."""
    ended: set[Phase] = set()
    current = Phase.IDENTITY_REVOKE
    for event in recording.events:
        if event.what != "contain" or event.phase is None:
            continue
        assert event.phase >= current, f"{event} after {current!r}"
        if event.phase > current:
            ended.add(current)
        current = event.phase
        assert event.phase not in ended


async def test_phases_run_in_order_and_each_is_sealed_before_the_next(stage: Stage) -> None:
    run = await stage.play(Script(standard()))
    document = await run.ended()
    assert document.verdict is Verdict.CONTAINED
    assert_phases_never_overlap(run.recording)
    for phase in (1, 2, 3):
        sealed = run.recording.index("chain", "ended", f"phase-{phase}-{phase}")
        began = next(
            i for i, e in enumerate(run.recording.events) if e.what == "contain" and e.phase == phase + 1
        )
        assert sealed < began
    assert custody.check(run.recording.lines, run.incident_id, run.recording.head) == []


async def test_steps_of_one_phase_run_beside_each_other(stage: Stage) -> None:
    held = asyncio.Event()
    script = Script(standard(act("deny-all", 1), act("revoke-sessions", 1)))
    script.acts[0].held = script.acts[1].held = held
    run = await stage.play(script)
    await run.until(lambda _: run.recording.count("contain") == 2)
    held.set()
    assert (await run.ended()).verdict is Verdict.CONTAINED


async def test_the_last_step_of_a_phase_begins_when_the_others_are_done(stage: Stage) -> None:
    last = Act("aws.lock-last", Phase.ARTIFACT_FREEZE, last_in_phase=True)
    run = await stage.play(Script(standard(act("lock-objects", 3, then=FAILING), last)))
    document = await run.asked()
    assert document.awaiting is not None
    recording = run.recording
    began = recording.index("contain", "began", "aws.lock-last")
    for other in ("aws.lock-objects", "aws.stop-pipeline-promotion"):
        assert recording.index("contain", "ended", other) < began
    assert (
        "aws.lock-last" not in document.awaiting.reason
    )  # an unproved sibling does not keep it from its work
    await run.decide("stop")
    await run.ended()


async def test_a_failed_step_leaves_its_siblings_applied_and_asks_the_on_call(stage: Stage) -> None:
    run = await stage.play(Script(standard(act("detach-public-ip", 2, then=FAILING))))
    document = await run.asked()
    assert document.awaiting is not None
    assert document.awaiting.kind == "decision"
    assert document.awaiting.phase is Phase.NETWORK_ISOLATE
    assert "aws.detach-public-ip" in document.awaiting.reason
    assert "quarantine" not in document.awaiting.reason
    changes = {measure.name: measure.change for measure in document.phases[1].measures}
    assert changes == {"aws.quarantine-security-group": "applied", "aws.detach-public-ip": "failed"}
    await run.until(lambda _: "decision_needed" in [page.kind for page in run.recording.pages])
    assert run.recording.count("revert") == 0
    await run.decide("stop")
    await run.ended()


async def test_retry_tries_only_what_is_not_proved(stage: Stage) -> None:
    run = await stage.play(Script(standard(act("deny-all", 1, FAILING))))
    await run.asked()
    await run.decide("retry")
    document = await run.ended()
    assert document.verdict is Verdict.CONTAINED
    assert run.recording.count("contain", "aws.deny-all") == 2
    assert run.recording.count("contain", "aws.revoke-sessions") == 1
    assert document.phases[0].measures[0].error == ""


async def test_an_unproved_step_that_proves_on_a_later_attempt_is_contained(stage: Stage) -> None:
    run = await stage.play(Script(standard(act("lock-objects", 3, "unproven", "unproven"))))
    for attempt in (1, 2):
        await run.until(lambda d, n=attempt: d.awaiting is not None and len(d.decisions) == n - 1)  # type: ignore[misc]
        await run.decide("retry", reason=f"attempt {attempt}")
    assert (await run.ended()).verdict is Verdict.CONTAINED
    assert custody.check(run.recording.lines, run.incident_id, run.recording.head) == []


async def test_proceed_is_a_deviation_in_a_persons_name_and_never_contained(stage: Stage) -> None:
    run = await stage.play(Script(standard(act("detach-public-ip", 2, then="unproven"))))
    await run.asked()
    await run.decide("proceed", by="casey", reason="the address is a honeypot")
    document = await run.ended()
    assert document.verdict is Verdict.PARTIALLY_CONTAINED
    assert phase_of(document, 2) is Verdict.PARTIALLY_CONTAINED
    assert document.phases[1].deviations == (
        "proceeded unproved: casey accepted the risk: the address is a honeypot",
    )
    assert phase_of(document, 4) is Verdict.CONTAINED
    assert document.contained_at is None


async def test_stop_ends_the_run_and_what_is_contained_stays_contained(stage: Stage) -> None:
    run = await stage.play(Script(standard(act("lock-objects", 3, then=FAILING))))
    await run.asked()
    await run.decide("stop", reason="the forensic team takes over")
    document = await run.ended()
    assert document.verdict is Verdict.PARTIALLY_CONTAINED
    assert [phase_of(document, n) for n in (1, 2)] == [Verdict.CONTAINED] * 2
    assert phase_of(document, 4) is Verdict.PENDING
    assert run.recording.count("contain", "aws.capture-audit-log") == 0
    assert run.recording.count("revert") == 0
    assert run.recording.count("package") == 1


async def test_stop_in_the_middle_of_a_phase_ends_at_its_gate(stage: Stage) -> None:
    script = Script(standard(act("detach-public-ip", 2)))
    held = next(part for part in script.acts if part.measure == "aws.detach-public-ip").held = asyncio.Event()
    run = await stage.play(script)
    await run.until(lambda _: run.recording.count("contain", "aws.detach-public-ip") == 1)
    await run.decide("stop")
    held.set()
    document = await run.ended()
    assert [phase_of(document, n) for n in (1, 2, 3)] == [
        Verdict.CONTAINED,
        Verdict.CONTAINED,
        Verdict.PENDING,
    ]
    assert document.verdict is Verdict.PARTIALLY_CONTAINED


async def test_stop_while_planning_changes_nothing(stage: Stage) -> None:
    script = Script(standard(), planning_held=asyncio.Event())
    run = await stage.play(script)
    await run.until(lambda _: run.recording.count("plan") == 1)
    await run.decide("stop", reason="false alarm")
    assert script.planning_held is not None
    script.planning_held.set()
    document = await run.ended()
    assert document.verdict is Verdict.UNPROVEN
    assert run.recording.count("contain") == 0


async def test_transient_failures_are_retried_and_still_contained(stage: Stage) -> None:
    script = Script(
        tuple(act(part.measure.removeprefix("aws."), part.phase, "transient") for part in standard())
    )
    run = await stage.play(script)
    document = await run.ended()
    assert document.verdict is Verdict.CONTAINED
    assert run.recording.count("contain") == 16
    assert document.decisions == ()


async def test_an_outage_of_a_whole_budget_is_unproven_and_asks(skipping: Stage) -> None:
    run = await skipping.play(Script(standard(act("deny-all", 1, then="transient"))))
    await skipping.pass_time(300)
    document = await run.asked()
    assert "ThrottlingException" in document.phases[0].measures[0].error
    await run.decide("stop")
    assert (await run.ended()).phases[0].verdict is Verdict.PARTIALLY_CONTAINED


async def test_an_interrupted_step_goes_on_elsewhere_without_being_applied_again(stage: Stage) -> None:
    run = await stage.play(Script(standard(act("deny-all", 1, "interrupted", "interrupted"))))
    assert (await run.ended()).verdict is Verdict.CONTAINED
    calls = [step for step in run.recording.steps if step.step.measure == "aws.deny-all"]
    assert [call.applied is None for call in calls] == [True, False, False]
    assert len({call.until for call in calls}) == 1


async def test_a_phase_declared_empty_is_a_deviation_and_an_undeclared_one_is_no_proof(stage: Stage) -> None:
    acts = tuple(part for part in standard() if part.phase is not Phase.NETWORK_ISOLATE)
    declared = await stage.play(
        Script(acts, empty_phases={Phase.NETWORK_ISOLATE: "runs inside the provider"})
    )
    document = await declared.ended()
    assert document.verdict is Verdict.CONTAINED
    assert document.phases[1].deviations == ("declared absent: runs inside the provider",)
    undeclared = await (await stage.play(Script(acts))).ended()
    assert undeclared.phases[1].verdict is Verdict.UNPROVEN
    assert undeclared.verdict is Verdict.PARTIALLY_CONTAINED


@pytest.mark.parametrize("kind", ["retry", "proceed", "approve", "reject"])
async def test_decisions_that_nobody_asked_for_are_refused(stage: Stage, kind: str) -> None:
    script = Script(standard())
    held = script.acts[0].held = asyncio.Event()
    run = await stage.play(script)
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await run.decide(kind)
    assert "does not wait" in str(refused.value.cause)
    held.set()
    assert (await run.ended()).decisions == ()


async def test_a_decision_is_taken_only_under_its_own_name(stage: Stage) -> None:
    run = await stage.play(Script(standard(act("deny-all", 1, then=FAILING))))
    await run.asked()
    with pytest.raises(WorkflowUpdateFailedError):
        await run.handle.execute_update("retry", {"kind": "proceed", "by": "casey", "reason": "hm"})
    await run.decide("stop")
    await run.ended()


async def test_only_the_first_of_two_decisions_at_once_counts(stage: Stage) -> None:
    run = await stage.play(Script(standard(act("deny-all", 1, then=FAILING))))
    await run.asked()
    made = await asyncio.gather(
        run.decide("proceed", by="casey"), run.decide("proceed", by="sam"), return_exceptions=True
    )
    accepted = [each for each in made if not isinstance(each, BaseException)]
    document = await run.ended()
    assert len(accepted) == 1
    assert [decision.by for decision in document.decisions] == [accepted[0].by]
