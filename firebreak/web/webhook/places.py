"""How many alerts are made durable at one time: as many as the server gets done in time.

Additive increase, multiplicative decrease (RFC 5681 section 3.1). With a fixed number, a server that is
slower than the senders gets little done: each alert is begun, runs out of time half-way, and comes again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Places:
    """Hands out places for work; each has half of the time to wait and half to be done."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._allowed = float(most)
        self._taken = 0
        self._changed = asyncio.Condition()
        self._lessened_at = float("-inf")

    @property
    def allowed(self) -> int:
        """How many may be taken now."""
        return max(1, int(self._allowed))

    @asynccontextmanager
    async def one(self, seconds: float) -> AsyncIterator[None]:
        """Take a place for a block; raises TimeoutError when there was none, or the block took too long."""
        async with asyncio.timeout(seconds / 2), self._changed:
            await self._changed.wait_for(lambda: self._taken < self.allowed)
            self._taken += 1
        try:
            async with asyncio.timeout(seconds / 2):
                yield
            self._allowed = min(self._most, self._allowed + 1 / self._allowed)
        except TimeoutError:
            self._lessen(seconds / 2)
            raise
        finally:
            await self._leave()

    def _lessen(self, window: float) -> None:
        """Halve once for all that ran out of time together."""
        now = asyncio.get_running_loop().time()
        if now - self._lessened_at >= window:
            self._lessened_at = now
            self._allowed = max(1.0, self._allowed / 2)

    async def _leave(self) -> None:
        self._taken -= 1
        async with self._changed:
            self._changed.notify(max(0, self.allowed - self._taken))
