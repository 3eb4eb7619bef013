"""People and programs at the API: who they are, what they may do, and that two of them are two."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from firebreak.model import Consent, Verdict
from tests.firebreak.web.house import House, Provider, house_on, person, provider, started
from tests.workflows.script import act
from tests.workflows.stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")

RILEY = person("riley", "responder")
SAM, KIM = person("sam", "approver"), person("kim", "approver")
CASEY = person("casey", "commander")
TWO = Consent(mode="approval", approvers=2, timeout_seconds=600, default="reject")
ONE = Consent(mode="approval", approvers=1, timeout_seconds=600, default="reject")
WHY = {"reason": "looked into it"}


@pytest.fixture(scope="module")
def idp() -> Iterator[Provider]:
    with provider() as running:
        running.accounts.update(
            {"bot@example.org": ("fb-respond",), "view@example.org": ("fb-view",), "none@example.org": ()}
        )
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(
    stage: Stage, idp: Provider, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[House]:
    yield house_on(stage.client, stage, tmp_path_factory.mktemp("house"), idp)


async def decide(house: House, who: Any, incident: str, kind: str, **body: Any) -> httpx.Response:
    async with house.browser(who) as browser:
        return await browser.post(f"/api/v1/runs/{incident}/decisions", json={"kind": kind, **WHY, **body})


async def test_nobody_gets_the_same_answer_whatever_they_try(house: House) -> None:
    wrong = [
        {},
        {"authorization": "Bearer nonsense"},
        {"authorization": "Basic YTpi"},
        {"authorization": f"Bearer {house.provider.token('bot@example.org', audience='other')}"},
        {"authorization": f"Bearer {house.provider.token('bot@example.org', iss='https://evil.example')}"},
        {"authorization": f"Bearer {house.provider.token('bot@example.org', exp=1)}"},
        {"cookie": "firebreak-session=forged"},
    ]
    answers = []
    for headers in wrong:
        async with house.browser() as browser:
            answers.append(await browser.get("/api/v1/me", headers=headers))
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1


async def test_a_program_is_who_its_token_says_with_the_roles_that_are_mapped(house: House) -> None:
    async with house.program("bot@example.org", roles=["fb-respond", "domain-admins"]) as program:
        answer = await program.get("/api/v1/me")
    assert answer.json() == {"name": "bot@example.org", "roles": ["responder"]}


async def test_without_a_role_there_is_nothing_to_see_and_nothing_to_do(house: House) -> None:
    incident, recording = await house.containment(consent=ONE)
    await house.asked(incident)
    async with house.program("none@example.org") as program:
        assert (await program.get("/api/v1/workloads")).json() == {"workloads": []}
        assert (await program.get("/api/v1/runs")).json() == {"runs": []}
        assert (await program.get(f"/api/v1/runs/{incident}")).status_code == 404
        body = {"kind": "approve", **WHY}
        assert (await program.post(f"/api/v1/runs/{incident}/decisions", json=body)).status_code == 404
        made = await program.post(f"/api/v1/workloads/{house.workload()}/containments", json=WHY)
        assert made.status_code == 404
    assert recording.count("contain") == 0
    await decide(house, SAM, incident, "reject")


async def test_a_viewer_sees_and_changes_nothing_by_any_url(house: House) -> None:
    incident, recording = await house.containment(consent=ONE)
    await house.asked(incident)
    async with house.program("view@example.org") as program:
        seen = await program.get(f"/api/v1/runs/{incident}")
        assert (seen.status_code, seen.json()["may"]) == (200, ["view"])
        for kind in ("approve", "reject", "retry", "proceed", "stop"):
            answer = await program.post(f"/api/v1/runs/{incident}/decisions", json={"kind": kind, **WHY})
            assert answer.status_code == 403, answer.text
        assert (await program.post(f"/api/v1/runs/{incident}/release", json=WHY)).status_code == 403
        made = await program.post(f"/api/v1/workloads/{house.workload()}/containments", json=WHY)
        assert made.status_code == 403
    assert (await house.status(incident)).awaiting is not None
    assert recording.count("contain") == 0
    await decide(house, SAM, incident, "reject")


async def test_a_containment_runs_in_the_name_of_who_asked(house: House) -> None:
    async with house.browser(RILEY) as browser:
        run = started(await browser.post(f"/api/v1/workloads/{house.workload()}/containments", json=WHY))
    document = await house.ended(run.incident_id)
    assert (document.verdict, document.requested_by) == (Verdict.CONTAINED, "riley@example.org")


async def test_a_form_of_another_site_starts_nothing(house: House) -> None:
    workload = house.workload()
    async with house.browser(RILEY) as browser:
        del browser.headers["x-csrf-token"]
        answer = await browser.post(f"/api/v1/workloads/{workload}/containments", json=WHY)
        assert (answer.status_code, answer.json()["error"]["type"]) == (403, "ForgedError")
        answer = await browser.post(
            f"/api/v1/workloads/{workload}/containments", json=WHY, headers={"x-csrf-token": "guess"}
        )
        assert answer.status_code == 403
        runs = (await browser.get("/api/v1/runs")).json()["runs"]
    assert workload not in {run["workload_id"] for run in runs}


async def test_two_people_are_two_and_neither_is_the_requester(house: House) -> None:
    incident, recording = await house.containment(consent=TWO, by="sam@example.org")
    await house.asked(incident)
    own = await decide(house, SAM, incident, "approve")
    assert (own.status_code, own.json()["error"]["type"]) == (403, "ForbiddenError")
    assert "nobody-approves-their-own" in own.json()["error"]["message"]
    assert (await decide(house, KIM, incident, "approve")).status_code == 200
    again = await decide(house, KIM, incident, "approve")
    assert (again.status_code, again.json()["error"]["type"]) == (409, "GuardError")
    assert recording.count("contain") == 0
    assert (await decide(house, CASEY, incident, "approve")).status_code == 200
    document = await house.ended(incident)
    assert document.verdict is Verdict.CONTAINED
    accepted = [d.by for d in document.decisions if not d.refused]
    assert accepted == ["kim@example.org", "casey@example.org"]


async def test_a_person_of_the_same_name_in_other_letters_is_the_same(house: House) -> None:
    incident, _ = await house.containment(consent=ONE, by=" SAM@Example.org")
    await house.asked(incident)
    assert (await decide(house, SAM, incident, "approve")).status_code == 403
    await decide(house, KIM, incident, "reject")


async def test_a_rejected_containment_changes_nothing(house: House) -> None:
    incident, recording = await house.containment(consent=ONE)
    await house.asked(incident)
    assert (await decide(house, SAM, incident, "reject")).status_code == 200
    assert (await house.ended(incident)).verdict is Verdict.REJECTED
    assert recording.count("contain") == 0
    late = await decide(house, KIM, incident, "approve")
    assert late.status_code == 409


async def test_an_approval_that_comes_too_late_is_refused(house: House) -> None:
    short = Consent(mode="approval", approvers=1, timeout_seconds=1, default="reject")
    incident, recording = await house.containment(consent=short)
    assert (await house.ended(incident)).verdict is Verdict.REJECTED
    assert (await decide(house, SAM, incident, "approve")).status_code == 409
    assert recording.count("contain") == 0


async def test_only_a_commander_accepts_a_risk(house: House) -> None:
    incident, _ = await house.containment(act("detach-public-ip", 2, "permanent", then="permanent"))
    await house.asked(incident)
    for who in (RILEY, SAM):
        assert (await decide(house, who, incident, "proceed")).status_code == 403
    assert (await decide(house, CASEY, incident, "proceed")).status_code == 200
    document = await house.ended(incident)
    assert document.verdict is not Verdict.CONTAINED
    assert any("casey@example.org" in deviation for deviation in document.phases[1].deviations)


async def test_a_role_that_was_taken_away_is_gone_with_the_next_token(house: House) -> None:
    house.provider.accounts["temp@example.org"] = ("fb-respond",)
    async with house.program("temp@example.org") as program:
        assert (await program.get("/api/v1/me")).json()["roles"] == ["responder"]
    house.provider.accounts["temp@example.org"] = ()
    async with house.program("temp@example.org") as program:
        made = await program.post(f"/api/v1/workloads/{house.workload()}/containments", json=WHY)
    assert made.status_code == 404


async def test_a_session_ends_so_that_a_role_is_asked_for_again(house: House) -> None:
    sessions = house.app.state.guard.sessions
    async with house.browser(RILEY) as browser:
        assert (await browser.get("/api/v1/me")).status_code == 200
        old = sessions.serializer.make_signer(sessions.serializer.salt)
        payload = old.unsign(browser.cookies[sessions.cookie])
        signed = payload + b"." + b"AAAAAA"
        aged = (signed + b"." + old.get_signature(signed)).decode()
        browser.cookies.set(sessions.cookie, aged, domain="firebreak.test", path="/")
        assert (await browser.get("/api/v1/me")).status_code == 401


async def test_a_release_takes_two_people_apart_in_time(house: House) -> None:
    incident, recording = await house.containment()
    await house.ended(incident)
    async with house.browser(RILEY) as browser:
        asked = started(await browser.post(f"/api/v1/runs/{incident}/release", json=WHY))
        assert asked.workflow_id == f"release-{incident}"
    own = await decide(house, person("riley", "approver"), incident, "approve")
    assert own.status_code == 403
    assert recording.count("revert") == 0
    assert (await decide(house, SAM, incident, "approve")).status_code == 200
    async with house.browser(SAM) as browser:
        await house.stage.client.get_workflow_handle(asked.workflow_id).result()
        seen = (await browser.get(f"/api/v1/runs/{incident}/release")).json()["run"]
    assert seen["verdict"] == "released"
    assert recording.release_packages[0].request.approved_by == "sam@example.org"


async def test_a_run_that_is_not_there_is_not_found(house: House) -> None:
    async with house.browser(CASEY) as browser:
        for path in ("/api/v1/runs/INC-404", "/api/v1/runs/INC-404/release"):
            answer = await browser.get(path)
            assert (answer.status_code, answer.json()["error"]["type"]) == (404, "NotFoundError")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/runs/INC-1/decisions", {"kind": "delete", "reason": "x"}),
        ("/api/v1/runs/INC-1/decisions", {"kind": "approve", "reason": ""}),
        ("/api/v1/runs/INC-1/decisions", {"kind": "approve", "reason": "x", "by": "somebody else"}),
        ("/api/v1/workloads/UPPER/containments", {"reason": "x"}),
        ("/api/v1/runs/a'b/release", {"reason": "x"}),
    ],
)
async def test_what_is_not_a_request_is_refused_before_anything_happens(
    house: House, path: str, body: dict[str, Any]
) -> None:
    async with house.browser(CASEY) as browser:
        assert (await browser.post(path, json=body)).status_code == 422


async def test_a_plan_changes_nothing(house: House) -> None:
    workload = house.workload()
    async with house.browser(RILEY) as browser:
        answer = await browser.get(f"/api/v1/workloads/{workload}/plan")
    assert (answer.status_code, answer.json()["workload_id"]) == (200, workload)
