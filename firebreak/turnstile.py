"""Lets so many callers through at one time, the most urgent of those who wait first. For one event loop."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from heapq import heappop, heappush
from itertools import count
from types import TracebackType

URGENCY: ContextVar[int] = ContextVar("firebreak_urgency", default=3)
"""How urgent the work at hand is, as Temporal counts priorities: 1 comes first, 5 last."""


class Turnstile:
    """An asynchronous context manager that holds one of a few places while its block runs."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._order = count()
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []

    async def __aenter__(self) -> None:
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heappush(self._waiting, (URGENCY.get(), next(self._order), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_up_place()  # it was given in the moment of the cancellation
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_up_place()

    def _give_up_place(self) -> None:
        """Hand the place on; nobody is free to take it while others wait."""
        while self._waiting:
            _, _, turn = heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
