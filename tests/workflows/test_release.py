"""Giving a workload back: in reverse, each step proved, and honest about what stays."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.client import WorkflowHandle

from firebreak import runs
from firebreak.cli.session import exit_code
from firebreak.errors import EvidenceError, GuardError, PermanentCloudError
from firebreak.model import Consent, Phase, Verdict
from firebreak.record import Decision, RunStatus
from tests.workflows.script import Act, Script, standard
from tests.workflows.stage import Played, Stage, until

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def released(run: Played, **people: str) -> RunStatus:
    started = await run.release(**people)
    handle = run.stage.client.get_workflow_handle(started.workflow_id)
    await handle.result()
    return await runs.status(handle)


async def test_release_reverts_phase_by_phase_in_reverse_order(stage: Stage) -> None:
    last = Act("aws.revoke-sessions", Phase.IDENTITY_REVOKE, last_in_release=True, reverts=("kept",))
    run = await stage.contained(Script(standard(last)))
    document = await released(run)
    assert document.verdict is Verdict.RELEASED
    phases = [event.phase for event in run.recording.events if event.what == "revert"]
    assert phases == sorted(phases, key=lambda phase: -(phase or 0))
    assert run.recording.order("revert")[-1] == "aws.revoke-sessions"
    changes = {measure.name: measure.change for measure in document.phases[0].measures}
    assert changes == {"aws.deny-all": "reverted", "aws.revoke-sessions": "kept"}
    assert exit_code(document) == 0
    assert run.recording.release_packages[0].request.approved_by == "sam"
    told = [(page.kind, page.verdict) for page in run.recording.pages][-2:]
    assert told == [("started", None), ("verdict", Verdict.RELEASED)]


async def test_the_last_step_of_a_phase_is_reverted_first(stage: Stage) -> None:
    lock = Act("aws.lock-last", Phase.ARTIFACT_FREEZE, last_in_phase=True)
    run = await stage.contained(Script(standard(lock)))
    assert (await released(run)).verdict is Verdict.RELEASED
    reverted = run.recording.index("revert", "ended", "aws.lock-last")
    for other in ("aws.lock-objects", "aws.stop-pipeline-promotion"):
        assert reverted < run.recording.index("revert", "began", other)


@pytest.mark.parametrize("second", ["casey", " Casey"])
async def test_one_person_cannot_release_alone(stage: Stage, second: str) -> None:
    run = await stage.contained(Script(standard()))
    with pytest.raises(GuardError, match="alone"):
        await released(run, approved_by=second)
    assert run.recording.count("revert") == 0


async def test_a_refused_release_reverts_nothing(stage: Stage) -> None:
    run = await stage.contained(Script(standard(), release_refusals=("model.bin is not what was frozen",)))
    document = await released(run)
    assert document.verdict is Verdict.REFUSED
    assert document.refusals == ("model.bin is not what was frozen",)
    assert document.evidence is not None
    assert run.recording.release_packages[0].facts.refusals == ["model.bin is not what was frozen"]
    assert run.recording.count("revert") == 0
    assert exit_code(document) == 4


@pytest.mark.parametrize("play", ["unproven", "permanent"])
async def test_a_revert_that_fails_leaves_the_release_unproven_and_it_can_be_repeated(
    stage: Stage, play: str
) -> None:
    part = Act("aws.detach-public-ip", Phase.NETWORK_ISOLATE, reverts=(play,))  # type: ignore[arg-type]
    run = await stage.contained(Script(standard(part)))
    document = await released(run)
    assert document.verdict is Verdict.UNPROVEN
    assert [phase.verdict for phase in document.phases].count(Verdict.RELEASED) == 3
    assert run.recording.count("revert") == 8
    assert exit_code(document) == 3
    assert (await released(run)).verdict is Verdict.RELEASED


async def test_a_release_without_sealed_evidence_is_unproven(stage: Stage) -> None:
    run = await stage.contained(Script(standard()))
    run.recording.script.package_errors = (EvidenceError,)
    document = await released(run)
    assert document.verdict is Verdict.UNPROVEN
    assert document.warnings[0].startswith("the release's evidence could not be sealed")
    assert (await released(run)).verdict is Verdict.RELEASED


async def test_a_release_that_cannot_be_planned_is_unproven_not_refused(stage: Stage) -> None:
    run = await stage.contained(Script(standard(), release_plan_errors=(PermanentCloudError,)))
    document = await released(run)
    assert document.verdict is Verdict.UNPROVEN
    assert exit_code(document) == 3
    assert run.recording.count("revert") == 0


async def test_a_refusal_that_cannot_be_sealed_stays_a_refusal(stage: Stage) -> None:
    run = await stage.contained(Script(standard(), release_refusals=("model.bin is not what was frozen",)))
    run.recording.script.package_errors = (EvidenceError,)
    document = await released(run)
    assert document.verdict is Verdict.REFUSED
    assert document.warnings[0].startswith("the release's evidence could not be sealed")


async def test_a_run_that_still_goes_on_cannot_be_released(stage: Stage) -> None:
    run = await stage.play(Script(standard(), consent=Consent(mode="approval")))
    await run.asked()
    await run.listed()
    with pytest.raises(GuardError, match="still running"):
        await released(run)
    await run.decide("reject")
    await run.ended()


async def test_a_refused_run_has_nothing_to_release(stage: Stage) -> None:
    run = await stage.contained(Script(standard(), refusals=("protected",)))
    with pytest.raises(GuardError, match="nothing to release"):
        await released(run)


async def asked_for(run: Played) -> WorkflowHandle[Any, Any]:
    started = await run.release(approved_by="")
    handle = run.stage.client.get_workflow_handle(started.workflow_id)
    await until(lambda: runs.status(handle), lambda document: document.awaiting is not None)
    return handle


async def decided(run: Played, kind: str, by: str) -> Decision:
    decision = Decision.model_validate({"by": by, "reason": "looked into it", "kind": kind})
    return await runs.decide(run.stage.client, run.incident_id, decision)


async def test_a_release_without_an_approver_waits_for_another_person(stage: Stage) -> None:
    run = await stage.contained(Script(standard()))
    handle = await asked_for(run)
    assert run.recording.count("revert") == 0
    with pytest.raises(GuardError, match="cannot approve it"):
        await decided(run, "approve", by=" CASEY")
    assert run.recording.count("revert") == 0
    await decided(run, "approve", by="sam")
    await handle.result()
    document = await runs.status(handle)
    assert document.verdict is Verdict.RELEASED
    assert [(d.by, bool(d.refused)) for d in document.decisions] == [(" CASEY", True), ("sam", False)]
    assert run.recording.release_packages[0].request.approved_by == "sam"


async def test_a_second_release_is_not_started_beside_one_that_waits(stage: Stage) -> None:
    run = await stage.contained(Script(standard()))
    handle = await asked_for(run)
    with pytest.raises(GuardError, match="asked for by casey waits for approval") as refused:
        await released(run, by="ben", approved_by="sam")
    assert f"firebreak approve {run.incident_id}" in refused.value.remedy
    document = await runs.status(handle)
    assert document.awaiting is not None
    assert run.recording.count("revert") == 0
    await decided(run, "approve", by="ben")
    await handle.result()
    assert (await runs.status(handle)).verdict is Verdict.RELEASED


async def test_a_release_that_is_rejected_reverts_nothing(stage: Stage) -> None:
    run = await stage.contained(Script(standard()))
    handle = await asked_for(run)
    await decided(run, "reject", by="sam")
    await handle.result()
    document = await runs.status(handle)
    assert document.verdict is Verdict.REJECTED
    assert run.recording.count("revert") == 0
    assert document.evidence is not None
    (package,) = run.recording.release_packages
    assert (package.request.approved_by, package.outcomes) == ("", ())
    assert [(d.kind, d.by) for d in package.facts.decisions] == [("reject", "sam")]
    assert exit_code(document) == 5
