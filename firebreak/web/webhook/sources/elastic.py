"""Elastic: the webhook connector with the template of docs/webhooks.md."""

from __future__ import annotations

from firebreak.model import JsonObject
from firebreak.web.webhook.alert import Alert, FindingInfo
from firebreak.web.webhook.fields import required, severity, state, text
from firebreak.web.webhook.sources import template


def read(body: JsonObject) -> Alert:
    """The alert's uuid with its action group: active and recovered are two events."""
    alert = required(body, "finding_id", "alert.uuid", "kibana.alert.uuid")
    status = text(body, "status", "alert.actionGroup")
    return Alert(
        finding_info=FindingInfo(uid=alert, title=text(body, "title", "rule.name")),
        severity_id=severity(text(body, "severity", "kibana.alert.severity")),
        time=template.at(body, "date"),
        state=state(status),
        resources=template.resources(body),
        confirmed=template.confirmed(body),
        sample=template.sample(body),
        key=f"{alert} {status}",
    )
