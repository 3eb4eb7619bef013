"""What a source may start: weak callers and limits ask people, and nothing hides the real alert."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from firebreak import runs
from firebreak.model import Mode, Verdict, Workload
from firebreak.record import RunStatus
from tests.firebreak.web.hooks import UNKNOWN, Hooks, ids_of, payload, sent
from tests.workflows.stage import Stage, until

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def ask(hooks: Hooks, source: str, workload: Workload, **values: Any) -> dict[str, Any]:
    """Send an OCSF finding about the workload to a source with Standard Webhooks."""
    body = payload("ocsf", ids_of(workload), **values)
    answer = await hooks.post(source, sent(hooks.keys.standard(), body))
    return {"code": answer.status_code, "retry": answer.headers.get("Retry-After"), **answer.json()}


async def weak(hooks: Hooks, workload: Workload, **values: Any) -> dict[str, Any]:
    """Send a GuardDuty finding with a static token."""
    body = payload("guardduty", ids_of(workload), **values)
    told: dict[str, Any] = (await hooks.post("guardduty", sent(hooks.keys.token(), body))).json()
    return told


async def status(stage: Stage, told: dict[str, Any]) -> RunStatus:
    return await runs.status(stage.client.get_workflow_handle(told["workflow_id"]))


async def waiting(stage: Stage, told: dict[str, Any]) -> RunStatus:
    return await until(lambda: status(stage, told), lambda d: d.awaiting is not None)


async def ended(stage: Stage, told: dict[str, Any]) -> RunStatus:
    return await until(lambda: status(stage, told), lambda d: d.finished)


async def test_a_weak_alert_waits_although_the_workload_says_auto(stage: Stage, hooks: Hooks) -> None:
    told = await weak(hooks, hooks.workload())
    document = await waiting(stage, told)
    assert document.awaiting is not None
    assert document.awaiting.kind == "approval"
    recording = stage.acting.of(told["incident_id"])
    assert [recording.count(what) for what in ("mark", "contain", "preserve")] == [0, 0, 0]
    handle = stage.client.get_workflow_handle(told["workflow_id"])
    await handle.execute_update("reject", {"kind": "reject", "by": "casey", "reason": "a test"})
    assert (await ended(stage, told)).verdict is Verdict.REJECTED
    assert recording.count("contain") == 0


async def test_a_weak_alert_cannot_say_that_it_is_confirmed(stage: Stage, hooks: Hooks) -> None:
    body = payload("splunk", ids_of(hooks.workload()), result__confirmed="true")
    told = (await hooks.post("splunk", sent(hooks.keys.url_token(), body))).json()
    assert (await waiting(stage, told)).awaiting is not None
    await stage.client.get_workflow_handle(told["workflow_id"]).terminate()


async def test_the_real_alert_is_not_held_back_by_a_weak_one_sent_before_it(
    stage: Stage, hooks: Hooks
) -> None:
    workload = hooks.workload()
    first = await weak(hooks, workload)
    await waiting(stage, first)
    real = await ask(hooks, "ocsf", workload)
    assert (real["joined"], real["incident_id"]) == (True, first["incident_id"])
    document = await ended(stage, real)
    assert (document.verdict, document.alerts, document.decisions) == (Verdict.CONTAINED, 2, ())


async def test_a_source_that_may_only_ask_waits_for_a_person(stage: Stage, hooks: Hooks) -> None:
    told = await ask(hooks, "asks", hooks.workload())
    assert (await waiting(stage, told)).awaiting is not None
    await stage.client.get_workflow_handle(told["workflow_id"]).terminate()


async def test_a_source_of_drills_starts_drills(stage: Stage, hooks: Hooks) -> None:
    told = await ask(hooks, "drills", hooks.workload())
    assert (await ended(stage, told)).mode is Mode.DRILL


async def test_a_source_may_ask_only_for_its_workloads(hooks: Hooks) -> None:
    workload = hooks.workload()
    told = await ask(hooks, "elsewhere", workload)
    assert (told["code"], told["status"]) == (202, "paged")
    assert f"may not ask for {workload.id}" in told["reason"]
    assert await hooks.runs(workload) == 0


async def test_alerts_of_several_sources_for_one_workload_join_one_run(stage: Stage, hooks: Hooks) -> None:
    workload = hooks.workload()
    told = await asyncio.gather(*(ask(hooks, "ocsf", workload) for _ in range(6)))
    assert len({each["incident_id"] for each in told}) == 1
    assert sum(not each["joined"] for each in told) == 1
    document = await ended(stage, told[0])
    assert document.alerts == 6
    recording = stage.acting.of(told[0]["incident_id"])
    assert sorted(each.number for each in recording.kept) == [1, 2, 3, 4, 5, 6]


async def test_the_same_delivery_at_once_is_one_alert(stage: Stage, hooks: Hooks) -> None:
    request = sent(hooks.keys.standard(), payload("ocsf", ids_of(hooks.workload())))
    answers = await asyncio.gather(*(hooks.post("ocsf", request) for _ in range(8)))
    assert {each.status_code for each in answers} == {202}
    told = [each.json() for each in answers]
    assert {each["incident_id"] for each in told} == {told[0]["incident_id"]}
    assert sum(not each["repeated"] for each in told) == 1
    assert (await ended(stage, told[0])).alerts == 1


async def test_one_workload_beyond_its_limit_is_429_and_others_are_not(stage: Stage, hooks: Hooks) -> None:
    flooded = hooks.workload()
    answers = [await ask(hooks, "narrow", flooded) for _ in range(7)]
    assert [each["code"] for each in answers] == [202] * 5 + [429] * 2
    assert answers[-1]["retry"] == "30"
    real = hooks.workload()
    told = await ask(hooks, "narrow", real)
    assert told["code"] == 202
    assert (await ended(stage, told)).verdict is Verdict.CONTAINED
    excess = await ask(
        hooks, "narrow", hooks.workload()
    )  # the third workload of this minute: people are asked
    assert (excess["code"], excess["status"]) == (202, "started")
    assert (await waiting(stage, excess)).awaiting is not None
    await stage.client.get_workflow_handle(excess["workflow_id"]).terminate()
    told_people = [
        await hooks.post("narrow", sent(hooks.keys.standard(), payload("ocsf", UNKNOWN))) for _ in range(4)
    ]
    assert [each.status_code for each in told_people] == [202, 202, 202, 429]


async def test_what_proves_nothing_uses_up_no_limit(hooks: Hooks) -> None:
    workload = hooks.workload()
    forged = sent(hooks.keys.standard(), payload("ocsf", ids_of(workload)))
    forged.headers["webhook-signature"] = "v1,AAAA"
    answers = [await hooks.post("ocsf", forged) for _ in range(30)]
    assert {each.status_code for each in answers} == {401}
    assert (await ask(hooks, "ocsf", workload))["code"] == 202


@pytest.mark.parametrize("kind", ["SubscriptionConfirmation", "UnsubscribeConfirmation"])
async def test_a_subscription_is_never_confirmed_by_itself(stage: Stage, hooks: Hooks, kind: str) -> None:
    before = len(hooks.keys.reads)
    url = "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription"
    sign = hooks.keys.sns(Type=kind, SubscribeURL=url, Token="ab12", Message="You have chosen to subscribe")
    told = (await hooks.post("guardduty-sns", sent(sign, {}))).json()
    assert told["status"] == "paged"
    recording = stage.acting.of(told["reference"])
    pages = await until(lambda: _pages(recording), lambda found: len(found) == 1)
    assert "aws sns confirm-subscription" in pages[0].message
    assert "ab12" in pages[0].message
    assert url not in hooks.keys.reads[before:]


async def test_an_unproved_confirmation_is_401(hooks: Hooks) -> None:
    sign = hooks.keys.sns(
        Type="SubscriptionConfirmation", SubscribeURL="https://evil.example/", Token="ab12", Signature="AAAA"
    )
    assert (await hooks.post("guardduty-sns", sent(sign, {}))).status_code == 401


@contextmanager
def broken(path: Path) -> Iterator[None]:
    original = path.read_text(encoding="utf-8")
    path.write_text("version: 1\nworkloads: [")
    try:
        yield
    finally:
        path.write_text(original, encoding="utf-8")


async def test_a_broken_inventory_does_not_stop_containments(hooks: Hooks) -> None:
    with broken(hooks.services.settings.inventory):
        assert (await ask(hooks, "ocsf", hooks.workload()))["status"] == "started"


async def test_hidden_characters_reach_no_page(stage: Stage, hooks: Hooks) -> None:
    body = payload("ocsf", UNKNOWN, finding_info__title="x\x1b]0;evil\x07\u202egnp.exe\ud800")
    told = (await hooks.post("ocsf", sent(hooks.keys.standard(), body))).json()
    pages = await until(lambda: _pages(stage.acting.of(told["reference"])), lambda found: len(found) == 1)
    assert pages[0].message.isprintable()


async def _pages(recording: Any) -> list[Any]:
    return list(recording.pages)
