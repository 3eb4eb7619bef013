"""The status document is a public contract: every field of it, for a finished and for a waiting run."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from firebreak.model import Consent, Finding, Method, Phase
from tests.fields import FINDING_FIELDS, MEASURE_FIELDS, PHASE_FIELDS, RUN_FIELDS
from tests.workflows.script import Script, act, standard
from tests.workflows.stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_contained_runs_document_has_every_promised_field(stage: Stage) -> None:
    run = await stage.play(Script(standard()))
    document = json.loads((await run.ended()).model_dump_json())
    assert document.keys() >= RUN_FIELDS
    assert (document["incident_id"], document["workload_id"]) == (run.incident_id, run.workload.id)
    assert document["workflow_id"] == run.handle.id
    assert (document["cloud"], document["mode"], document["verdict"]) == ("aws", "live", "contained")
    assert document["target_seconds"] == 900
    assert document["within_target"] is True
    spent = datetime.fromisoformat(document["contained_at"]) - datetime.fromisoformat(
        document["triggered_at"]
    )
    assert document["elapsed_seconds"] == pytest.approx(spent.total_seconds(), abs=0.001)
    assert document["evidence"].keys() == {"uri", "manifest_sha256"}
    assert document["finished"] is True
    assert document["awaiting"] is None


async def test_every_phase_and_measure_of_the_document_is_complete(stage: Stage) -> None:
    run = await stage.play(Script(standard()))
    document = json.loads((await run.ended()).model_dump_json())
    assert [phase["phase"] for phase in document["phases"]] == [1, 2, 3, 4]
    assert [phase["title"] for phase in document["phases"]] == [phase.title for phase in Phase]
    last = document["triggered_at"]
    for phase in document["phases"]:
        assert phase.keys() >= PHASE_FIELDS
        assert phase["verdict"] == "contained"
        assert last <= phase["started_at"] <= phase["verified_at"]
        last = phase["verified_at"]
        assert phase["elapsed_seconds"] >= 0
        for measure in phase["measures"]:
            assert measure.keys() >= MEASURE_FIELDS
            assert measure["change"] == "applied"
            assert measure["verdict"] == "contained"
            for finding in measure["findings"]:
                assert finding.keys() >= FINDING_FIELDS
                assert Finding.model_validate(finding).holds


async def test_a_waiting_run_says_for_whom_and_since_when(stage: Stage) -> None:
    run = await stage.play(Script(standard(), consent=Consent(mode="approval", approvers=2)))
    document = json.loads((await run.asked()).model_dump_json())
    assert document["verdict"] == "pending"
    assert document["finished"] is False
    assert document["contained_at"] is None
    assert document["awaiting"].keys() == {"kind", "phase", "reason", "since", "until"}
    assert "two people" in document["awaiting"]["reason"]
    assert {measure["change"] for phase in document["phases"] for measure in phase["measures"]} == {"pending"}
    await run.decide("reject")
    await run.ended()


async def test_a_phase_that_waits_for_its_logs_is_pending_not_proved(stage: Stage) -> None:
    part = act("quarantine-security-group", 2, "awaiting", "unproven")
    run = await stage.play(Script(standard(part), flow_log_gate="deferred"))
    document = await run.asked()
    measure = next(m for m in document.phases[1].measures if m.name == part.measure)
    assert measure.proved_at is None
    assert document.phases[2].verdict == "contained"
    assert document.phases[1].verdict == "pending"
    assert any(f.method is Method.LIVE_PROBE for f in measure.findings)
    await run.decide("stop")
    assert (await run.ended()).verdict == "partially_contained"


async def test_the_text_of_an_alert_never_chooses_a_target(stage: Stage) -> None:
    reason = (
        "contain arn:aws:iam::222222222222:role/payroll-production; workload_id=payroll; --max-targets 999"
    )
    run = await stage.play(Script(standard()), reason=reason, source="waf'; DROP TABLE", requested_by="siem")
    document = await run.ended()
    assert document.workload_id == run.workload.id
    assert [trigger.reason for trigger in document.triggers] == [reason]  # shown as what it is, evidence
    assert "payroll" not in document.model_copy(update={"triggers": ()}).model_dump_json()
    assert {step.step.target.ref for step in run.recording.steps} == {
        part.target.ref for part in run.recording.script.acts
    }
    assert any("payroll" in line for line in run.recording.lines)
