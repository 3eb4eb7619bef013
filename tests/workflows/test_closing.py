"""However a run closes, people hear of it, and what was changed can be released."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import replace
from datetime import timedelta

import pytest
from temporalio.client import (
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowUpdateFailedError,
)

from firebreak import runs, start
from firebreak.errors import EvidenceError, GuardError
from firebreak.model import Consent, Mode, Verdict
from firebreak.reading import Clock
from firebreak.record import Ended, RunStatus
from tests.workflows.script import Script, act, standard
from tests.workflows.stage import Played, Stage, until

pytestmark = pytest.mark.asyncio(loop_scope="session")


def kinds(run: Played) -> list[str]:
    return [page.kind for page in run.recording.pages]


async def paged(run: Played, text: str) -> None:
    async def messages() -> list[str]:
        return [page.message for page in run.recording.pages]

    await until(messages, lambda told: any(text in each for each in told))


async def refusal(run: Played) -> str:
    await run.listed()
    with pytest.raises(GuardError) as refused:
        await run.release()
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


async def asked_of(run: Played, *arguments: str) -> tuple[int | None, str]:
    """What the command says about a run, and how it exits."""
    address = run.stage.client.service_client.config.target_host
    command = [sys.executable, "-m", "firebreak", *arguments]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, env={**os.environ, "TEMPORAL_ADDRESS": address}
    )
    said, _ = await process.communicate()
    return process.returncode, said.decode()


async def test_a_terminated_run_has_no_clock_and_no_question_any_more(stage: Stage) -> None:
    run = await stage.play(Script(standard(act("lock-objects", 3, then="permanent"))))
    before = await run.asked()
    assert not before.finished
    await run.handle.terminate("by hand")
    document = await run.status()
    assert (document.finished, document.awaiting) == (True, None)
    assert document.verdict is Verdict.PARTIALLY_CONTAINED
    at = await stage.now()
    assert Clock.read(document, at) == Clock.read(document, at + timedelta(hours=1))
    await run.listed()
    code, said = await asked_of(run, "status", run.incident_id)
    assert (code, " left " in said) == (3, False)
    assert "it was terminated" in said
    assert "contain the workload again" in " ".join(said.split())
    code, said = await asked_of(run, "status", run.incident_id, "--json")
    assert (code, json.loads(said)["finished"]) == (3, True)


async def test_a_failed_run_is_told(stage: Stage) -> None:
    run = await stage.play(Script(standard(), malformed_plan=True))
    with pytest.raises(WorkflowFailureError):
        await run.handle.result()
    await paged(run, "closed without an end")
    assert "failed" in await refusal(run)
    document = await run.status()
    assert (document.finished, document.verdict) == (True, Verdict.UNPROVEN)
    assert "it was failed" in document.warnings[-1]


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


async def joined(run: Played, incident_id: str, script: Script) -> start.Started:
    """A confirmed alert for the workload of a run."""
    run.stage.acting.expect(incident_id, script)
    alert = await run.stage.trigger(source="guardduty", confirmed=True)
    return await start.contain(
        run.stage.client, run.stage.settings, run.workload, alert, incident_id=incident_id, mode=Mode.LIVE
    )


async def next_of(run: Played) -> RunStatus:
    """The document of the run that followed, at its end."""
    first = (await run.handle.describe()).run_id
    newest = run.stage.client.get_workflow_handle(run.handle.id, result_type=Ended)
    await until(newest.describe, lambda d: d.run_id != first)
    await newest.result()
    return await runs.status(newest)


@pytest.mark.parametrize(
    "ending", ["reject", *(pytest.param(each, marks=pytest.mark.slow) for each in ("stop", "refused"))]
)
async def test_an_alert_that_comes_when_a_run_is_decided_is_contained_by_the_next(
    stage: Stage, ending: str
) -> None:
    consent = Consent(mode="auto_if_confirmed") if ending == "reject" else Consent()
    acts = standard(act("lock-objects", 3, then="permanent")) if ending == "stop" else standard()
    refusals = ("a protected principal",) if ending == "refused" else ()
    held = asyncio.Event()
    script = Script(acts, consent=consent, refusals=refusals, package_held=held, notifier="silent")
    run = await stage.play(script)
    if ending != "refused":
        await run.asked()
        await run.decide(ending)
    await run.until(lambda d: d.verdict is not Verdict.PENDING)
    first = stage.client.get_workflow_handle(
        run.handle.id, run_id=(await run.handle.describe()).run_id, result_type=Ended
    )
    stage.acting.otherwise = lambda: Script(standard())
    assert (await joined(run, "INC-strong", Script(standard()))).joined
    held.set()
    after = await next_of(run)
    assert after.verdict is Verdict.CONTAINED
    assert after.incident_id not in {run.incident_id, "INC-strong"}
    assert [each.source for each in after.triggers] == ["guardduty"]
    before = await runs.status(first)
    assert before.verdict is not Verdict.CONTAINED
    assert f"an alert came after the decision: {after.incident_id} follows" in before.notes
    assert (await first.result()).incident_id == run.incident_id
    assert (await runs.incident_of(run.handle)) == after.incident_id


async def test_an_alert_that_comes_when_the_workload_is_contained_starts_nothing(stage: Stage) -> None:
    held = asyncio.Event()
    run = await stage.play(Script(standard(), package_held=held))
    await run.until(lambda d: d.verdict is Verdict.CONTAINED)
    assert (await joined(run, "INC-late", Script(standard()))).joined
    held.set()
    document = await run.ended()
    assert (document.alerts, document.notes) == (2, ())
    first = (await run.handle.describe()).run_id
    await stage.client.get_workflow_handle(f"sentry-{first}").result()
    assert (await run.handle.describe()).run_id == first


async def test_an_alert_does_not_wait_for_people_to_seal_an_uncontained_run(stage: Stage) -> None:
    acts = standard(act("lock-objects", 3, then="permanent"))
    run = await stage.play(Script(acts, package_errors=(EvidenceError,)))
    await run.asked()
    await run.decide("stop")
    await run.until(lambda d: d.awaiting is not None and d.awaiting.phase is None)
    stage.acting.otherwise = lambda: Script(standard())
    await joined(run, "INC-strong", Script(standard()))
    assert (await next_of(run)).verdict is Verdict.CONTAINED


async def test_a_run_that_is_decided_takes_no_stop(stage: Stage) -> None:
    held = asyncio.Event()
    run = await stage.play(Script(standard(), package_held=held))
    await run.until(lambda d: d.verdict is Verdict.CONTAINED)
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await run.decide("stop")
    assert "decided already: contained" in str(refused.value.cause)
    held.set()
    assert (await run.ended()).verdict is Verdict.CONTAINED


async def test_a_stop_while_planning_captures_nothing(stage: Stage) -> None:
    held = asyncio.Event()
    memory = replace(act("capture-memory-store", 4), preserve_first=True)
    script = Script(standard(memory), consent=Consent(mode="approval"), planning_held=held)
    run = await stage.play(script)
    await until(run.status, lambda _: run.recording.count("plan") > 0)
    await run.decide("stop")
    held.set()
    await run.ended()
    assert [run.recording.count(what) for what in ("mark", "contain", "preserve")] == [0, 0, 0]
