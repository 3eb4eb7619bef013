"""From an alert to a durable run: one run per workload, and questions that cannot be bent."""

from __future__ import annotations

import asyncio
import secrets

import pytest

from firebreak import errors, runs, start
from firebreak.errors import FirebreakError, GuardError, UsageError
from firebreak.model import Cloud, Consent, Mode, Verdict
from firebreak.record import Decision
from tests.workflows.script import Script, act, standard
from tests.workflows.stage import Stage, until, workload_named

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_two_alerts_at_once_are_one_run_with_both_recorded(stage: Stage) -> None:
    workload = workload_named(f"agent-{secrets.token_hex(4)}")
    ids = [f"INC-{secrets.token_hex(4)}" for _ in range(2)]
    for each in ids:
        stage.acting.expect(each, Script(standard(act("deny-all", 1, "unproven"))))

    async def alert(incident_id: str) -> start.Started:
        trigger = await stage.trigger(reason=f"alert {incident_id}")
        return await start.contain(
            stage.client, stage.settings, workload, trigger, incident_id=incident_id, mode=Mode.LIVE
        )

    started = await asyncio.gather(*(alert(each) for each in ids))
    assert started[0].workflow_id == started[1].workflow_id
    assert started[0].incident_id == started[1].incident_id
    assert sorted(each.joined for each in started) == [False, True]
    recording = stage.acting.of(started[0].incident_id)
    handle = stage.client.get_workflow_handle(started[0].workflow_id)
    document = await until(lambda: runs.status(handle), lambda d: d.awaiting is not None)
    assert document.alerts == 2
    await handle.execute_update("retry", Decision(kind="retry", by="casey", reason="again"))
    await handle.result()
    assert recording.count("plan") == 1
    text = "\n".join(recording.lines)
    assert all(f"alert {each}" in text for each in ids)


async def test_after_its_end_another_alert_starts_another_run(stage: Stage) -> None:
    run = await stage.play(Script(standard()))
    await run.ended()
    again = await start.contain(
        stage.client,
        stage.settings,
        run.workload,
        await stage.trigger(),
        incident_id=f"{run.incident_id}-again",
        mode=Mode.LIVE,
    )
    assert (again.joined, again.incident_id) == (False, f"{run.incident_id}-again")
    assert again.workflow_id == run.handle.id
    await stage.client.get_workflow_handle(again.workflow_id).result()


async def test_an_incident_is_one_workloads(stage: Stage) -> None:
    run = await stage.play(Script(standard()))
    await run.ended()
    await until(lambda: _found(stage, run.incident_id), bool)
    await start.require_unused(stage.client, run.workload, run.incident_id)
    await start.require_unused(stage.client, workload_named("other"), f"{run.incident_id}-b")
    with pytest.raises(UsageError, match=f"already the incident of {run.workload.id}"):
        await start.require_unused(stage.client, workload_named("other"), run.incident_id)


async def test_a_run_is_found_by_incident_workload_and_workflow_id(stage: Stage) -> None:
    run = await stage.play(Script(standard(), consent=Consent(mode="approval")))
    await run.asked()
    for name in (run.incident_id, run.workload.id, run.handle.id):
        found = await until(lambda n=name: _found(stage, n), bool)  # type: ignore[misc]
        assert found == run.handle.id
    assert (await runs.containment(stage.client, run.incident_id)).id == run.handle.id
    await run.decide("reject")
    await run.ended()


async def _found(stage: Stage, name: str) -> str:
    try:
        return (await runs.find(stage.client, name)).id
    except UsageError:  # visibility lags behind by a moment
        return ""


@pytest.mark.parametrize(
    "name", ["", "x' OR WorkflowType = 'release", 'x"', "x\\", "x`", "x\n", "x\x00", "' OR ''='", "x\u2028y"]
)
async def test_a_name_cannot_bend_the_query(stage: Stage, name: str) -> None:
    for ask in (runs.find, runs.containment):
        with pytest.raises(UsageError, match="is not an id"):
            await ask(stage.client, name)


async def test_an_unknown_run_is_a_usage_error(stage: Stage) -> None:
    with pytest.raises(UsageError, match="there is no run INC-nowhere"):
        await runs.find(stage.client, "INC-nowhere")
    with pytest.raises(UsageError, match="there is no containment INC-nowhere"):
        await runs.decide(stage.client, "INC-nowhere", Decision(kind="stop", by="casey", reason="x"))


async def test_a_preview_tells_a_refusal_as_such(stage: Stage) -> None:
    shown = await start.preview(stage.client, stage.settings, workload_named("agent"), await stage.trigger())
    assert shown.workload_id == "agent"


@pytest.mark.parametrize(
    ("kind", "raised"),
    [("GuardError", GuardError), ("UsageError", UsageError), ("InventoryError", UsageError)],
)
async def test_a_failed_preview_keeps_its_kind(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, kind: str, raised: type[Exception]
) -> None:
    monkeypatch.setattr(stage.acting, "otherwise", lambda: Script((), plan_errors=(getattr(errors, kind),)))
    with pytest.raises(raised, match="preview fails as scripted"):
        await start.preview(stage.client, stage.settings, workload_named("agent"), await stage.trigger())


@pytest.mark.parametrize("role", ["workflows", "azure"])
async def test_a_preview_that_nobody_works_on_names_the_missing_worker(stage: Stage, role: str) -> None:
    alone = stage.settings.model_copy(update={"task_queue": "nobody"})
    settings = alone if role == "workflows" else stage.settings
    workload = workload_named("agent").model_copy(update={"cloud": Cloud.AZURE})
    with pytest.raises(FirebreakError, match=f"no worker for {role}") as refused:
        await asyncio.wait_for(
            start.preview(stage.client, settings, workload, await stage.trigger()), timeout=60
        )
    assert f"firebreak worker --role {role}" in refused.value.remedy


async def test_live_runs_go_before_drills(stage: Stage) -> None:
    run = await stage.play(Script(standard()))
    description = await run.handle.describe()
    assert description.raw_description.workflow_execution_info.priority.priority_key == 1
    assert start.PRIORITY[Mode.DRILL].priority_key == 5
    assert (await run.ended()).verdict is Verdict.CONTAINED
