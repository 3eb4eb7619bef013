"""Places for live pages: each holds a connection for as long as somebody looks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from fastapi.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

RETRY_SECONDS = 10
"""Until a place may be free again; a page that is not live loads itself again as often."""
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@dataclass
class Streams:
    """How many live pages are open, and how many may be."""

    most: int
    taken: int = 0

    @property
    def full(self) -> bool:
        """Whether every place is taken."""
        return self.taken >= self.most

    def answer(self, told: AsyncIterator[str]) -> Response:
        """Stream from a free place, or say when to try again."""
        if self.full:
            words = "too many live pages are open; load the page instead\n"
            return PlainTextResponse(words, 503, {"Retry-After": str(RETRY_SECONDS)})
        self.taken += 1
        return _Stream(self, told)

    def leave(self) -> None:
        """Give a place back."""
        self.taken -= 1


class _Stream(StreamingResponse):
    """Gives its place back however it ends."""

    def __init__(self, streams: Streams, told: AsyncIterator[str]) -> None:
        super().__init__(told, media_type="text/event-stream", headers=HEADERS)
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._streams.leave()
