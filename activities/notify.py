"""Tell the on-call. Runs on the workflow worker, which holds no cloud credentials."""

from __future__ import annotations

from typing import Protocol

import structlog
from temporalio import activity

from activities.inputs import Page

log = structlog.get_logger("firebreak.oncall")


class Notifier(Protocol):
    """A way to reach people."""

    async def page(self, page: Page) -> None:
        """Deliver one message; raises to be retried."""
        ...


class LogNotifier:
    """Writes each page to the log at warning level, where alerting picks it up."""

    async def page(self, page: Page) -> None:
        """Log the message."""
        log.warning("oncall.paged", incident_id=page.incident_id, kind=page.kind, message=page.message)


class NotifyActivities:
    """The activities of the workflow queue."""

    def __init__(self, notifier: Notifier) -> None:
        self.notifier = notifier

    @activity.defn(name="firebreak.notify")
    async def notify(self, page: Page) -> None:
        """Deliver one page to the on-call."""
        await self.notifier.page(page)
