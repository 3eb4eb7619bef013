"""Chat, mail and everything else that Apprise knows: one channel for each URL."""

from __future__ import annotations

import asyncio
from typing import Any

import apprise

from activities.inputs import Page
from firebreak.errors import NotDeliveredError, SettingsError
from firebreak.notify.place import incident_at
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

    def __init__(self, name: str, target: Any, timeout: float, console: str = "") -> None:
        self.name = name
        self._target = target
        self._timeout = timeout
        self._console = console

    async def deliver(self, page: Page) -> None:
        """Send title and text, and where to decide if people have to; never a link that decides itself."""
        place = incident_at(self._console, page)
        await self.send(page, f"{page.message}\n{place}" if place else page.message)

    async def send(self, page: Page, text: str) -> None:
        """Send a text about a page; Apprise says only whether it worked."""
        sent = self._target.async_notify(
            title=f"{page.incident_id}: {page.kind.replace('_', ' ')}",
            body=text,
            notify_type=TYPES.get(page.kind, apprise.NotifyType.INFO),
            body_format=apprise.NotifyFormat.TEXT,
        )
        try:
            delivered = await asyncio.wait_for(sent, self._timeout)
        except TimeoutError as error:
            raise NotDeliveredError(f"{self.name} did not answer in {self._timeout:g} s") from error
        if not delivered:
            raise NotDeliveredError(f"{self.name} did not take the message")


def fan_out(settings: NotifySettings, console: str = "") -> list[Fan]:
    """A channel for each URL, named by its place and kind; the URL itself may hold a token."""
    return [
        _fan(number, url.get_secret_value(), settings, console) for number, url in enumerate(settings.urls, 1)
    ]


def target_of(url: str, where: str) -> apprise.Apprise:
    """What Apprise makes of a URL; raises SettingsError, without the URL, where that is nothing."""
    target = apprise.Apprise()
    if not target.add(url):
        raise SettingsError(
            f"{where} is no Apprise URL", remedy="see Apprise's list of services for its form"
        )
    return target


def _fan(number: int, url: str, settings: NotifySettings, console: str) -> Fan:
    target = target_of(url, f"FIREBREAK_NOTIFY__URLS: number {number}")
    return Fan(f"{number} ({url.partition(':')[0]})", target, settings.timeout_seconds, console)
