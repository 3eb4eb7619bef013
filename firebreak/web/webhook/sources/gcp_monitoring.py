"""Google Cloud Monitoring: an incident of an alerting policy, by webhook or Pub/Sub."""

from __future__ import annotations

from collections.abc import Iterator

from firebreak.model import JsonObject
from firebreak.web.webhook.alert import Alert, FindingInfo, ResourceRef
from firebreak.web.webhook.fields import find, identifier, moment, required, resource, severity, state, text
from firebreak.web.webhook.sources import template

_IDS = ("resource_id", "instance_id", "unique_id", "email_id")
"""Labels of monitored resources that are an id, not a name."""


def read(body: JsonObject) -> Alert:
    """``incident_id`` with its state; the channel's own test says ``version: test``."""
    about = find(body, "incident")
    incident, condition = required(about, "incident_id"), text(about, "state")
    return Alert(
        finding_info=FindingInfo(uid=incident, title=text(about, "policy_name", "condition_name", "summary")),
        severity_id=severity(text(about, "severity")),
        time=moment(about, "ended_at", "started_at"),
        state=state(condition),
        resources=tuple(_resources(about)),
        confirmed=template.confirmed(find(about, "policy_user_labels")),
        sample=text(body, "version") == "test" or template.sample(find(about, "policy_user_labels")),
        key=f"{incident} {condition}",
    )


def _resources(about: object) -> Iterator[ResourceRef]:
    labels = find(about, "resource.labels")
    project = text(labels, "project_id", "project") or text(about, "scoping_project_id")
    for name in _IDS:
        yield from resource(identifier(labels, name), project, text(labels, "zone", "location", "region"))
