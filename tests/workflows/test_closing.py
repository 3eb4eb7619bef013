"""However a run closes, people hear of it, and what was changed can be released."""

from __future__ import annotations

import asyncio

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError

from firebreak import start
from firebreak.errors import GuardError
from firebreak.model import Consent, Verdict
from tests.workflows.script import Script, act, standard
from tests.workflows.stage import Played, Stage, until

pytestmark = pytest.mark.asyncio(loop_scope="session")


def kinds(run: Played) -> list[str]:
    return [page.kind for page in run.recording.pages]


async def paged(run: Played, text: str) -> None:
    async def messages() -> list[str]:
        return [page.message for page in run.recording.pages]

    await until(messages, lambda told: any(text in each for each in told))


async def listed(run: Played) -> bool:
    query = f"WorkflowId = '{run.handle.id}'"
    return [each async for each in run.stage.client.list_workflows(query)] != []


async def refusal(run: Played) -> str:
    await until(lambda: listed(run), bool)
    with pytest.raises(GuardError) as refused:
        await start.release(
            run.stage.client, run.stage.settings, run.incident_id, by="casey", approved_by="sam", reason="x"
        )
    return f"{refused.value.message}; {refused.value.remedy}"


async def test_a_cancelled_run_stops_at_the_next_gate_and_seals_what_is_in_force(stage: Stage) -> None:
    script = Script(standard())
    held = script.acts[2].held = asyncio.Event()
    run = await stage.play(script)
    await run.until(lambda d: d.phases[1].started_at is not None)
    await run.handle.cancel()
    document = await run.until(lambda d: bool(d.decisions))
    assert (document.decisions[0].kind, document.decisions[0].by) == ("stop", "unknown, by Temporal")
    held.set()
    document = await run.ended()
    assert document.verdict is Verdict.PARTIALLY_CONTAINED
    assert document.phases[1].verdict is Verdict.CONTAINED
    assert document.phases[2].started_at is None
    assert (await run.handle.result()).sealed is not None
    assert {"decided", "verdict"} <= set(kinds(run))
    assert "breach" not in kinds(run)


async def test_a_cancel_before_the_consent_changes_nothing(stage: Stage) -> None:
    run = await stage.play(Script(standard(), consent=Consent(mode="approval")))
    await run.asked()
    await run.handle.cancel()
    document = await run.ended()
    assert document.verdict is Verdict.REJECTED
    assert [run.recording.count(what) for what in ("mark", "contain", "preserve")] == [0, 0, 0]


async def test_a_cancelled_run_ends_at_a_question(stage: Stage) -> None:
    run = await stage.play(Script(standard(act("lock-objects", 3, then="permanent"))))
    await run.asked()
    await run.handle.cancel()
    document = await run.ended()
    assert (document.verdict, document.awaiting) == (Verdict.PARTIALLY_CONTAINED, None)
    assert document.evidence is not None


async def test_a_terminated_run_is_told_and_release_names_it_and_the_way_out(stage: Stage) -> None:
    run = await stage.play(Script(standard(act("lock-objects", 3, then="permanent"))))
    await run.asked()
    await run.handle.terminate("by hand")
    await paged(run, "closed without an end")
    text = await refusal(run)
    assert "terminated" in text
    assert "contain the workload again" in text


async def test_a_failed_run_is_told(stage: Stage) -> None:
    run = await stage.play(Script(standard(), malformed_plan=True))
    with pytest.raises(WorkflowFailureError):
        await run.handle.result()
    await paged(run, "closed without an end")
    assert "failed" in await refusal(run)


async def test_a_run_that_ends_by_itself_is_not_told_as_lost(stage: Stage) -> None:
    run = await stage.play(Script(standard()))
    await run.ended()
    description = await run.handle.describe()
    sentry = stage.client.get_workflow_handle(f"sentry-{description.run_id}")
    await sentry.result()
    assert (await sentry.describe()).status is WorkflowExecutionStatus.COMPLETED
    assert "breach" not in kinds(run)


async def test_a_field_of_a_newer_worker_does_not_end_a_run(stage: Stage) -> None:
    run = await stage.play(Script(standard(), newer_worker=True))
    document = await run.ended()
    assert document.verdict is Verdict.CONTAINED
