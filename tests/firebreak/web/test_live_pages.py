"""Live pages as a whole: how many there may be, how they end with the process, and what follows an end."""

from __future__ import annotations

import asyncio
import secrets
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import httpx
import pytest
import pytest_asyncio

from firebreak.devserver import DevServer
from firebreak.settings import ConsoleSettings, Settings, WebSettings
from firebreak.web.server import DRAINING_SECONDS
from firebreak.web.serving import run
from tests.browser.site import served
from tests.firebreak.web.house import House, Provider, house_on, person, provider, started
from tests.firebreak.web.pages import HTML, Page, events, page, sent
from tests.workflows.script import act
from tests.workflows.stage import PATIENCE, Stage, until

pytestmark = pytest.mark.asyncio(loop_scope="session")

CASEY, SAM = person("casey", "commander"), person("sam", "approver")
FAILING = act("detach-public-ip", 2, "permanent", then="permanent")


@pytest.fixture(scope="module")
def idp() -> Iterator[Provider]:
    with provider() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def narrow(
    stage: Stage, idp: Provider, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[House]:
    """A house with one place for a live page."""
    yield house_on(stage.client, stage, tmp_path_factory.mktemp("narrow"), idp, live_streams=1)


def cookies(house: House) -> dict[str, str]:
    """What a browser of somebody who is logged in sends."""
    name = house.app.state.guard.sessions.cookie
    return {"cookie": f"{name}={house.browser(CASEY).cookies[name]}"}


async def test_over_the_limit_a_page_loads_itself_again_instead(narrow: House) -> None:
    incident, _ = await narrow.containment(FAILING)
    await narrow.asked(incident)
    path = f"/incidents/{incident}"
    async with AsyncExitStack() as stack:
        address = await served(stack, narrow.app)
        async with httpx.AsyncClient(
            base_url=address, headers=cookies(narrow), timeout=PATIENCE, trust_env=False
        ) as browser:
            async with browser.stream("GET", f"{path}/events") as first:
                assert first.status_code == 200
                for other in (f"{path}/events", "/events"):
                    full = await browser.get(other)
                    assert (full.status_code, full.headers["retry-after"]) == (503, "10")
                    assert "too many live pages" in full.text
                for shown, again in ((path, path), ("/", "/")):
                    found = Page((await browser.get(shown, headers=HTML)).text)
                    assert "Too many live pages are open" in found.shown
                    assert {"href": again} in found.all("a")
                    assert found.all("meta", **{"http-equiv": "refresh", "content": "10"})
                    assert not [e for _, e in found.elements if "sse-connect" in e]
            await until(lambda: _places(narrow), lambda taken: taken == 0)
            async with browser.stream("GET", f"{path}/events") as next_one:
                assert next_one.status_code == 200
    await sent(narrow, CASEY, f"{path}/actions/stop", reason="enough")


async def test_a_place_that_was_given_back_is_live_again(narrow: House) -> None:
    await until(lambda: _places(narrow), lambda taken: taken == 0)
    found = await page(narrow, CASEY, "/")
    assert "Too many live pages" not in found.shown
    assert [e for _, e in found.elements if "sse-connect" in e]


async def test_a_release_after_the_end_is_noticed_by_a_page_that_is_open(narrow: House) -> None:
    incident, _ = await narrow.containment()
    await narrow.ended(incident)
    found = await page(narrow, CASEY, f"/incidents/{incident}")
    assert not [e for _, e in found.elements if "sse-connect" in e]
    (poll,) = [e for _, e in found.elements if "hx-get" in e]
    assert poll["hx-trigger"] == "every 30s"
    async with narrow.browser(CASEY) as browser:

        async def looked() -> httpx.Response:
            return await browser.get(poll["hx-get"])

        assert (await looked()).status_code == 204
        asked = started(await browser.post(f"/api/v1/runs/{incident}/release", json={"reason": "clean"}))
        noticed = await until(looked, lambda answer: answer.status_code == 200)
        assert noticed.headers["hx-refresh"] == "true"
        live = await page(narrow, CASEY, f"/incidents/{incident}")
        assert [e for _, e in live.elements if "sse-connect" in e]
        await sent(narrow, SAM, f"/incidents/{incident}/actions/approve", reason="agreed")
        await narrow.stage.client.get_workflow_handle(asked.workflow_id).result()
    after = await page(narrow, CASEY, f"/incidents/{incident}")
    assert not [e for _, e in after.elements if "hx-get" in e]  # nothing follows a release
    async with narrow.browser() as nobody:
        gone = await nobody.get(poll["hx-get"])
    assert (gone.status_code, "Your session has ended" in gone.text) == (200, True)


async def test_the_stream_of_a_run_leaves_a_page_that_looks_for_a_release(narrow: House) -> None:
    held = asyncio.Event()
    incident, _ = await narrow.containment(FAILING)
    await narrow.asked(incident)
    last: dict[str, str] = {}
    async with AsyncExitStack() as stack:
        address = await served(stack, narrow.app)
        browser = await stack.enter_async_context(
            httpx.AsyncClient(base_url=address, headers=cookies(narrow), timeout=PATIENCE, trust_env=False)
        )
        answer = await stack.enter_async_context(browser.stream("GET", f"/incidents/{incident}/events"))
        async for name, data in events(answer):
            last[name] = data
            if name == "people" and not held.is_set():
                held.set()
                await sent(narrow, CASEY, f"/incidents/{incident}/actions/stop", reason="enough")
    assert f"/incidents/{incident}/later?seen=" in last["later"]
    assert "ended" in last


async def test_a_stop_does_not_wait_for_live_pages(
    server: DevServer, stage: Stage, narrow: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", server.address)
    incident, _ = await narrow.containment(FAILING)
    await narrow.asked(incident)
    token, loop = secrets.token_urlsafe(16), asyncio.get_running_loop()
    settings = Settings(
        inventory=narrow.services.settings.inventory,
        task_queue=stage.settings.task_queue,
        web=WebSettings(port=0, embedded=True),
        console=ConsoleSettings.model_validate({"one_time_logins": {"ada": token}}),
    )
    told: asyncio.Future[str] = loop.create_future()
    names: list[str] = []
    serving = asyncio.create_task(run(settings, told.set_result))
    try:
        async with httpx.AsyncClient(base_url=await told, timeout=PATIENCE, trust_env=False) as browser:
            await browser.get("/login/once", params={"name": "ada", "token": token})
            async with (
                browser.stream("GET", f"/incidents/{incident}/events") as one,
                browser.stream("GET", "/events") as other,
            ):
                listing, asked_at = events(other), time.monotonic()
                await anext(listing)
                async for name, _ in events(one):
                    names.append(name)
                    if name == "phases":
                        asked_at = time.monotonic()
                        signal.raise_signal(signal.SIGTERM)
                names += [name async for name, _ in listing]
            await asyncio.wait_for(serving, PATIENCE)
            took = time.monotonic() - asked_at
    finally:
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(each)
        serving.cancel()
    assert took < DRAINING_SECONDS / 2
    assert "ended" not in names  # so that browsers connect to the process that follows
    await sent(narrow, CASEY, f"/incidents/{incident}/actions/stop", reason="enough")


async def _places(house: House) -> int:
    taken: int = house.app.state.console.streams.taken
    return taken
