"""Tell the on-call. Runs on the workflow worker, which holds no cloud credentials."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

import structlog
from temporalio import activity

from activities.errors import translated
from activities.inputs import Page
from firebreak.errors import FirebreakError, NotDeliveredError

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


class NotifyActivities:
    """The activities of the workflow queue."""

    def __init__(self, channels: Sequence[Channel]) -> None:
        self.channels = tuple(channels)

    @activity.defn(name="firebreak.notify")
    async def notify(self, page: Page) -> None:
        """Deliver one page through every channel; another attempt takes only those that failed."""
        reached = set(activity.info().heartbeat_details)
        missing = [each for each in self.channels if each.name not in reached]
        failures = await asyncio.gather(*(_failure(each, page) for each in missing))
        reached |= {each.name for each, why in zip(missing, failures, strict=True) if why is None}
        activity.heartbeat(*sorted(reached))
        with translated():
            _raise_for([why for why in failures if why is not None])


async def _failure(channel: Channel, page: Page) -> FirebreakError | None:
    """Why one channel failed: the others are tried all the same."""
    try:
        await channel.deliver(page)
    except NotDeliveredError as error:
        log.warning("oncall.not_reached", channel=channel.name, kind=page.kind, why=str(error))
        return error
    return None


def _raise_for(failures: Sequence[FirebreakError]) -> None:
    if failures:
        raise NotDeliveredError("; ".join(str(each) for each in failures))
