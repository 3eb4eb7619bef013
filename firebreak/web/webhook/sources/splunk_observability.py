"""Splunk Observability Cloud: the webhook of a detector."""

from __future__ import annotations

from firebreak.model import JsonObject
from firebreak.web.webhook.alert import Alert, FindingInfo
from firebreak.web.webhook.fields import find, moment, required, severity, state, text
from firebreak.web.webhook.sources import template


def read(body: JsonObject) -> Alert:
    """``incidentId`` with its status; the resource comes from the dimensions of the metric."""
    incident = required(body, "incidentId", "eventId")
    status = text(body, "statusExtended", "status")
    dimensions = find(body, "dimensions")
    return Alert(
        finding_info=FindingInfo(uid=incident, title=text(body, "messageTitle", "rule", "detector")),
        severity_id=severity(text(body, "severity")),
        time=moment(body, "timestamp"),
        state=state(status),
        resources=template.resources(dimensions),
        confirmed=template.confirmed(dimensions),
        sample=template.sample(dimensions),
        key=f"{incident} {status}",
    )
