"""Flow logs that come late, and evidence that must be captured early."""

from __future__ import annotations

import asyncio

import pytest

from firebreak.model import Phase, Verdict
from tests.workflows.script import Act, Script, act, standard
from tests.workflows.stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")

NAME = "aws.quarantine-security-group"


def deferred(*plays: str) -> Script:
    part = act("quarantine-security-group", 2, *plays)  # type: ignore[arg-type]
    return Script(standard(part), flow_log_gate="deferred")


async def test_phase_3_starts_before_the_log_proof_and_the_verdict_waits_for_it(stage: Stage) -> None:
    script = deferred("awaiting")
    run = await stage.play(script)
    assert (await run.ended()).verdict is Verdict.CONTAINED
    events = run.recording.events
    third = run.recording.index("contain", "began", "aws.lock-objects")
    again = [i for i, e in enumerate(events) if (e.what, e.edge, e.name) == ("contain", "ended", NAME)][-1]
    calls = [step for step in run.recording.steps if step.step.measure == NAME]
    assert [(call.gate, call.applied is None) for call in calls] == [("prompt", True), ("all", False)]
    assert third >= 0
    assert run.recording.index("package", "began") > again


async def test_the_run_waits_for_a_log_proof_that_takes_its_time(stage: Stage) -> None:
    script = deferred("awaiting")
    late = script.act(script.acts[2].key).held_late = asyncio.Event()
    run = await stage.play(script)
    document = await run.until(lambda d: d.phases[3].verdict is Verdict.CONTAINED)
    assert (document.verdict, document.phases[1].verdict) == (Verdict.PENDING, Verdict.PENDING)
    assert run.recording.count("package") == 0
    late.set()
    assert (await run.ended()).verdict is Verdict.CONTAINED


async def test_the_verdict_is_not_contained_while_the_logs_are_missing(stage: Stage) -> None:
    run = await stage.play(deferred("awaiting", "unproven"))
    document = await run.asked()
    assert document.awaiting is not None
    assert document.awaiting.phase is Phase.NETWORK_ISOLATE
    assert document.verdict is Verdict.PENDING
    await run.decide("proceed", reason="the flow logs are down")
    document = await run.ended()
    assert document.verdict is Verdict.PARTIALLY_CONTAINED
    assert document.phases[1].verdict is Verdict.PARTIALLY_CONTAINED


async def test_a_retry_of_the_log_proof_is_waited_for_as_well(stage: Stage) -> None:
    run = await stage.play(deferred("awaiting", "unproven", "awaiting", "proved"))
    await run.asked()
    await run.decide("retry")
    document = await run.ended()
    assert document.verdict is Verdict.CONTAINED
    assert document.phases[1].verdict is Verdict.CONTAINED
    assert document.phases[1].verified_at is not None


async def test_a_retry_of_the_log_proof_leaves_what_was_accepted_unproved(stage: Stage) -> None:
    failing = act("cut-queue-channels", 2, "permanent")
    waiting = act("quarantine-security-group", 2, "awaiting", "unproven", "proved")
    run = await stage.play(Script(standard(failing, waiting), flow_log_gate="deferred"))
    await run.asked()
    await run.decide("proceed", reason="the queue is emptied by hand")
    document = await run.until(lambda d: d.awaiting is not None and d.phases[3].started_at is not None)
    assert document.awaiting is not None
    assert "cut-queue-channels" not in document.awaiting.reason
    await run.decide("retry")
    assert (await run.ended()).verdict is Verdict.PARTIALLY_CONTAINED
    tried = [step.step.measure for step in run.recording.steps]
    assert (tried.count("aws.cut-queue-channels"), tried.count(NAME)) == (1, 3)


async def test_the_strict_gate_never_leaves_log_evidence_for_later(stage: Stage) -> None:
    run = await stage.play(Script(standard(act("quarantine-security-group", 2, "awaiting"))))
    document = await run.asked()
    assert document.phases[2].started_at is None
    await run.decide("stop")
    await run.ended()


def preserving(how: str) -> Script:
    part = Act("aws.capture-memory-store", Phase.FORENSIC_CAPTURE, preserve_first=True, preserved=how)  # type: ignore[arg-type]
    return Script(standard(part))


async def test_volatile_evidence_is_captured_beside_phase_1_and_goes_into_the_package(stage: Stage) -> None:
    run = await stage.play(preserving("done"))
    assert (await run.ended()).verdict is Verdict.CONTAINED
    assert run.recording.index("preserve", "began") < run.recording.index(
        "contain", "began", "aws.lock-objects"
    )
    assert [stored.uri.split("/data/")[1] for stored in run.recording.packages[0].preserved] == [
        "preserved/aws.capture-memory-store/change.json"
    ]


@pytest.mark.parametrize("how", ["permanent", "transient"])
async def test_a_failing_pre_capture_is_said_and_delays_nothing(skipping: Stage, how: str) -> None:
    run = await skipping.play(preserving(how))
    await skipping.pass_time(61)
    document = await run.ended()
    assert document.verdict is Verdict.CONTAINED
    assert document.elapsed_seconds < 30
    assert any(note.startswith("pre-capture of arn:aws:iam") for note in document.notes)
    assert run.recording.packages[0].preserved == ()


async def test_phase_1_does_not_wait_for_the_pre_capture(stage: Stage) -> None:
    script = preserving("never")
    held = script.acts[0].held = asyncio.Event()
    run = await stage.play(script)
    await run.until(lambda _: run.recording.count("preserve") == 1 and run.recording.count("contain") == 2)
    held.set()
    document = await run.until(lambda d: d.contained_at is not None)
    assert document.finished is False
    assert run.recording.count("preserve") == 1
    await run.handle.terminate()
