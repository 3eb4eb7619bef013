"""Chat, mail and everything else that Apprise knows: one channel for each URL."""

from __future__ import annotations

import asyncio
from typing import Any

import apprise

from activities.inputs import Page
from firebreak.errors import NotDeliveredError, SettingsError
from firebreak.settings import NotifySettings

TYPES = {
    "started": apprise.NotifyType.INFO,
    "gate": apprise.NotifyType.SUCCESS,
    "warning": apprise.NotifyType.WARNING,
    "decision_needed": apprise.NotifyType.WARNING,
    "breach": apprise.NotifyType.FAILURE,
}
"""Apprise's colours and icons; what is not listed is information."""


class Fan:
    """One Apprise URL."""

    def __init__(self, name: str, target: Any, timeout: float) -> None:
        self.name = name
        self._target = target
        self._timeout = timeout

    async def deliver(self, page: Page) -> None:
        """Send title and text; Apprise says only whether it worked."""
        sent = self._target.async_notify(
            title=f"{page.incident_id}: {page.kind.replace('_', ' ')}",
            body=page.message,
            notify_type=TYPES.get(page.kind, apprise.NotifyType.INFO),
            body_format=apprise.NotifyFormat.TEXT,
        )
        try:
            delivered = await asyncio.wait_for(sent, self._timeout)
        except TimeoutError as error:
            raise NotDeliveredError(f"{self.name} did not answer in {self._timeout:g} s") from error
        if not delivered:
            raise NotDeliveredError(f"{self.name} did not take the message")


def fan_out(settings: NotifySettings) -> list[Fan]:
    """A channel for each URL, named by its place and kind; the URL itself may hold a token."""
    return [_fan(number, url.get_secret_value(), settings) for number, url in enumerate(settings.urls, 1)]


def _fan(number: int, url: str, settings: NotifySettings) -> Fan:
    target = apprise.Apprise()
    if not target.add(url):
        raise SettingsError(
            f"FIREBREAK_NOTIFY__URLS: number {number} is no Apprise URL",
            remedy="see Apprise's list of services for its form",
        )
    return Fan(f"{number} ({url.partition(':')[0]})", target, settings.timeout_seconds)
