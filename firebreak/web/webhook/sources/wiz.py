"""Wiz: an issue sent by an automation rule with the template of docs/webhooks.md."""

from __future__ import annotations

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
        resources=_resource(find(body, "resource")),
        confirmed=template.confirmed(body),
        sample=template.sample(body),
        key=f"{issue} {text(body, 'trigger.type')} {status}",
    )


def _resource(about: object) -> tuple[ResourceRef, ...]:
    """By the cloud's own id; Wiz's id is known to nobody else."""
    uid = identifier(about, "externalId", "providerUniqueId", "nativeId")
    return resource(uid, text(about, "subscriptionId"), text(about, "region"))
