"""Who has to agree before the first change; reject must not act."""

from __future__ import annotations

import asyncio

import pytest
from temporalio.client import WorkflowUpdateFailedError

from firebreak.model import Consent, Verdict
from tests.workflows.script import Script, standard
from tests.workflows.stage import Played, Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")


def needing(
    approvers: int = 1, *, mode: str = "approval", default: str = "contain", timeout: int = 300
) -> Script:
    consent = Consent.model_validate(
        {"mode": mode, "approvers": approvers, "default": default, "timeout_seconds": timeout}
    )
    return Script(standard(), consent=consent)


async def refused(run: Played, kind: str, by: str) -> str:
    with pytest.raises(WorkflowUpdateFailedError) as raised:
        await run.decide(kind, by=by)
    return str(raised.value.cause)


async def test_auto_asks_nobody(stage: Stage) -> None:
    document = await (await stage.play(needing(mode="auto"))).ended()
    assert (document.verdict, document.decisions) == (Verdict.CONTAINED, ())


async def test_a_confirmed_alert_needs_no_approval_where_the_workload_says_so(stage: Stage) -> None:
    document = await (await stage.play(needing(mode="auto_if_confirmed"), confirmed=True)).ended()
    assert (document.verdict, document.decisions) == (Verdict.CONTAINED, ())


async def test_an_unconfirmed_alert_waits_and_nothing_is_changed_meanwhile(stage: Stage) -> None:
    run = await stage.play(needing(mode="auto_if_confirmed"))
    document = await run.asked()
    assert document.awaiting is not None
    assert document.awaiting.kind == "approval"
    assert document.awaiting.until is not None
    assert [run.recording.count(what) for what in ("mark", "contain", "preserve")] == [0, 0, 0]
    await run.decide("approve")
    assert (await run.ended()).verdict is Verdict.CONTAINED


async def test_the_workload_is_marked_only_after_the_approval(stage: Stage) -> None:
    run = await stage.play(needing())
    await run.asked()
    await run.decide("approve")
    await run.ended()
    assert run.recording.count("mark") == 1
    assert run.recording.index("mark", "ended") < run.recording.index("contain", "began")


async def test_two_different_people_have_to_agree(stage: Stage) -> None:
    run = await stage.play(needing(2))
    await run.asked()
    await run.decide("approve", by="casey")
    assert (await run.status()).awaiting is not None
    assert "already approved" in await refused(run, "approve", "casey")
    assert run.recording.count("contain") == 0
    await run.decide("approve", by="sam")
    document = await run.ended()
    assert document.verdict is Verdict.CONTAINED
    assert [decision.by for decision in document.decisions] == ["casey", "sam"]


async def test_who_asked_for_it_cannot_approve_it(stage: Stage) -> None:
    run = await stage.play(needing())
    await run.asked()
    assert "cannot approve" in await refused(run, "approve", "riley")
    await run.decide("approve", by="casey")
    await run.ended()


async def test_another_spelling_of_a_name_is_no_other_person(stage: Stage) -> None:
    run = await stage.play(needing(2))
    await run.asked()
    assert "cannot approve" in await refused(run, "approve", " Riley ")
    await run.decide("approve", by="casey")
    assert "already approved" in await refused(run, "approve", "CASEY")
    await run.decide("reject", by="sam")
    await run.ended()


async def test_reject_changes_nothing_and_keeps_the_evidence_of_it(stage: Stage) -> None:
    run = await stage.play(needing())
    await run.asked()
    await run.decide("reject", reason="a planned load test")
    document = await run.ended()
    assert document.verdict is Verdict.REJECTED
    assert [run.recording.count(what) for what in ("mark", "contain", "preserve")] == [0, 0, 0]
    assert document.evidence is not None
    assert any("a planned load test" in line for line in run.recording.lines)


async def test_one_rejection_outweighs_any_approval_at_the_same_moment(stage: Stage) -> None:
    run = await stage.play(needing(2))
    await run.asked()
    await asyncio.gather(
        run.decide("reject", by="casey"),
        run.decide("approve", by="sam"),
        run.decide("approve", by="kim"),
        return_exceptions=True,
    )
    document = await run.ended()
    rejected = any(decision.kind == "reject" for decision in document.decisions)
    assert (run.recording.count("contain") == 0) is rejected
    assert (document.verdict is Verdict.REJECTED) is rejected


@pytest.mark.parametrize(
    ("default", "verdict"), [("contain", Verdict.CONTAINED), ("reject", Verdict.REJECTED)]
)
async def test_an_unanswered_approval_means_what_the_workload_declares(
    skipping: Stage, default: str, verdict: Verdict
) -> None:
    run = await skipping.play(needing(2, default=default, timeout=120))
    await skipping.pass_time(121)
    document = await run.ended()
    assert document.verdict is verdict
    assert document.elapsed_seconds >= 120
    assert document.notes == (f"approval unanswered: the default is to {default}",)
    assert (run.recording.count("contain") == 0) is (verdict is Verdict.REJECTED)


async def test_one_of_two_approvals_is_an_unanswered_one(stage: Stage) -> None:
    run = await stage.play(needing(2, default="reject", timeout=2))
    await run.asked()
    await run.decide("approve", by="casey")
    assert (await run.ended()).verdict is Verdict.REJECTED


async def test_a_run_that_waits_for_approval_is_rejected_not_stopped(stage: Stage) -> None:
    run = await stage.play(needing())
    await run.asked()
    assert "reject it instead" in await refused(run, "stop", "casey")
    await run.decide("reject")
    await run.ended()
