"""Google Security Command Center: a notification pushed by Pub/Sub."""

from __future__ import annotations

from collections.abc import Iterator

from firebreak.model import JsonObject
from firebreak.web.webhook.alert import Alert, FindingInfo, ResourceRef, State
from firebreak.web.webhook.fields import flag, identifier, moment, required, resource, severity, text


def read(body: JsonObject) -> Alert:
    """``finding.name`` with its ``eventTime``."""
    finding = required(body, "finding.name")
    return Alert(
        finding_info=FindingInfo(uid=finding, title=text(body, "finding.category", "finding.description")),
        severity_id=severity(text(body, "finding.severity")),
        time=moment(body, "finding.eventTime", "finding.createTime"),
        state=_state(body),
        resources=tuple(_resources(body)),
        sample=flag(body, "finding.sourceProperties.sample"),
        key=f"{finding} {text(body, 'finding.eventTime')}",
    )


def _state(body: JsonObject) -> State:
    if text(body, "finding.mute") == "MUTED":
        return "closed"
    return "resolved" if text(body, "finding.state") == "INACTIVE" else "new"


def _resources(body: JsonObject) -> Iterator[ResourceRef]:
    project = text(body, "resource.project", "resource.projectName")
    for path in ("finding.resourceName", "resource.name", "finding.access.principalEmail"):
        yield from resource(identifier(body, path), project)
