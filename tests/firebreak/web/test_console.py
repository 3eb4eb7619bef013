"""The console's pages: what they show to whom, what their forms do, and what no text can make them do."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from importlib import resources
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from firebreak.model import Consent, Verdict
from firebreak.web.console.render import POLICY
from firebreak.web.console.visit import own_path
from tests.firebreak.web.house import House, Provider, house_on, person, provider
from tests.firebreak.web.pages import HTML, Page, page, sent
from tests.workflows.script import act
from tests.workflows.stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")

VIEWER, RILEY = person("vera", "viewer"), person("riley", "responder")
SAM, KIM = person("sam", "approver"), person("kim", "approver")
CASEY = person("casey", "commander")
NOBODY = person("nora")
ONE = Consent(mode="approval", approvers=1, timeout_seconds=600, default="reject")
TWO = ONE.model_copy(update={"approvers": 2})
HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)> {{ 7*7 }}'
STATIC = resources.files("firebreak.web.console") / "static"
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def idp() -> Iterator[Provider]:
    with provider() as running:
        running.accounts["sam@example.org"] = ("fb-approve",)
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(
    stage: Stage, idp: Provider, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[House]:
    yield house_on(stage.client, stage, tmp_path_factory.mktemp("house"), idp)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def asks(house: House) -> AsyncIterator[str]:
    """An incident that waits for approval, and that no test of this module decides."""
    incident, _ = await house.containment(consent=TWO)
    await house.asked(incident)
    yield incident
    await sent(house, SAM, f"/incidents/{incident}/actions/reject", reason="the tests are over")


def everywhere(house: House, incident: str) -> list[str]:
    return [
        "/",
        "/login",
        "/workloads",
        f"/workloads/{house.free[0]}",
        f"/workloads/{house.free[0]}/contain",
        f"/incidents/{incident}",
        f"/incidents/{incident}/actions/approve",
    ]


async def test_no_page_carries_or_loads_anything_that_its_policy_refuses(house: House, asks: str) -> None:
    async with house.browser(CASEY) as casey, house.browser() as nobody:
        for path in [*everywhere(house, asks), "/incidents/INC-404", "/nowhere"]:
            answer = await (nobody if path == "/login" else casey).get(path, headers=HTML)
            assert answer.headers["content-security-policy"] == POLICY, path
            found = Page(answer.text)
            assert (found.inline, found.foreign) == ([], []), path
            assert answer.headers["cache-control"] == "no-store"


async def test_the_policy_lets_nothing_in() -> None:
    rules = dict(each.split(" ", 1) for each in POLICY.split("; "))
    assert rules.pop("default-src") == rules.pop("frame-ancestors") == rules.pop("base-uri") == "'none'"
    assert set(rules.values()) == {"'self'"}


async def test_scripts_of_others_are_the_ones_that_were_vendored() -> None:
    table = (STATIC / "VENDORED.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `(\S+)` \|.*`([0-9a-f]{64})` \|$", table, re.MULTILINE))
    assert set(listed) == {"htmx.min.js", "sse.min.js"}
    for name, digest in listed.items():
        assert hashlib.sha256((STATIC / name).read_bytes()).hexdigest() == digest
    assert all(
        digest in (ROOT / "docs/dependencies.md").read_text(encoding="utf-8") for digest in listed.values()
    )


async def test_files_are_served_as_what_they_are(house: House) -> None:
    found = await page(house, CASEY, "/workloads")
    async with house.browser() as browser:
        for each in [e["src"] for e in found.all("script")] + [e["href"] for e in found.all("link")]:
            answer = await browser.get(each)
            assert (answer.status_code, answer.headers["x-content-type-options"]) == (200, "nosniff")
            assert "immutable" in answer.headers["cache-control"]


async def test_the_page_of_a_run_tells_everything(house: House) -> None:
    shared = replace(act("quarantine-security-group", 2), blast_radius=("billing-agent",))
    incident, _ = await house.containment(shared)
    document = await house.ended(incident)
    found = await page(house, CASEY, f"/incidents/{incident}")
    assert document.evidence is not None
    for phase in document.phases:
        assert phase.title.capitalize() in found.shown
        for measure in phase.measures:
            assert measure.name in found.shown
            assert measure.target in found.shown
            assert measure.findings[0].observed in found.shown
    for words in (
        "billing-agent",
        document.evidence.uri,
        document.evidence.manifest_sha256,
        "Nothing is open",
    ):
        assert words in found.shown
    command = f"firebreak evidence verify {document.evidence.uri} --trust KEY.pub"
    assert f"{command} --manifest-sha256 {document.evidence.manifest_sha256}" in found.shown
    assert found.actions == {f"/incidents/{incident}/actions/release"}


async def test_what_is_open_comes_with_its_command(house: House) -> None:
    incident, _ = await house.containment(act("detach-public-ip", 2, "permanent", then="permanent"))
    await house.asked(incident)
    found = await page(house, CASEY, f"/incidents/{incident}")
    for verb in ("retry", "proceed", "stop"):
        assert f"firebreak {verb} {incident} --by NAME --reason TEXT" in found.shown
    assert "AccessDenied of the responder" in found.shown
    assert {a.rsplit("/", 1)[-1] for a in found.actions} == {"retry", "proceed", "stop"}
    await sent(house, CASEY, f"/incidents/{incident}/actions/stop", reason="the test is over")


async def test_text_from_outside_stays_text(house: House) -> None:
    workload = house.workload()
    path = f"/workloads/{workload}/contain"
    answer = await sent(house, CASEY, path, reason=HOSTILE, mode="live")
    incident = answer.headers["location"].split("?")[0].rsplit("/", 1)[-1]
    await house.ended(incident)
    for path in (f"/incidents/{incident}", "/"):
        found = await page(house, VIEWER, path)
        assert found.inline == []
        assert not found.all("img")
    found = await page(house, VIEWER, f"/incidents/{incident}")
    assert HOSTILE in found.shown
    assert "49" not in found.shown.split(HOSTILE)[0][-20:]


async def test_a_hostile_reason_comes_back_in_its_field_and_nowhere_else(house: House, asks: str) -> None:
    text = "</textarea><script>alert(1)</script>" + "x" * 2000
    answer = await sent(house, SAM, f"/incidents/{asks}/actions/approve", reason=text)
    found = Page(answer.text)
    assert (answer.status_code, found.inline) == (422, [])
    assert text in found.shown


async def test_a_viewer_is_offered_nothing_and_may_do_nothing_by_url(house: House, asks: str) -> None:
    assert (await page(house, VIEWER, f"/incidents/{asks}")).actions == set()
    assert (await page(house, VIEWER, "/workloads")).actions == set()
    for path in (f"/incidents/{asks}/actions/{kind}" for kind in ("approve", "reject", "release")):
        assert (await sent(house, VIEWER, path, reason="x")).status_code == 403
    workload = house.workload()
    refused = await sent(house, VIEWER, f"/workloads/{workload}/contain", reason="x")
    assert refused.status_code == 403
    assert "may not contain here" in Page(refused.text).shown
    assert (await house.status(asks)).awaiting is not None


async def test_who_may_not_see_a_workload_sees_no_incident_of_it(house: House, asks: str) -> None:
    await page(house, NOBODY, f"/incidents/{asks}", 404)
    await page(house, NOBODY, f"/incidents/{asks}/events", 404)
    assert asks not in (await page(house, NOBODY, "/")).text
    assert house.free[0] not in (await page(house, NOBODY, "/workloads")).text


@pytest.mark.parametrize("form", [{}, {"csrf": ""}, {"csrf": "guess"}])
async def test_a_form_of_another_site_does_nothing(house: House, asks: str, form: dict[str, str]) -> None:
    workload = house.workload()
    async with house.browser(CASEY) as browser:  # its header is the API's, and counts for no form
        for path in (f"/incidents/{asks}/actions/approve", f"/workloads/{workload}/contain"):
            answer = await browser.post(path, data={"reason": "x", **form}, headers=HTML)
            assert (answer.status_code, "reload the page" in answer.text) == (403, True)
    assert (await house.status(asks)).decisions == ()


async def test_nobody_approves_their_own_request_in_the_page_either(house: House) -> None:
    incident, recording = await house.containment(consent=ONE, by="sam@example.org")
    await house.asked(incident)
    found = await page(house, SAM, f"/incidents/{incident}")
    assert "another person has to approve it" in found.shown
    assert {action.rsplit("/", 1)[-1] for action in found.actions} == {"reject"}
    refused = await sent(house, SAM, f"/incidents/{incident}/actions/approve", reason="me too")
    assert (refused.status_code, "nobody-approves-their-own" in refused.text) == (403, True)
    assert recording.count("contain") == 0
    agreed = await sent(house, KIM, f"/incidents/{incident}/actions/approve", reason="seen the same")
    assert (agreed.status_code, agreed.headers["location"]) == (303, f"/incidents/{incident}")
    assert (await house.ended(incident)).verdict is Verdict.CONTAINED


async def test_one_person_is_not_offered_a_second_approval(house: House) -> None:
    incident, _ = await house.containment(consent=TWO)
    await house.asked(incident)
    path = f"/incidents/{incident}/actions/approve"
    assert (await sent(house, SAM, path, reason="seen it")).status_code == 303
    found = await page(house, SAM, f"/incidents/{incident}")
    assert "You have approved" in found.shown
    assert path not in found.actions
    again = await sent(house, SAM, path, reason="once more")
    assert (again.status_code, "already approved" in again.text) == (409, True)
    await sent(house, KIM, f"/incidents/{incident}/actions/reject", reason="the test is over")


@pytest.mark.parametrize("reason", ["", "   ", "\n"])
async def test_nothing_is_done_without_a_reason(house: House, asks: str, reason: str) -> None:
    answer = await sent(house, SAM, f"/incidents/{asks}/actions/approve", reason=reason)
    assert (answer.status_code, "a reason is needed" in answer.text) == (422, True)
    assert (await house.status(asks)).decisions == ()


async def test_a_decision_that_comes_too_late_says_so(house: House) -> None:
    incident, _ = await house.containment(consent=ONE)
    await house.asked(incident)
    assert (await sent(house, SAM, f"/incidents/{incident}/actions/reject", reason="no")).status_code == 303
    await house.ended(incident)
    late = await sent(house, KIM, f"/incidents/{incident}/actions/approve", reason="yes")
    assert (late.status_code, "the run has ended" in late.text) == (409, True)


async def test_a_run_that_has_just_begun_is_waited_for(house: House) -> None:
    answer = await sent(house, RILEY, f"/workloads/{house.workload()}/contain", reason="odd egress")
    assert answer.status_code == 303
    incident = answer.headers["location"].split("?")[0]
    found = await page(house, RILEY, f"{incident}-unknown?waited=3", 202)
    assert found.all("meta", **{"http-equiv": "refresh"})[0]["content"].endswith("-unknown?waited=4")
    await page(house, RILEY, f"{incident}-unknown?waited=30", 404)
    document = await house.ended(incident.rsplit("/", 1)[-1])
    assert document.requested_by == "riley@example.org"


async def test_a_release_takes_two_people(house: House) -> None:
    incident, recording = await house.containment()
    await house.ended(incident)
    path = f"/incidents/{incident}"
    assert (await sent(house, RILEY, f"{path}/actions/release", reason="clean")).status_code == 303
    found = await page(house, RILEY, path)
    assert (found.actions, "release waits for a person" in found.shown) == (set(), True)
    assert recording.count("revert") == 0
    assert f"{path}/actions/approve" in (await page(house, SAM, path)).actions
    assert (await sent(house, SAM, f"{path}/actions/approve", reason="checked")).status_code == 303
    await house.stage.client.get_workflow_handle(f"release-{incident}").result()
    assert "The workload was released" not in (await page(house, SAM, path)).shown  # nothing to do: no panel
    assert "released" in (await page(house, SAM, path)).shown


async def test_nobody_is_sent_to_the_login_and_back_to_where_they_wanted(house: House, asks: str) -> None:
    browser = house.browser()
    wanted = f"/incidents/{asks}"
    answer = await browser.get(wanted, headers=HTML)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/login?next=%2Fincidents%2F{asks}")
    login = Page((await browser.get(answer.headers["location"], headers=HTML)).text)
    assert [link["href"] for link in login.all("a", id="oidc")] == ["/login/oidc"]
    away = await browser.get("/login/oidc")
    await browser.get(house.provider.consent(away.headers["location"], "sam@example.org"))
    assert (await browser.get("/", headers=HTML)).headers["location"] == wanted
    assert (await browser.get("/", headers=HTML)).status_code == 200  # once


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "/a\r\nSet-Cookie: x=1",
        "",
        "javascript:1",
    ],
)
async def test_after_the_login_nobody_is_sent_elsewhere(house: House, path: str) -> None:
    assert own_path(path) == "/"
    async with house.browser(CASEY) as browser:
        answer = await browser.get("/login", params={"next": path}, headers=HTML)
    assert answer.headers["location"] == "/"


async def test_programs_keep_their_own_errors(house: House) -> None:
    async with house.browser() as browser:
        for headers in (HTML, {}):
            answer = await browser.get("/api/v1/me", headers=headers)
            assert (answer.status_code, answer.json()["error"]["type"]) == (401, "UnauthenticatedError")
        assert (await browser.get("/workloads")).json()["error"]["type"] == "UnauthenticatedError"


async def test_a_login_that_fails_is_told_in_the_page(house: House) -> None:
    async with house.browser() as browser:
        answer = await browser.get("/login/once?name=ada&token=guess", headers=HTML)
    assert (answer.status_code, answer.headers["content-security-policy"]) == (401, POLICY)
    assert "You are not logged in" in Page(answer.text).shown


async def test_a_page_works_without_scripts(house: House, asks: str) -> None:
    found = await page(house, SAM, f"/incidents/{asks}")
    assert found.all("noscript")
    assert found.all("meta", **{"http-equiv": "refresh", "content": "3"})
    assert {tag for tag, each in found.elements if "hx-post" in each or "hx-get" in each} == set()


async def test_a_page_can_be_used_by_keyboard_and_screen_reader(house: House, asks: str) -> None:
    for path in everywhere(house, asks):
        found = await page(house, None if path == "/login" else CASEY, path)
        links = found.all("a")
        assert links[0] == {"class": "skip", "href": "#content"}
        assert found.all("main", id="content")
        assert len(found.all("h1")) == 1, path
        assert found.all("html", lang="en")
        fields = {each["id"] for each in found.all("textarea") + found.all("input", type="password")}
        assert fields <= {label.get("for") for label in found.all("label")}, path
        ids = [each["id"] for _, each in found.elements if "id" in each]
        assert len(ids) == len(set(ids)), path
    live = await page(house, CASEY, f"/incidents/{asks}")
    assert live.all("p", **{"aria-live": "polite", "sse-swap": "said"})


async def test_the_inventory_says_what_is_known(house: House) -> None:
    incident, _ = await house.containment()
    document = await house.ended(incident)
    rows = (await page(house, RILEY, "/workloads")).shown
    assert document.workload_id in rows
    found = await page(house, RILEY, f"/workloads/{document.workload_id}")
    for words in ("L5", "Consent auto", "strict", "contained"):
        assert words in found.shown
    assert found.actions == {f"/workloads/{document.workload_id}/contain"}
    planned = await page(house, RILEY, f"/workloads/{document.workload_id}?plan=true")
    assert "Undone by release" in planned.shown


async def test_the_list_shows_the_newest_first_and_who_is_needed(house: House, asks: str) -> None:
    incident, _ = await house.containment()
    await house.ended(incident)
    found = await page(house, VIEWER, "/")
    links = [link["id"] for link in found.all("a") if link.get("id", "").startswith("to-")]
    assert links.index(f"to-{incident}") < links.index(f"to-{asks}")
    assert "needs a person: approval by two people" in found.shown


async def test_without_keys_no_verification_is_offered(house: House) -> None:
    incident, _ = await house.containment()
    await house.ended(incident)
    auditor = person("alex", "auditor")
    found = await page(house, auditor, f"/incidents/{incident}")
    assert not found.all("a", id="report")
    answer: httpx.Response
    async with house.browser(auditor) as browser:
        answer = await browser.get(f"/incidents/{incident}/report", headers=HTML)
    assert (answer.status_code, "EVIDENCE_KEYS" in answer.text) == (502, True)
    await page(house, VIEWER, f"/incidents/{incident}/report", 403)
