"""PagerDuty Events API v2: one alert for each incident, acknowledged by decisions, resolved when contained.

https://developer.pagerduty.com/docs/send-alert-event
"""

from __future__ import annotations

from typing import Literal

import httpx

from activities.inputs import Page
from firebreak.errors import NotDeliveredError
from firebreak.model import JsonObject, Verdict
from firebreak.notify.http import client
from firebreak.notify.place import incident_at
from firebreak.settings import NotifySettings

Action = Literal["trigger", "acknowledge", "resolve"]

SEVERITIES = {"started": "warning", "warning": "warning", "decision_needed": "error", "breach": "critical"}
"""Of critical, error, warning and info."""
ENDED_WELL = (Verdict.CONTAINED, Verdict.REJECTED, Verdict.RELEASED)
SUMMARY_LENGTH = 1024
"""The most that the API takes; longer ones are refused."""
_SUCCESS = range(200, 300)


class PagerDuty:
    """One service of PagerDuty."""

    name = "pagerduty"

    def __init__(self, settings: NotifySettings, console: str = "") -> None:
        self._settings = settings
        self._console = console

    async def deliver(self, page: Page) -> None:
        """Send one event; a gate that was passed is no news for a pager."""
        action = action_of(page)
        if action is None:
            return
        try:
            async with client(self._settings.timeout_seconds) as sender:
                answer = await sender.post(self._settings.pagerduty_url, json=self._event(page, action))
        except httpx.HTTPError as error:
            raise NotDeliveredError(f"PagerDuty cannot be reached: {type(error).__name__}") from error
        if answer.status_code not in _SUCCESS:
            raise NotDeliveredError(f"PagerDuty answered {answer.status_code}")

    def _event(self, page: Page, action: Action) -> JsonObject:
        event: JsonObject = {
            "routing_key": self._settings.pagerduty_key.get_secret_value(),
            "event_action": action,
            "dedup_key": page.incident_id,
        }
        if action == "trigger":
            event["payload"] = {
                "summary": f"{page.incident_id}: {page.message}"[:SUMMARY_LENGTH],
                "source": "firebreak",
                "severity": SEVERITIES.get(page.kind, "info"),
                "component": page.incident_id,
                "class": page.kind,
            }
            place = incident_at(self._console, page)
            event |= {"links": [{"href": place, "text": "Decide in the console"}]} if place else {}
        return event


def action_of(page: Page) -> Action | None:
    """What a page means for the alert of its incident; None for what nobody is woken for."""
    if page.kind == "gate":
        return None
    if page.kind == "decided":
        return "acknowledge"
    if page.kind == "verdict" and page.verdict in ENDED_WELL:
        return "resolve"
    return "trigger"
