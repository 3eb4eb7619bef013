"""Tell the on-call. Runs on the workflow worker, which holds no cloud credentials."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

import structlog
from temporalio import activity

from activities.errors import translated
from activities.inputs import Page
from firebreak.errors import CommentRefusedError, FirebreakError, NotCommentedError, NotDeliveredError

log = structlog.get_logger("firebreak.oncall")


class Channel(Protocol):
    """One way to reach people."""

    name: str
    """Says which channel failed; never its address, which may hold a token."""

    async def deliver(self, page: Page) -> None:
        """Deliver one message; raises NotDeliveredError, to be tried again."""
        ...


class LogChannel:
    """Writes each page to the log at warning level, where alerting picks it up."""

    name = "log"

    async def deliver(self, page: Page) -> None:
        """Log the message."""
        log.warning("oncall.paged", incident_id=page.incident_id, kind=page.kind, message=page.message)


class Commenting(Protocol):
    """What comments on the alerts that a page is about."""

    def on(self, page: Page) -> Sequence[Channel]:
        """A channel for each comment; its name is the same on every attempt."""
        ...


REFUSED = "refused: "
"""Begins the heartbeat detail of what shall not be tried again, and is reported at the end."""


class NotifyActivities:
    """The activities of the workflow queue."""

    def __init__(self, channels: Sequence[Channel], commenting: Commenting | None = None) -> None:
        self.channels = tuple(channels)
        self.commenting = commenting

    @activity.defn(name="firebreak.notify")
    async def notify(self, page: Page) -> None:
        """Deliver one page through every channel; another attempt takes only those that failed."""
        settled = set(activity.info().heartbeat_details)
        missing = [each for each in self._channels(page) if each.name not in settled]
        failures = await asyncio.gather(*(_failure(each, page) for each in missing))
        again = [why for why in failures if why is not None and why.retryable]
        for each, why in zip(missing, failures, strict=True):
            if why is None or not why.retryable:
                settled |= {each.name} if why is None else {each.name, f"{REFUSED}{why}"}
        activity.heartbeat(*sorted(settled))
        refused = sorted(each.removeprefix(REFUSED) for each in settled if each.startswith(REFUSED))
        with translated():
            _raise_for(again, refused)

    def _channels(self, page: Page) -> Sequence[Channel]:
        return (*self.channels, *(self.commenting.on(page) if self.commenting else ()))


async def _failure(channel: Channel, page: Page) -> FirebreakError | None:
    """Why one channel failed: the others are tried all the same."""
    try:
        await channel.deliver(page)
    except NotDeliveredError as error:
        log.warning("oncall.not_reached", channel=channel.name, kind=page.kind, why=str(error))
        return error
    return None


def _raise_for(again: Sequence[FirebreakError], refused: Sequence[str]) -> None:
    """Raise what is to be tried again, people before comments; what was refused is said with it."""
    reasons = "; ".join(dict.fromkeys((*map(str, again), *refused)))
    if any(not isinstance(each, NotCommentedError) for each in again):
        raise NotDeliveredError(reasons)
    if again:
        raise NotCommentedError(reasons)
    if refused:
        raise CommentRefusedError(reasons)
