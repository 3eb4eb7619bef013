"""Live pages: what is pushed to whom, how often Temporal is asked for it, and what a silence looks like."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest
import pytest_asyncio
from temporalio.client import Client, Interceptor, OutboundInterceptor, QueryWorkflowInput
from temporalio.exceptions import TemporalError
from temporalio.service import RPCError, RPCStatusCode

from firebreak.codec import data_converter
from firebreak.devserver import DevServer
from firebreak.policy.rules import Person
from firebreak.settings import Settings
from firebreak.web.console.events import event
from firebreak.web.console.watch import Watch, Watches
from firebreak.web.identity.sessions import Sessions
from tests.browser.site import served
from tests.firebreak.web.house import House, Provider, house_on, person, provider
from tests.firebreak.web.pages import events, sent
from tests.workflows.script import act
from tests.workflows.stage import PATIENCE, Stage, until

pytestmark = pytest.mark.asyncio(loop_scope="session")

VIEWER, CASEY, SAM = person("vera", "viewer"), person("casey", "commander"), person("sam", "approver")
FAILING = act("detach-public-ip", 2, "permanent", then="permanent")


@dataclass
class Line(Interceptor):
    """The line to Temporal: counts what is asked, and can be cut."""

    asked: Counter[str] = field(default_factory=Counter)
    cut: bool = False

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:  # noqa: A002 - as the SDK has it
        return _Counting(next, self)


class _Counting(OutboundInterceptor):
    def __init__(self, following: OutboundInterceptor, line: Line) -> None:
        super().__init__(following)
        self.line = line

    async def query_workflow(self, input: QueryWorkflowInput) -> Any:  # noqa: A002 - as the SDK has it
        if self.line.cut:
            raise RPCError("connection refused", RPCStatusCode.UNAVAILABLE, b"")
        self.line.asked[input.id] += 1
        return await super().query_workflow(input)


@pytest.fixture(scope="module")
def idp() -> Iterator[Provider]:
    with provider() as running:
        yield running


@dataclass
class Lived:
    """A house on loopback, and the line from it to Temporal."""

    house: House
    url: str
    line: Line

    def browser(self, who: Person) -> httpx.AsyncClient:
        browser = self.house.browser(who)
        cookie = browser.cookies[self.house.app.state.guard.sessions.cookie]
        name = self.house.app.state.guard.sessions.cookie
        return httpx.AsyncClient(
            base_url=self.url, headers={"cookie": f"{name}={cookie}"}, timeout=PATIENCE, trust_env=False
        )

    @property
    def watched(self) -> dict[str, Watch[Any]]:
        watches: Watches[Any] = self.house.app.state.console.incidents
        return watches.open

    async def nobody_looks(self, incident: str) -> None:
        async def looked_at() -> bool:
            return incident in self.watched

        await until(looked_at, lambda still: not still)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lived(
    server: DevServer, stage: Stage, idp: Provider, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Lived]:
    line = Line()
    client = await Client.connect(
        server.address, data_converter=data_converter(Settings()), interceptors=[line]
    )
    house = house_on(client, stage, tmp_path_factory.mktemp("house"), idp)
    async with AsyncExitStack() as stack:
        yield Lived(house, await served(stack, house.app), line)


@dataclass
class Screen:
    """What one viewer was sent so far."""

    shown: dict[str, str] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def follow(self, answer: httpx.Response) -> None:
        async for name, data in events(answer):
            async with self.changed:
                self.names.append(name)
                self.shown[name] = data
                self.changed.notify_all()

    async def see(self, name: str, words: str) -> None:
        async with asyncio.timeout(PATIENCE), self.changed:
            await self.changed.wait_for(lambda: words in self.shown.get(name, ""))


class Viewers:
    """People in front of the same page."""

    def __init__(self, lived: Lived, stack: AsyncExitStack) -> None:
        self.lived, self.stack = lived, stack
        self.following: list[asyncio.Task[None]] = []

    async def open(self, who: Person, path: str) -> Screen:
        browser = await self.stack.enter_async_context(self.lived.browser(who))
        answer = await self.stack.enter_async_context(browser.stream("GET", path))
        assert answer.headers["content-type"].startswith("text/event-stream")
        screen = Screen()
        task = asyncio.create_task(screen.follow(answer))
        self.following.append(task)
        self.stack.callback(task.cancel)
        return screen

    async def until_the_end(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*self.following)


@pytest_asyncio.fixture(loop_scope="session")
async def viewers(lived: Lived) -> AsyncIterator[Viewers]:
    async with AsyncExitStack() as stack:
        yield Viewers(lived, stack)


async def test_a_change_is_pushed_and_the_stream_ends_with_the_run(lived: Lived, viewers: Viewers) -> None:
    held = asyncio.Event()
    incident, _ = await lived.house.containment(replace(act("detach-public-ip", 2), held=held))
    screen = await viewers.open(VIEWER, f"/incidents/{incident}/events")
    await screen.see("phases", "in progress")
    before = len(screen.names)
    held.set()
    await screen.see("head", "contained")
    await viewers.until_the_end()
    assert screen.names[-1] == "ended"
    assert {"phases", "clock", "todo", "timeline", "evidence"} <= set(screen.names[before:])
    assert "aria-current" not in screen.shown["head"]  # a part of the page, not a page


async def test_what_a_page_shows_already_is_not_sent_again(lived: Lived, viewers: Viewers) -> None:
    incident, _ = await lived.house.containment(FAILING)
    await lived.house.asked(incident)
    async with lived.browser(VIEWER) as browser:
        text = (await browser.get(f"/incidents/{incident}", headers={"accept": "text/html"})).text
    source = text.split('sse-connect="')[1].split('"')[0]
    screen = await viewers.open(VIEWER, source)
    await screen.see("", "still here")
    await sent(lived.house, CASEY, f"/incidents/{incident}/actions/stop", reason="enough")
    await screen.see("people", "enough")
    await viewers.until_the_end()
    assert screen.names[0] == ""


async def test_many_viewers_ask_as_often_as_one(lived: Lived, viewers: Viewers) -> None:
    incident, _ = await lived.house.containment(FAILING)
    document = await lived.house.asked(incident)
    screens = [await viewers.open(VIEWER, f"/incidents/{incident}/events") for _ in range(20)]
    for screen in screens:
        await screen.see("phases", "needs a decision")
    assert lived.watched[incident].viewers == 20
    begun = lived.line.asked[document.workflow_id]
    started = asyncio.get_running_loop().time()

    async def asked_again() -> int:
        return lived.line.asked[document.workflow_id] - begun

    asked = await until(asked_again, lambda count: count >= 3)
    assert asked <= asyncio.get_running_loop().time() - started + 1  # one a second, not twenty
    watch = lived.watched[incident]
    assert watch._news.seen is not None
    sections = watch._news.seen.sections
    assert all(screen.shown["phases"] == "\n".join(sections["phases"].splitlines()) for screen in screens)
    await sent(lived.house, CASEY, f"/incidents/{incident}/actions/stop", reason="enough")
    await viewers.until_the_end()
    await lived.nobody_looks(incident)


async def test_nobody_is_asked_when_nobody_looks(lived: Lived) -> None:
    incident, _ = await lived.house.containment(FAILING)
    await lived.house.asked(incident)
    async with AsyncExitStack() as stack:
        screen = await Viewers(lived, stack).open(VIEWER, f"/incidents/{incident}/events")
        await screen.see("phases", "needs a decision")
        assert incident in lived.watched
    await lived.nobody_looks(incident)
    await sent(lived.house, CASEY, f"/incidents/{incident}/actions/stop", reason="enough")


async def test_each_viewer_is_offered_what_they_may_do(lived: Lived, viewers: Viewers) -> None:
    incident, _ = await lived.house.containment(FAILING)
    await lived.house.asked(incident)
    path = f"/incidents/{incident}/events"
    seen = {who.name: await viewers.open(who, path) for who in (VIEWER, CASEY)}
    await seen[CASEY.name].see("panel", "/actions/proceed")
    await seen[VIEWER.name].see("panel", "Your roles do not let you decide here")
    assert "/actions/" not in seen[VIEWER.name].shown["panel"]
    await sent(lived.house, CASEY, f"/incidents/{incident}/actions/stop", reason="enough")
    await viewers.until_the_end()


async def test_a_silence_of_temporal_is_said_and_ends(lived: Lived, viewers: Viewers) -> None:
    incident, _ = await lived.house.containment(FAILING)
    await lived.house.asked(incident)
    screen = await viewers.open(VIEWER, f"/incidents/{incident}/events")
    await screen.see("phases", "needs a decision")
    lived.line.cut = True
    try:
        await screen.see("stale", "No news since")
        assert "needs a decision" in screen.shown["phases"]  # the last that is known stays
        async with lived.browser(VIEWER) as browser:
            page = await browser.get(f"/incidents/{incident}", headers={"accept": "text/html"})
        assert (page.status_code, 'http-equiv="refresh"' in page.text) == (503, True)
    finally:
        lived.line.cut = False
    await until(lambda: _shown(screen, "stale"), lambda words: "No news" not in words)
    await sent(lived.house, CASEY, f"/incidents/{incident}/actions/stop", reason="enough")
    await screen.see("head", "partially contained")
    await viewers.until_the_end()


async def test_a_session_that_runs_out_sees_no_more(
    lived: Lived, viewers: Viewers, monkeypatch: pytest.MonkeyPatch
) -> None:
    incident, _ = await lived.house.containment(FAILING)
    await lived.house.asked(incident)
    screen = await viewers.open(VIEWER, f"/incidents/{incident}/events")
    await screen.see("phases", "needs a decision")
    monkeypatch.setattr(Sessions, "read", lambda *_: None)
    await lived.house.stage.client.get_workflow_handle(
        (await lived.house.status(incident)).workflow_id
    ).execute_update("stop", {"by": "casey", "reason": "enough", "kind": "stop"})
    await screen.see("stale", "Your session has ended")
    await viewers.until_the_end()


async def test_the_list_lives_too(lived: Lived, viewers: Viewers) -> None:
    screen = await viewers.open(VIEWER, "/events")
    incident, _ = await lived.house.containment(FAILING)
    await screen.see("rows", incident)
    await lived.house.asked(incident)
    await screen.see("rows", "needs a person")
    await sent(lived.house, CASEY, f"/incidents/{incident}/actions/stop", reason="enough")
    hidden = await viewers.open(person("nora"), "/events")
    await hidden.see("rows", "No incident yet")


async def test_a_poller_that_breaks_breaks_for_those_who_look() -> None:
    async def ask() -> Any:
        raise ValueError("a bug of ours")

    watches: Watches[Any] = Watches(lambda _: ask)
    async with watches.looking("x") as watch:
        with pytest.raises(ValueError, match="a bug of ours"):
            await watch.after(0, PATIENCE)
    assert watches.open == {}


async def test_a_poller_goes_on_after_an_error_of_temporal() -> None:
    answers: list[Any] = [TemporalError("away"), TemporalError("away")]

    @dataclass(frozen=True)
    class Seen:
        fingerprint: str = "1"
        over: bool = True

    async def ask() -> Seen:
        if answers:
            raise answers.pop()
        return Seen()

    watches: Watches[Seen] = Watches(lambda _: ask, period=0.01)
    async with watches.looking("x") as watch:
        first = await watch.after(0, PATIENCE)
        assert first is not None
        assert (first.seen, first.silent_since is not None, first.last) == (None, True, False)
        second = await watch.after(first.number, PATIENCE)
        assert second is not None
        assert (second.seen, second.silent_since, second.last) == (Seen(), None, True)


async def test_no_text_ends_an_event_early() -> None:
    assert event("x", "a\r\n\r\nevent: ended\rdata: b") == (
        "event: x\ndata: a\ndata: \ndata: event: ended\ndata: data: b\n\n"
    )
    assert event("x", "") == "event: x\ndata: \n\n"


async def _shown(screen: Screen, name: str) -> str:
    return screen.shown.get(name, "")
