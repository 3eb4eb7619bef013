"""Falco through Falcosidekick's webhook output; ids come from its custom fields."""

from __future__ import annotations

from firebreak.model import JsonObject
from firebreak.web.webhook.alert import Alert, FindingInfo
from firebreak.web.webhook.fields import find, required, severity, text
from firebreak.web.webhook.sources import template

_TEST_RULE = "Test rule"
"""Of Falcosidekick's own ``/test`` endpoint."""


def read(body: JsonObject) -> Alert:
    """``uuid`` names the event; every event is new, Falco resolves nothing."""
    event, rule = required(body, "uuid"), required(body, "rule")
    fields = find(body, "output_fields")
    return Alert(
        finding_info=FindingInfo(uid=event, title=rule),
        severity_id=severity(text(body, "priority")),
        time=template.at(body),
        state="closed" if text(fields, "status").lower() in {"resolved", "closed"} else "new",
        resources=template.resources(fields),
        confirmed=template.confirmed(fields),
        sample=rule == _TEST_RULE or template.sample(fields),
        key=event,
    )
