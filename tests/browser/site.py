"""The console on loopback, as operators run it, with scripted containments behind it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import uvicorn
from fastapi import FastAPI
from starlette.responses import Response
from temporalio.client import Client

from firebreak.codec import data_converter
from firebreak.connect import ensure_search_attributes
from firebreak.devserver import DevServer, dev_server
from firebreak.model import Consent
from firebreak.policy.rules import Person
from firebreak.settings import Settings, WebSettings
from firebreak.web.server import listening
from tests.browser.chromium import PATIENCE, Browser
from tests.firebreak.web.house import House, house_on, provider
from tests.workflows.script import Script, standard
from tests.workflows.stage import stage_on

T = TypeVar("T")


class Loop:
    """An event loop in a thread of its own, so that tests stay plain and synchronous."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="site", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE * 2)

    def close(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@dataclass
class Site:
    """A house at an address."""

    url: str
    house: House
    loop: Loop

    @staticmethod
    def asking(consent: Consent) -> Script:
        """A standard run that waits for people first."""
        return Script(standard(), consent=consent)

    def enter(self, browser: Browser, person: Person) -> None:
        """Let a person be logged in, as the identity provider's answer would."""
        sessions, answer = self.house.app.state.guard.sessions, Response()
        sessions.begin(answer, person)
        value = answer.headers["set-cookie"].split(";")[0].partition("=")[2]
        browser.cookie(sessions.cookie, value, self.url)


@contextmanager
def site(folder: Path, **console: Any) -> Iterator[Site]:
    """A site with a Temporal server of its own."""
    loop = Loop()
    try:
        with dev_server(folder, memory=True) as server, provider() as made:
            stack = AsyncExitStack()
            try:
                yield loop.run(_opened(stack, server, folder, loop, {"made": made, **console}))
            finally:
                loop.run(stack.aclose())
    finally:
        loop.close()


async def _opened(
    stack: AsyncExitStack, server: DevServer, folder: Path, loop: Loop, console: dict[str, Any]
) -> Site:
    client = await Client.connect(server.address, data_converter=data_converter(Settings()))
    await ensure_search_attributes(client)
    stage = await stack.enter_async_context(stage_on(client))
    house = house_on(client, stage, folder, **console)
    url = await served(stack, house.app)
    return Site(url, house, loop)


async def served(stack: AsyncExitStack, app: FastAPI) -> str:
    """The address of an application that is served until the stack ends."""
    at = listening(WebSettings(port=0))
    config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    running = uvicorn.Server(config)
    task = asyncio.create_task(running.serve(sockets=[at]))

    async def end() -> None:
        running.should_exit = True
        await task

    stack.push_async_callback(end)
    host, port = at.getsockname()[:2]
    return f"http://{host}:{port}"
