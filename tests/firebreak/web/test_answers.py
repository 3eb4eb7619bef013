"""Answering by signed link: sent to one person each, opened without a login, and worth one answer."""

from __future__ import annotations

import asyncio
import io
import logging
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
import structlog
from fastapi import FastAPI
from temporalio.client import Client

from activities.notify import NotifyActivities
from firebreak import logs, runs, start
from firebreak.codec import data_converter
from firebreak.devserver import DevServer, free_port
from firebreak.measure import now
from firebreak.model import Consent, Verdict
from firebreak.notify import channels
from firebreak.record import RunStatus
from firebreak.settings import LinkSettings, Settings
from firebreak.web.app import create_app
from firebreak.web.console.render import POLICY
from tests.firebreak.notify.receiver import Receiver, receiver
from tests.firebreak.web.house import House, Provider, house_on, person, provider, started
from tests.firebreak.web.pages import HTML, Page, sent
from tests.workflows.script import act
from tests.workflows.scripted import ScriptedActivities
from tests.workflows.stage import PATIENCE, Stage, scripted_workers, until

pytestmark = pytest.mark.asyncio(loop_scope="session")

ONE = Consent(mode="approval", approvers=1, timeout_seconds=600, default="reject")
TWO = ONE.model_copy(update={"approvers": 2})
FAILING = act("detach-public-ip", 2, "permanent", then="permanent")
RILEY, KIM, CASEY = person("riley", "responder"), person("kim", "approver"), person("casey", "commander")
ROLES = {"sam": "approver", "kim": "approver", "casey": "commander", "riley": "responder", "vera": "viewer"}
CONSOLE = "https://firebreak.test"
WHY = "looked into it"
LINK = re.compile(rf"{CONSOLE}/answer/(\S+)")


def listed(url: str, **roles: str) -> list[dict[str, Any]]:
    """People of the settings, each reached on a path of their own."""
    return [
        {
            "subject": f"sub-{name}",
            "name": f"{name}@example.org",
            "roles": [role],
            "url": f"{url.replace('http://', 'json://')}/{name}",
        }
        for name, role in roles.items()
    ]


@dataclass
class Post:
    """What people received, and the house that asks them."""

    house: House
    pager: Receiver
    links: LinkSettings

    async def message(self, incident: str, path: str) -> str:
        """The question that arrived there about an incident."""

        async def arrived() -> list[str]:
            title = f"{incident}: decision needed"
            return [m["message"] for to, m in self.pager.addressed() if to == path and m["title"] == title]

        return (await until(arrived, bool))[-1]

    async def token(self, incident: str, name: str) -> str:
        """The link that a person got."""
        found = LINK.search(await self.message(incident, f"/{name}"))
        assert found is not None
        return found.group(1)

    def reached(self, incident: str) -> set[str]:
        """Who was asked about an incident."""
        return {to for to, m in self.pager.addressed() if m["title"] == f"{incident}: decision needed"}

    def other(self, later: timedelta = timedelta(), **links: Any) -> FastAPI:
        """Another web process, with other settings of links, or at another time."""
        changed = LinkSettings.model_validate({**self.links.model_dump(), **links})
        services = self.house.services
        settings = services.settings.model_copy(update={"links": changed})
        return create_app(replace(services, settings=settings, clock=lambda: now() + later))


@pytest.fixture(scope="module")
def idp() -> Iterator[Provider]:
    with provider() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def post(
    server: DevServer, idp: Provider, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Post]:
    client = await Client.connect(server.address, data_converter=data_converter(Settings()))
    acting = ScriptedActivities()
    stage = Stage(client, Settings(task_queue=f"answers-{secrets.token_hex(4)}"), acting)
    with receiver() as pager:
        links = LinkSettings.model_validate(
            {"people": listed(pager.url, **ROLES), "secrets": ["the first one of the tests, long enough"]}
        )
        shared = {"urls": (pager.url.replace("http://", "json://") + "/shared",)}
        house = house_on(
            client,
            stage,
            tmp_path_factory.mktemp("answers"),
            idp,
            {"links": links, "notify": shared},
            public_url=CONSOLE,
        )
        notify = NotifyActivities(channels(house.services.settings)).notify
        async with AsyncExitStack() as stack:
            for each in scripted_workers(client, house.services.settings, acting, notify):
                await stack.enter_async_context(each)
            yield Post(house, pager, links)


def browser(app: FastAPI) -> httpx.AsyncClient:
    """Somebody without any cookie."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=CONSOLE, timeout=PATIENCE)


async def opened(post: Post, token: str, app: FastAPI | None = None) -> httpx.Response:
    async with browser(app or post.house.app) as phone:
        return await phone.get(f"/answer/{token}", headers=HTML)


async def answered(
    post: Post, token: str, kind: str, reason: str = WHY, app: FastAPI | None = None
) -> httpx.Response:
    async with browser(app or post.house.app) as phone:
        form = {"token": token, "kind": kind, "reason": reason}
        return await phone.post("/answer", data=form, headers=HTML)


async def asking(post: Post, consent: Consent = ONE, **who: str) -> str:
    """A containment that waits for approval."""
    incident, _ = await post.house.containment(consent=consent, **who)
    await post.house.asked(incident)
    return incident


async def rejected(post: Post, incident: str) -> None:
    await sent(post.house, CASEY, f"/incidents/{incident}/actions/reject", reason="the test is over")
    document = await post.house.ended(incident)
    await post.house.stage.client.get_workflow_handle(document.workflow_id).result()


async def accepted(post: Post, incident: str) -> list[tuple[str, str, str]]:
    document = await post.house.status(incident)
    return [(each.by, each.kind, each.via) for each in document.decisions if not each.refused]


def refusal(answer: httpx.Response, status: int, words: str) -> None:
    assert answer.status_code == status, answer.text
    shown = Page(answer.text).shown
    assert "Nothing was decided" in shown
    assert words in shown
    assert Page(answer.text).all("form") == []


async def test_a_link_from_a_message_approves_in_the_name_of_its_person(post: Post) -> None:
    incident, recording = await post.house.containment(consent=ONE)
    token = await post.token(incident, "sam")
    asked = await opened(post, token)
    found = Page(asked.text)
    assert asked.status_code == 200
    for words in ("riley@example.org", "sam@example.org", "aws.deny-all", "Approval by one person", incident):
        assert words in found.shown
    assert {each["value"] for each in found.all("button", name="kind")} == {"approve", "reject"}
    (form,), (hidden,) = found.all("form"), found.all("input", type="hidden")
    async with browser(post.house.app) as phone:
        body = {hidden["name"]: hidden["value"], "kind": "approve", "reason": WHY}
        done = await phone.post(form["action"], data=body)
    assert (done.status_code, "Recorded: approve" in done.text) == (200, True)
    document = await post.house.ended(incident)
    assert document.verdict is Verdict.CONTAINED
    assert await accepted(post, incident) == [("sam@example.org", "approve", "signed link")]
    assert any('"authorisation":"approve by signed link"' in line for line in recording.lines)


async def test_only_people_who_may_decide_are_asked_and_others_only_told_where(post: Post) -> None:
    incident = await asking(post)
    for name in ("sam", "kim", "casey"):
        assert LINK.search(await post.message(incident, f"/{name}"))
    shared = await post.message(incident, "/shared")
    assert shared.endswith(f"\n{CONSOLE}/incidents/{incident}")
    assert "/answer/" not in shared
    assert post.reached(incident) == {"/sam", "/kim", "/casey", "/shared"}
    await rejected(post, incident)
    failing, _ = await post.house.containment(FAILING)
    await post.token(failing, "riley")
    assert post.reached(failing) == {"/riley", "/casey", "/shared"}
    await sent(post.house, CASEY, f"/incidents/{failing}/actions/stop", reason="enough")


async def test_the_page_needs_no_script_no_cookie_and_nothing_from_elsewhere(post: Post) -> None:
    incident = await asking(post)
    answer = await opened(post, await post.token(incident, "sam"))
    found = Page(answer.text)
    assert (found.inline, found.foreign, found.all("script")) == ([], [], [])
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert "noindex" in answer.headers["x-robots-tag"]
    assert "set-cookie" not in answer.headers
    assert "<title>A decision is needed" in answer.text  # all that a preview in a chat shows
    assert found.all("meta", name="viewport")
    assert found.all("textarea", name="reason")[0]["required"] == ""
    await rejected(post, incident)


async def test_opening_a_link_decides_nothing_however_often(post: Post) -> None:
    incident, recording = await post.house.containment(consent=ONE)
    token = await post.token(incident, "sam")
    for _ in range(3):
        assert (await opened(post, token)).status_code == 200
    async with browser(post.house.app) as scanner:
        assert (await scanner.head(f"/answer/{token}")).status_code == 405
        assert (await scanner.post(f"/answer/{token}", data={"kind": "approve"})).status_code == 405
    document = await post.house.status(incident)
    assert (document.decisions, document.awaiting is None) == ((), False)
    assert recording.count("contain") == 0
    await rejected(post, incident)


async def test_two_links_of_one_person_are_one_approval(post: Post) -> None:
    incident, recording = await post.house.containment(consent=TWO)
    token = await post.token(incident, "sam")
    assert (await answered(post, token, "approve")).status_code == 200
    refusal(await opened(post, token), 410, "You have used this link")
    for kind in ("approve", "reject"):
        refusal(await answered(post, token, kind), 409, "has already")
    assert recording.count("contain") == 0
    assert (await answered(post, await post.token(incident, "kim"), "approve")).status_code == 200
    assert (await post.house.ended(incident)).verdict is Verdict.CONTAINED
    names = [by for by, kind, _ in await accepted(post, incident) if kind == "approve"]
    assert names == ["sam@example.org", "kim@example.org"]


async def test_a_link_and_a_login_of_one_person_are_one_approval(post: Post) -> None:
    incident = await asking(post, TWO)
    assert (await answered(post, await post.token(incident, "kim"), "approve")).status_code == 200
    again = await sent(post.house, KIM, f"/incidents/{incident}/actions/approve", reason=WHY)
    assert again.status_code == 409
    assert await accepted(post, incident) == [("kim@example.org", "approve", "signed link")]
    await rejected(post, incident)


async def test_a_link_used_twice_at_the_same_moment_counts_once(post: Post) -> None:
    incident = await asking(post, TWO)
    token = await post.token(incident, "sam")
    answers = await asyncio.gather(*(answered(post, token, "approve") for _ in range(5)))
    assert sorted(each.status_code for each in answers) == [200, 409, 409, 409, 409]
    assert len(await accepted(post, incident)) == 1
    await rejected(post, incident)


async def test_nobody_approves_by_link_what_they_asked_for(post: Post) -> None:
    incident, recording = await post.house.containment(consent=ONE, by="sam@example.org")
    token = await post.token(incident, "sam")
    found = Page((await opened(post, token)).text)
    assert [each["value"] for each in found.all("button", name="kind")] == ["reject"]
    assert "You asked for this yourself" in found.shown
    refusal(await answered(post, token, "approve"), 403, "nobody-approves-their-own")
    assert recording.count("contain") == 0
    assert await accepted(post, incident) == []
    assert (await answered(post, token, "reject")).status_code == 200
    assert (await post.house.ended(incident)).verdict is Verdict.REJECTED


async def test_whatever_we_did_not_sign_gets_one_answer(post: Post) -> None:
    incident = await asking(post)
    token = await post.token(incident, "sam")
    stranger = post.other(secrets=["another secret that nobody here has"])
    middle = len(token) // 2
    forged = [
        token[:-1],
        token[:middle] + ("A" if token[middle] != "A" else "B") + token[middle + 1 :],
        token.rpartition(".")[0],
        f"{token}x",
        "nonsense",
        "a/b/../c",
        "A" * 4000,
        "\u00e9.\u00e9",
    ]
    answers = [await opened(post, each) for each in forged]
    answers += [await answered(post, each, "approve") for each in [*forged, ""]]
    answers += [await opened(post, token, stranger), await answered(post, token, "approve", app=stranger)]
    assert {each.status_code for each in answers} == {403}
    assert len({each.text for each in answers}) == 1
    assert "This link is not valid" in answers[0].text
    assert await accepted(post, incident) == []
    await rejected(post, incident)


async def test_a_link_runs_out(post: Post) -> None:
    incident = await asking(post)
    token = await post.token(incident, "sam")
    late = post.other(later=timedelta(seconds=ONE.timeout_seconds))  # before its hour is over
    refusal(await opened(post, token, late), 410, "has run out")
    refusal(await answered(post, token, "approve", app=late), 410, "has run out")
    assert await accepted(post, incident) == []
    await rejected(post, incident)


async def test_a_role_that_was_taken_away_is_gone_from_links_that_were_sent(post: Post) -> None:
    incident = await asking(post)
    token = await post.token(incident, "sam")
    for role, words in (("viewer", "may not approve"), ("nothing", "there is no workload")):
        app = post.other(people=listed(post.pager.url, **(ROLES | {"sam": role})))
        assert (await opened(post, token, app)).status_code == 403
        refusal(await answered(post, token, "approve", app=app), 403, words)
    left = post.other(people=listed(post.pager.url, kim="approver"))
    refusal(await opened(post, token, left), 403, "does not decide by link any more")
    refusal(await answered(post, token, "approve", app=left), 403, "does not decide by link any more")
    assert await accepted(post, incident) == []
    await rejected(post, incident)


async def test_a_new_secret_signs_while_old_links_are_still_taken(post: Post) -> None:
    incident = await asking(post)
    token = await post.token(incident, "sam")
    old = post.links.secrets[0].get_secret_value()
    new = "the second one of the tests, long enough"
    assert (await opened(post, token, post.other(secrets=[new]))).status_code == 403
    both = post.other(secrets=[new, old])
    assert (await answered(post, token, "reject", app=both)).status_code == 200
    await post.house.ended(incident)


async def test_a_question_that_somebody_else_answered_is_closed(post: Post) -> None:
    incident = await asking(post)
    token = await post.token(incident, "sam")
    await rejected(post, incident)
    refusal(await opened(post, token), 410, "has been answered")
    refusal(await answered(post, token, "approve"), 409, "the run has ended")
    assert await accepted(post, incident) == [("casey@example.org", "reject", "")]


async def test_a_link_answers_its_own_question_and_no_later_one_of_the_run(post: Post) -> None:
    incident, _ = await post.house.containment(FAILING)
    first = (await post.house.asked(incident)).awaiting
    assert first is not None
    token = await post.token(incident, "casey")
    await sent(post.house, CASEY, f"/incidents/{incident}/actions/retry", reason="once more")

    def next_question(document: RunStatus) -> bool:
        return document.awaiting is not None and document.awaiting.since > first.since

    await until(lambda: post.house.status(incident), next_question)
    refusal(await opened(post, token), 410, "has been answered")
    refusal(await answered(post, token, "stop"), 409, "is not asked any more")
    document = await post.house.status(incident)
    assert document.awaiting is not None
    assert not document.finished
    assert await accepted(post, incident) == [("casey@example.org", "retry", "")]
    refused = document.decisions[-1]  # kept, as every decision that a run did not accept
    assert (refused.kind, refused.via, "not asked any more" in refused.refused) == (
        "stop",
        "signed link",
        True,
    )
    fresh = await until(lambda: post.token(incident, "casey"), lambda other: other != token)
    found = Page((await opened(post, fresh)).text)
    assert {each["value"] for each in found.all("button", name="kind")} == {"retry", "proceed", "stop"}
    assert "aws.detach-public-ip" in found.shown
    assert (await answered(post, fresh, "approve")).status_code == 409  # no answer to this question
    assert (await answered(post, fresh, "stop")).status_code == 200
    assert (await post.house.ended(incident)).verdict is not Verdict.CONTAINED


async def test_a_link_of_one_run_is_worth_nothing_in_the_next_of_the_same_workload(post: Post) -> None:
    incident = await asking(post)
    token = await post.token(incident, "sam")
    workload = (await post.house.status(incident)).workload_id
    await rejected(post, incident)
    post.house.free.append(workload)
    second, recording = await post.house.containment(consent=ONE)
    document = await post.house.asked(second)
    assert document.workflow_id == start.workflow_id(
        post.house.services.inventory.current().workload(workload)
    )
    refusal(await answered(post, token, "approve"), 409, "the run has ended")
    assert (await accepted(post, second), recording.count("contain")) == ([], 0)
    await rejected(post, second)


async def test_a_release_is_approved_by_link_and_never_by_who_asked(post: Post) -> None:
    incident, recording = await post.house.containment()
    await post.house.ended(incident)
    async with post.house.browser(CASEY) as api:
        asked = started(await api.post(f"/api/v1/runs/{incident}/release", json={"reason": "clean"}))
    own = await post.token(incident, "casey")
    refusal(await answered(post, own, "approve"), 403, "nobody-approves-their-own")
    token = await post.token(incident, "sam")
    found = Page((await opened(post, token)).text)
    assert "Release of" in found.shown
    assert "aws.deny-all" in found.shown  # what would be taken back
    assert recording.count("revert") == 0
    assert (await answered(post, token, "approve")).status_code == 200
    await post.house.stage.client.get_workflow_handle(asked.workflow_id).result()
    assert recording.release_packages[0].request.approved_by == "sam@example.org"


@pytest.mark.parametrize(("kind", "reason"), [("approve", "  "), ("approve", ""), ("delete", WHY), ("", WHY)])
async def test_an_answer_without_a_reason_or_a_choice_is_asked_again(
    post: Post, kind: str, reason: str
) -> None:
    incident = await asking(post)
    token = await post.token(incident, "sam")
    answer = await answered(post, token, kind, reason)
    assert answer.status_code == 422
    assert Page(answer.text).all("input", name="token")[0]["value"] == token
    assert await accepted(post, incident) == []
    await rejected(post, incident)


async def test_a_link_is_in_no_log_and_in_no_history(post: Post) -> None:
    before, root = list(logging.getLogger().handlers), logging.getLogger()
    level, stream = root.level, io.StringIO()
    logs.configure(Settings(log_level="DEBUG", log_format="json"), stream)
    try:
        incident, recording = await post.house.containment(consent=ONE)
        token = await post.token(incident, "sam")
        await opened(post, token)
        await answered(post, f"{token}x", "approve")
        await answered(post, token, "approve")
        document = await post.house.ended(incident)
    finally:
        root.handlers[:] = before
        root.setLevel(level)
        structlog.reset_defaults()
    assert "link.used" in stream.getvalue()
    signature = token.rpartition(".")[2]
    assert signature not in stream.getvalue()
    handle = post.house.stage.client.get_workflow_handle(document.workflow_id)
    history = b"".join([event.SerializeToString() async for event in handle.fetch_history_events()])
    assert b"decision_needed" in history
    assert signature.encode() not in history
    assert signature not in document.model_dump_json() + "".join(recording.lines)


async def test_a_person_who_cannot_be_reached_is_shown_and_delays_nothing(
    idp: Provider, post: Post, tmp_path_factory: pytest.TempPathFactory
) -> None:
    people = listed(f"http://127.0.0.1:{free_port()}", sam="approver") + listed(
        post.pager.url, kim="approver"
    )
    links = LinkSettings.model_validate({"people": people, "secrets": post.links.secrets})
    acting = ScriptedActivities()
    client = post.house.stage.client
    stage = Stage(client, Settings(task_queue=f"answers-{secrets.token_hex(4)}"), acting)
    folder = tmp_path_factory.mktemp("dead")
    house = house_on(client, stage, folder, idp, {"links": links}, public_url=CONSOLE)
    notify = NotifyActivities(channels(house.services.settings)).notify
    async with AsyncExitStack() as stack:
        for each in scripted_workers(client, house.services.settings, acting, notify):
            await stack.enter_async_context(each)
        mine = replace(post, house=house, links=links)
        incident, _ = await house.containment(consent=ONE)
        assert (await answered(mine, await mine.token(incident, "kim"), "approve")).status_code == 200
        document = await house.ended(incident)
        assert document.verdict is Verdict.CONTAINED
        handle = client.get_workflow_handle(document.workflow_id)
        await handle.result()
        notes = (await runs.status(handle)).notes
    assert any("could not be paged (decision_needed)" in note for note in notes)
