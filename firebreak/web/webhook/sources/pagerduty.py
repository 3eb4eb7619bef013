"""PagerDuty: webhooks v3."""

from __future__ import annotations

from collections.abc import Iterator

from firebreak.model import JsonObject
from firebreak.web.webhook.alert import Alert, FindingInfo, ResourceRef, State
from firebreak.web.webhook.fields import find, identifier, moment, required, resource, text
from firebreak.web.webhook.sources import template

_STATES: dict[str, State] = {"incident.triggered": "new", "incident.resolved": "resolved"}
"""Every other type tells of work on an incident, and is no reason to start anything."""
_URGENCY = {"high": 4, "low": 2}


def read(body: JsonObject) -> Alert:
    """``event.id`` names the delivery; the incident's key, which the sender chose, is the resource's id."""
    event, about = find(body, "event"), find(body, "event.data")
    kind = required(event, "event_type")
    return Alert(
        finding_info=FindingInfo(
            uid=text(about, "id") or required(event, "id"), title=text(about, "title", "summary")
        ),
        severity_id=_URGENCY.get(text(about, "urgency"), 0),
        time=moment(event, "occurred_at"),
        state=_STATES.get(kind, "other"),
        resources=tuple(_resources(about)),
        confirmed=template.confirmed(find(about, "body.details")),
        sample=kind == "pagey.ping" or template.sample(find(about, "body.details")),
        key=required(event, "id"),
    )


def _resources(about: object) -> Iterator[ResourceRef]:
    yield from resource(identifier(about, "incident_key"))
    yield from template.resources(find(about, "body.details"))
