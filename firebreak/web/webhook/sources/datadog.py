"""Datadog: the webhooks integration with the template of docs/webhooks.md."""

from __future__ import annotations

from firebreak.model import JsonObject
from firebreak.web.webhook.alert import Alert, FindingInfo
from firebreak.web.webhook.fields import required, severity, state, text
from firebreak.web.webhook.sources import template

_PRIORITIES = {"p1": 5, "p2": 4, "p3": 3, "p4": 2, "p5": 1}


def read(body: JsonObject) -> Alert:
    """``$ALERT_CYCLE_KEY`` with ``$ALERT_TRANSITION``."""
    cycle = required(body, "alert_cycle_key", "finding_id")
    transition = text(body, "alert_transition", "status")
    title, priority = text(body, "title"), text(body, "alert_priority").lower()
    return Alert(
        finding_info=FindingInfo(uid=cycle, title=title),
        severity_id=_PRIORITIES.get(priority) or severity(text(body, "severity")),
        time=template.at(body, "date"),
        state=state(transition),
        resources=template.resources(body),
        confirmed=template.confirmed(body),
        sample=title.upper().startswith("[TEST]") or template.sample(body),
        key=f"{cycle} {transition}",
    )
