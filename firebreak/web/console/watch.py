"""Looking at something that changes: one poller for all who look, news only when there are some."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from temporalio.exceptions import TemporalError

from firebreak.measure import now

PERIOD_SECONDS = 1.0
"""Between two questions to Temporal while somebody looks."""
HEARTBEAT_SECONDS = 15.0
"""Proxies close a connection on which nothing comes; common limits begin at 30 s."""


class Seen(Protocol):
    """What a poller brings home."""

    @property
    def fingerprint(self) -> str:
        """The same for two states that look the same, whatever the time is."""
        ...

    @property
    def over(self) -> bool:
        """Whether it will not change any more."""
        ...


SeenT = TypeVar("SeenT", bound=Seen)
Ask = Callable[[], Awaitable[SeenT]]


@dataclass(frozen=True)
class News(Generic[SeenT]):
    """The newest state, numbered."""

    number: int
    seen: SeenT | None
    at: datetime
    silent_since: datetime | None = None
    """When Temporal last answered, where it does not answer now."""

    @property
    def last(self) -> bool:
        """Whether no more will come."""
        return self.seen is not None and self.seen.over and self.silent_since is None


class Watch(Generic[SeenT]):
    """One poller, and those who look at what it sees."""

    def __init__(self, ask: Ask[SeenT], period: float) -> None:
        self.viewers = 0
        self.closed = False
        """Whether those who look are asked to go."""
        self._ask = ask
        self._period = period
        self._changed = asyncio.Condition()
        self._news: News[SeenT] = News(0, None, now())
        self._task = asyncio.create_task(self._poll())

    async def after(self, number: int, patience: float = HEARTBEAT_SECONDS) -> News[SeenT] | None:
        """News with a higher number; None where there were none for a while."""
        try:
            async with asyncio.timeout(patience), self._changed:
                await self._changed.wait_for(lambda: self._ready(number))
        except TimeoutError:
            return None
        if self._news.number <= number:
            if self._task.done():
                self._task.result()  # a poller ends early only by an error, which belongs to those who look
            return None
        return self._news

    async def close(self) -> None:
        """Let everybody who looks go at once."""
        self.closed = True
        async with self._changed:
            self._changed.notify_all()

    def _ready(self, number: int) -> bool:
        return self._news.number > number or self._task.done() or self.closed

    def end(self) -> None:
        """Stop asking."""
        self._task.cancel()

    async def _poll(self) -> None:
        try:
            while not self._news.last:
                await self._look()
                await asyncio.sleep(self._period)
        finally:
            async with self._changed:
                self._changed.notify_all()

    async def _look(self) -> None:
        try:
            await self._tell(News(self._news.number, await self._ask(), now()))
        except TemporalError:  # away: said to everybody who looks, and asked again
            since = self._news.silent_since or self._news.at
            await self._tell(replace(self._news, silent_since=since))

    async def _tell(self, found: News[SeenT]) -> None:
        old = self._news
        before, after = old.seen and old.seen.fingerprint, found.seen and found.seen.fingerprint
        changed = (before, old.silent_since is None) != (after, found.silent_since is None)
        seen = found.seen if changed else old.seen  # what has not changed is not written again
        self._news = replace(found, seen=seen, number=old.number + changed)
        if changed:
            async with self._changed:
                self._changed.notify_all()


class Watches(Generic[SeenT]):
    """Every watch of this process, by the name of what is looked at."""

    def __init__(self, ask_about: Callable[[str], Ask[SeenT]], period: float = PERIOD_SECONDS) -> None:
        self.open: dict[str, Watch[SeenT]] = {}
        self.closed = False
        self._ask_about = ask_about
        self._period = period

    @asynccontextmanager
    async def looking(self, name: str) -> AsyncIterator[Watch[SeenT]]:
        """Share the watch of that name; the last one who leaves ends it."""
        watch = self.open.get(name)
        if watch is None:
            watch = self.open[name] = Watch(self._ask_about(name), self._period)
            watch.closed = self.closed
        watch.viewers += 1
        try:
            yield watch
        finally:
            watch.viewers -= 1
            if not watch.viewers:
                del self.open[name]
                watch.end()

    async def close(self) -> None:
        """Let everybody go, and whoever still comes."""
        self.closed = True
        for watch in tuple(self.open.values()):
            await watch.close()
