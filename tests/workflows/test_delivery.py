"""A delivery is durable, starts one run however often it comes, and is never lost with the web process."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

import pytest
from temporalio.client import WorkflowHandle

from firebreak import intake, runs, start
from firebreak.delivery import DeliveryInput
from firebreak.errors import FirebreakError
from firebreak.exhibit0 import packed
from firebreak.model import Consent, Mode, Verdict, Workload
from firebreak.record import ContainmentInput, Ended, Received
from tests.workflows.script import Script, standard
from tests.workflows.stage import Stage, until, workload_named

pytestmark = pytest.mark.asyncio(loop_scope="session")

BODY = b'{"finding": "exfiltration"}'
SHA256 = hashlib.sha256(BODY).hexdigest()


def fresh() -> tuple[str, Workload]:
    return intake.delivery_id("siem", secrets.token_hex(8)), workload_named(f"agent-{secrets.token_hex(6)}")


async def delivery_of(stage: Stage, name: str, workload: Workload | None, **trigger: Any) -> DeliveryInput:
    reference = f"INC-{secrets.token_hex(6)}"
    containment = await request_of(stage, name, workload, reference, **trigger) if workload else None
    return DeliveryInput(
        reference=reference,
        source="siem",
        caller="key 1",
        received_at=await stage.now(),
        headers=(("content-type", "application/json"),),
        body=packed(BODY),
        sha256=SHA256,
        size=len(BODY),
        containment=containment,
        containment_id=start.workflow_id(workload) if workload else "",
        page="" if workload else "no workload has this resource",
        remember_seconds=0,
    )


async def request_of(
    stage: Stage, name: str, workload: Workload, reference: str, **trigger: Any
) -> ContainmentInput:
    received = Received(delivery=name, sha256=SHA256, size=len(BODY))
    told = await stage.trigger(received=received, **trigger)
    return start.request_for(stage.settings, workload, told, reference, Mode.LIVE)


async def result(stage: Stage, workflow_id: str) -> Ended:
    handle: WorkflowHandle[Any, Ended] = stage.client.get_workflow_handle(workflow_id, result_type=Ended)
    return await handle.result()


async def test_a_delivery_starts_a_run_and_its_raw_bytes_reach_the_evidence(stage: Stage) -> None:
    name, workload = fresh()
    delivery = await delivery_of(stage, name, workload)
    taken = await intake.take(stage.client, stage.settings, name, delivery, workload)
    assert taken.settled is not None
    assert (taken.reference, taken.settled.joined, taken.repeated) == (delivery.reference, False, False)
    assert (await result(stage, taken.settled.workflow_id)).verdict is Verdict.CONTAINED
    recording = stage.acting.of(taken.reference)
    assert [(each.number, each.received.sha256) for each in recording.kept] == [(1, SHA256)]
    assert len(recording.packages[0].alerts) == 1
    assert any(SHA256 in line for line in recording.lines)


async def test_a_repeated_delivery_has_the_same_answer_also_after_the_end_of_the_run(stage: Stage) -> None:
    name, workload = fresh()
    first = await intake.take(
        stage.client, stage.settings, name, await delivery_of(stage, name, workload), workload
    )
    assert first.settled is not None
    await result(stage, first.settled.workflow_id)
    await stage.client.get_workflow_handle(name).result()
    again = await intake.take(
        stage.client, stage.settings, name, await delivery_of(stage, name, workload), workload
    )
    assert again == first.model_copy(update={"repeated": True})
    description = await stage.client.get_workflow_handle(first.settled.workflow_id).describe()
    assert description.run_id == first.settled.run_id


async def test_an_alert_that_nobody_could_match_pages_people_and_starts_nothing(stage: Stage) -> None:
    name, _ = fresh()
    delivery = await delivery_of(stage, name, None)
    taken = await intake.take(stage.client, stage.settings, name, delivery, None)
    assert taken.settled is None
    await stage.client.get_workflow_handle(name).result()
    (page,) = stage.acting.of(taken.reference).pages
    assert (page.kind, page.message) == ("unresolved_alert", "no workload has this resource")


async def test_a_web_process_that_dies_leaves_a_delivery_that_starts_the_run(skipping: Stage) -> None:
    name, workload = fresh()
    delivery = await delivery_of(skipping, name, workload)
    await skipping.client.start_workflow(
        "delivery", delivery, id=name, task_queue=skipping.settings.task_queue
    )
    await skipping.pass_time(11)
    await skipping.client.get_workflow_handle(name).result()
    assert (await result(skipping, delivery.containment_id)).incident_id == delivery.reference
    recording = skipping.acting.of(delivery.reference)
    assert [(each.number, each.received.sha256) for each in recording.kept] == [(1, SHA256)]
    again = await intake.take(skipping.client, skipping.settings, name, delivery, workload)
    assert again.settled is not None
    assert (again.reference, again.settled.joined, again.repeated) == (delivery.reference, False, True)


async def test_a_delivery_left_alone_joins_the_run_that_is_there(skipping: Stage) -> None:
    skipping.acting.otherwise = lambda: Script(standard(), consent=Consent(mode="approval"))
    name, workload = fresh()
    other, _ = fresh()
    first = await intake.take(
        skipping.client, skipping.settings, other, await delivery_of(skipping, other, workload), workload
    )
    delivery = await delivery_of(skipping, name, workload)
    await skipping.client.start_workflow(
        "delivery", delivery, id=name, task_queue=skipping.settings.task_queue
    )
    await skipping.pass_time(11)
    await skipping.client.get_workflow_handle(name).result()
    assert first.settled is not None
    running = skipping.client.get_workflow_handle(first.settled.workflow_id)
    assert (await until(lambda: runs.status(running), lambda d: d.alerts == 2)).alerts == 2
    again = await intake.take(skipping.client, skipping.settings, name, delivery, workload)
    assert again.settled is not None
    assert (again.reference, again.settled.joined) == (first.reference, True)


async def test_a_delivery_handed_over_twice_is_one_alert(stage: Stage) -> None:
    stage.acting.otherwise = lambda: Script(standard())
    name, workload = fresh()
    delivery = await delivery_of(stage, name, workload, consent="ask")
    taken = await intake.take(stage.client, stage.settings, name, delivery, workload)
    assert taken.settled is not None
    assert delivery.containment is not None
    handle = stage.client.get_workflow_handle(taken.settled.workflow_id)
    await handle.signal("record_alert", delivery.containment.trigger)
    document = await until(lambda: runs.status(handle), lambda d: d.awaiting is not None)
    assert document.alerts == 1
    await handle.terminate()


async def test_silence_after_an_alert_that_a_person_must_confirm_means_no(skipping: Stage) -> None:
    run = await skipping.play(Script(standard(), consent=Consent(default="contain")), consent="confirm")
    await run.asked()
    await skipping.pass_time(301)
    document = await run.ended()
    assert document.verdict is Verdict.REJECTED
    assert run.recording.count("contain") == 0


async def test_silence_after_an_alert_beyond_the_limit_is_what_the_workload_declares(skipping: Stage) -> None:
    run = await skipping.play(Script(standard(), consent=Consent(default="contain")), consent="ask")
    await run.asked()
    await skipping.pass_time(301)
    assert (await run.ended()).verdict is Verdict.CONTAINED
    assert run.recording.count("page", "decision_needed") == 1


async def test_a_strong_alert_that_joins_ends_the_wait_that_a_weak_one_began(stage: Stage) -> None:
    run = await stage.play(Script(standard()), consent="confirm")
    await run.asked()
    assert run.recording.count("contain") == 0
    await start.contain(
        stage.client,
        stage.settings,
        run.workload,
        await stage.trigger(),
        incident_id="INC-strong",
        mode=Mode.LIVE,
    )
    document = await run.ended()
    assert (document.verdict, document.decisions) == (Verdict.CONTAINED, ())


async def test_a_flood_of_weak_alerts_does_not_hide_the_strong_one(stage: Stage) -> None:
    run = await stage.play(Script(standard()), consent="confirm")
    await run.asked()
    for _ in range(60):
        await run.handle.signal("record_alert", await stage.trigger(consent="confirm"))
    assert (await run.status()).awaiting is not None
    await run.handle.signal("record_alert", await stage.trigger())
    document = await run.ended()
    assert (document.verdict, document.alerts) == (Verdict.CONTAINED, 62)


async def test_a_repeat_never_starts_another_workload_than_the_first_delivery_named(skipping: Stage) -> None:
    name, workload = fresh()
    _, other = fresh()
    delivery = await delivery_of(skipping, name, workload)
    await skipping.client.start_workflow(
        "delivery", delivery, id=name, task_queue=skipping.settings.task_queue
    )
    with pytest.raises(FirebreakError, match="inventory has changed"):
        await intake.take(skipping.client, skipping.settings, name, delivery, other)
    await skipping.pass_time(11)
    await skipping.client.get_workflow_handle(name).result()
    assert (await result(skipping, delivery.containment_id)).incident_id == delivery.reference
