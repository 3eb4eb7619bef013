"""Wiz: an issue sent by an automation rule with the template of docs/webhooks.md."""

from __future__ import annotations

from collections.abc import Iterator

from firebreak.model import JsonObject
from firebreak.web.webhook.alert import Alert, FindingInfo, ResourceRef
from firebreak.web.webhook.fields import find, identifier, moment, required, resource, severity, state, text
from firebreak.web.webhook.sources import template


def read(body: JsonObject) -> Alert:
    """``issue.id`` with ``trigger.type`` and the status."""
    issue, status = required(body, "issue.id"), text(body, "issue.status")
    return Alert(
        finding_info=FindingInfo(uid=issue, title=text(body, "control.name", "trigger.ruleName")),
        severity_id=severity(text(body, "issue.severity", "control.severity")),
        time=moment(body, "issue.updated", "issue.updatedAt", "issue.created", "issue.createdAt"),
        state=state(status),
        resources=tuple(_resources(find(body, "resource"))),
        confirmed=template.confirmed(body),
        sample=template.sample(body),
        key=f"{issue} {text(body, 'trigger.type')} {status}",
    )


def _resources(about: object) -> Iterator[ResourceRef]:
    account, region = text(about, "subscriptionId"), text(about, "region")
    for name in ("externalId", "providerUniqueId", "nativeId", "id"):
        yield from resource(identifier(about, name), account, region)
