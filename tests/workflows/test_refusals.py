"""What ends a run before its first change, and what only looks like it."""

from __future__ import annotations

import pytest
from temporalio.client import WorkflowFailureError

from firebreak.errors import (
    EvidenceError,
    GuardError,
    InventoryError,
    MissingPermissionError,
    PermanentCloudError,
    TransientCloudError,
    UsageError,
)
from firebreak.model import Consent, Verdict
from tests.workflows.script import Script, standard
from tests.workflows.stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_refused_plan_changes_nothing(stage: Stage) -> None:
    run = await stage.play(
        Script(standard(), refusals=("it is Firebreak's own principal", "too many targets"))
    )
    document = await run.ended()
    assert document.verdict is Verdict.REFUSED
    assert document.refusals == ("it is Firebreak's own principal", "too many targets")
    assert [run.recording.count(what) for what in ("mark", "contain", "package")] == [0, 0, 0]


@pytest.mark.parametrize("kind", [GuardError, MissingPermissionError, UsageError, InventoryError])
async def test_a_planning_error_that_says_no_refuses_the_run(stage: Stage, kind: type[Exception]) -> None:
    run = await stage.play(Script(standard(), plan_errors=(kind,)))
    document = await run.ended()
    assert document.verdict is Verdict.REFUSED
    assert document.refusals == ("plan fails as scripted",)
    assert run.recording.count("plan") == 1


@pytest.mark.parametrize("kind", [PermanentCloudError, EvidenceError])
async def test_any_other_planning_error_asks_and_a_retry_contains(
    stage: Stage, kind: type[Exception]
) -> None:
    run = await stage.play(Script(standard(), plan_errors=(kind,)))
    document = await run.asked()
    assert document.awaiting is not None
    assert document.awaiting.reason.startswith("nothing was changed: planning failed")
    await run.decide("retry")
    assert (await run.ended()).verdict is Verdict.CONTAINED


async def test_a_failed_plan_cannot_be_proceeded_with(stage: Stage) -> None:
    run = await stage.play(Script(standard(), plan_errors=(PermanentCloudError,)))
    await run.asked()
    with pytest.raises(Exception, match="update failed"):
        await run.decide("proceed")
    await run.decide("stop")
    document = await run.ended()
    assert document.verdict is Verdict.UNPROVEN
    assert run.recording.count("contain") == 0


async def test_a_busy_cloud_while_planning_is_waited_out(stage: Stage) -> None:
    run = await stage.play(Script(standard(), plan_errors=(TransientCloudError, TransientCloudError)))
    assert (await run.ended()).verdict is Verdict.CONTAINED


async def test_a_mark_that_cannot_be_written_asks_instead_of_failing_the_run(stage: Stage) -> None:
    script = Script(standard(), consent=Consent(mode="approval"), mark_errors=(EvidenceError,))
    run = await stage.play(script)
    await run.asked()
    await run.decide("approve")
    document = await run.until(lambda d: d.awaiting is not None and d.awaiting.kind == "decision")
    assert document.awaiting is not None
    assert "nothing was changed" in document.awaiting.reason
    assert run.recording.count("contain") == 0
    await run.decide("retry")
    assert (await run.ended()).verdict is Verdict.CONTAINED


async def test_an_answer_of_the_wrong_shape_fails_the_workflow_instead_of_hanging_it(stage: Stage) -> None:
    run = await stage.play(Script(standard(), malformed_plan=True))
    with pytest.raises(WorkflowFailureError) as failed:
        await run.handle.result()
    assert "validation error" in str(failed.value.cause)
