"""Without sealed evidence nothing counts as contained; and what the run keeps about itself."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from temporalio.client import WorkflowUpdateFailedError

from firebreak import runs
from firebreak.errors import EvidenceError, GuardError, TransientCloudError
from firebreak.evidence import custody
from firebreak.model import Consent, Verdict
from firebreak.record import Decision
from tests.workflows.script import Script, act, standard
from tests.workflows.stage import Stage
from workflows.alerts import KEPT_ALERTS

pytestmark = pytest.mark.asyncio(loop_scope="session")


UNSEALED = "the evidence package could not be sealed: package fails as scripted"


async def test_a_package_that_cannot_be_sealed_is_never_contained(stage: Stage) -> None:
    run = await stage.play(Script(standard(), package_errors=(EvidenceError,)))
    document = await run.asked()
    assert document.awaiting is not None
    assert (document.awaiting.phase, document.awaiting.reason) == (None, UNSEALED)
    assert document.verdict is Verdict.PARTIALLY_CONTAINED
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await run.decide("proceed")
    assert "without its sealed evidence nothing counts as contained" in str(refused.value.cause)
    await run.decide("stop")
    document = await run.ended()
    assert document.verdict is Verdict.PARTIALLY_CONTAINED
    assert document.contained_at is None
    assert document.within_target is False
    assert document.evidence is None
    assert document.warnings == (UNSEALED,)
    assert (await run.handle.result()).sealed is None
    assert "breach" in [page.kind for page in run.recording.pages]
    await run.listed()
    with pytest.raises(GuardError, match="never sealed") as unreleasable:
        await run.release()
    assert "contain the workload again" in unreleasable.value.remedy


async def test_a_package_that_is_sealed_again_is_contained_from_then_on_and_releasable(stage: Stage) -> None:
    run = await stage.play(Script(standard(), package_errors=(EvidenceError,)))
    document = await run.asked()
    assert document.awaiting is not None
    await run.decide("retry")
    asked, document = document.awaiting.since, await run.ended()
    assert document.verdict is Verdict.CONTAINED
    assert document.contained_at is not None
    assert document.contained_at > asked
    assert document.evidence is not None
    assert custody.check(run.recording.lines, run.incident_id, run.recording.head) == []
    assert any("retry: looked into it" in line for line in run.recording.lines)
    await run.listed()
    assert (await run.release()).incident_id == run.incident_id


async def test_time_that_runs_out_before_a_failing_seal_is_a_breach(skipping: Stage) -> None:
    late = await skipping.now() - timedelta(seconds=700)
    run = await skipping.play(
        Script(standard(), package_errors=(TransientCloudError,) * 40), received_at=late
    )
    await run.until(lambda d: d.contained_at is not None)
    await skipping.pass_time(301)
    await run.asked()
    await run.decide("retry")
    await skipping.pass_time(60)
    document = await run.until(lambda d: d.finished)
    assert (document.verdict, document.within_target) == (Verdict.CONTAINED, False)
    assert "not contained within 15 minutes; the run goes on" in document.warnings


async def test_a_busy_store_delays_the_package_only(stage: Stage) -> None:
    run = await stage.play(Script(standard(), package_errors=(TransientCloudError,)))
    document = await run.ended()
    assert document.verdict is Verdict.CONTAINED
    assert document.evidence is not None


async def test_findings_that_could_not_be_chained_follow_with_the_next_part(stage: Stage) -> None:
    run = await stage.play(Script(standard(), chain_errors=(EvidenceError, EvidenceError)))
    document = await run.ended()
    assert document.verdict is Verdict.CONTAINED
    assert document.warnings == (
        "the findings of identity revoke are not sealed yet: chain fails as scripted",
        "the findings of network isolate are not sealed yet: chain fails as scripted",
    )
    assert custody.check(run.recording.lines, run.incident_id, run.recording.head) == []
    text = "\n".join(run.recording.lines)
    assert all(part.measure in text for part in run.recording.script.acts)


async def test_a_store_that_stays_away_ends_without_evidence_and_the_measures_still_run(stage: Stage) -> None:
    run = await stage.play(Script(standard(), chain_errors=(EvidenceError,) * 9))
    await run.asked()
    await run.decide("stop")
    document = await run.ended()
    assert document.verdict is Verdict.PARTIALLY_CONTAINED
    assert run.recording.count("contain") == 8
    assert run.recording.count("package") == 0


async def test_the_chain_tells_each_thing_once(stage: Stage) -> None:
    script = Script(standard(act("quarantine-security-group", 2, "awaiting")), flow_log_gate="deferred")
    run = await stage.play(script)
    await run.ended()
    entries = [custody.read(line) for line in run.recording.lines]
    assert custody.check(run.recording.lines, run.incident_id, run.recording.head) == []
    changed = [(e.action, e.summary, e.at) for e in entries if "detach-public-ip" in e.summary]
    assert len(changed) == len(set(changed)) == 2
    assert [entry.action for entry in entries[:2]] == ["triggered", "planned"]


async def test_every_proved_outcome_goes_by_reference_and_failures_go_whole(stage: Stage) -> None:
    run = await stage.play(Script(standard(act("lock-objects", 3, then="permanent"))))
    await run.asked()
    await run.decide("proceed")
    await run.ended()
    package = run.recording.packages[0]
    assert len(package.proved) == 7
    assert [outcome.measure for outcome in package.failed] == ["aws.lock-objects"]
    assert package.failed[0].error == "AccessDenied of the responder"
    assert len(package.segments) == 4


async def test_a_retry_goes_on_from_what_was_observed_before(stage: Stage) -> None:
    run = await stage.play(Script(standard(act("lock-objects", 3, "unproven"))))
    await run.asked()
    await run.decide("retry")
    await run.ended()
    first, again = [each for each in run.recording.steps if each.step.measure == "aws.lock-objects"]
    assert first.seen is None
    seen = next(each for each in run.recording.outcomes if each.measure == "aws.lock-objects")
    assert again.seen == seen.findings_stored is not None


async def test_a_refused_decision_stays_on_the_run(stage: Stage) -> None:
    run = await stage.play(Script(standard(), consent=Consent(mode="approval")))
    await run.asked()
    await run.listed()
    own = Decision(kind="approve", by="riley", reason="hurry")
    with pytest.raises(GuardError, match="cannot approve"):
        await runs.decide(stage.client, run.incident_id, own)
    await run.until(lambda d: len(d.decisions) == 1)
    await runs.decide(stage.client, run.incident_id, own.model_copy(update={"by": "casey"}))
    document = await run.ended()
    assert [(d.by, bool(d.refused)) for d in document.decisions] == [("riley", True), ("casey", False)]
    assert all(d.decided_at is not None for d in document.decisions)
    assert any("not accepted" in line and "riley" in line for line in run.recording.lines)
    with pytest.raises(GuardError, match="has ended"):
        await runs.decide(stage.client, run.incident_id, own)


async def test_alerts_on_a_running_workload_join_its_run_and_a_storm_stays_small(stage: Stage) -> None:
    run = await stage.play(Script(standard(act("deny-all", 1, "unproven"))))
    await run.asked()
    alert = await stage.trigger(source="waf", reason="x" * 2000, requested_by="guardduty")
    for _ in range(KEPT_ALERTS + 10):
        await run.handle.signal("record_alert", alert)
    document = await run.until(lambda d: d.alerts == KEPT_ALERTS + 11)
    await run.decide("retry")
    document = await run.ended()
    assert document.verdict is Verdict.CONTAINED
    assert len(run.recording.packages[0].model_dump_json()) < 256 * 1024
    told = [entry for entry in map(json.loads, run.recording.lines) if entry["action"] == "triggered"]
    assert len(told) == KEPT_ALERTS
