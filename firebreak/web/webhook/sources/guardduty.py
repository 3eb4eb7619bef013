"""Amazon GuardDuty: a finding as EventBridge delivers it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from firebreak.model import JsonObject
from firebreak.web.webhook.alert import Alert, FindingInfo, ResourceRef, State
from firebreak.web.webhook.fields import find, flag, identifier, moment, objects, required, resource, text

_BANDS = ((9.0, 5), (7.0, 4), (4.0, 3), (1.0, 2))
"""Lowest severity of critical, high, medium and low (GuardDuty user guide, severity levels)."""
_USERS = {"AssumedRole": "role", "Role": "role", "IAMUser": "user"}


def read(body: JsonObject) -> Alert:
    """The finding's id is reused by its updates; with the envelope's id it names this delivery."""
    found = find(body, "detail")
    finding = required(found, "id")
    event = text(body, "id") or required(found, "updatedAt", "service.eventLastSeen")
    return Alert(
        finding_info=FindingInfo(uid=finding, title=text(found, "title", "type")),
        severity_id=_severity(find(found, "severity")),
        time=moment(found, "updatedAt") or moment(body, "time"),
        state=_state(found),
        resources=tuple(_resources(found, _account(body), text(found, "region") or text(body, "region"))),
        sample=flag(found, "service.additionalInfo.sample") or text(found, "title").startswith("[SAMPLE]"),
        key=f"{finding} {event}",
    )


def _state(found: Any) -> State:
    if flag(found, "service.archived"):
        return "closed"
    count = find(found, "service.count")
    return "updated" if isinstance(count, int) and count > 1 else "new"


def _severity(value: Any) -> int:
    if not isinstance(value, int | float):
        return 0
    return next((ocsf for lowest, ocsf in _BANDS if value >= lowest), 1)


def _account(body: JsonObject) -> str:
    return text(body, "detail.accountId") or text(body, "account")


def _resources(found: Any, account: str, region: str) -> Iterator[ResourceRef]:
    about = find(found, "resource")
    yield from resource(_principal(found, about, account), account)
    machine = find(about, "instanceDetails")
    yield from resource(identifier(machine, "instanceId"), account, region)
    for interface in objects(machine, "networkInterfaces"):
        yield from resource(identifier(interface, "networkInterfaceId"), account, region)
    for path in ("lambdaDetails.functionArn", "eksClusterDetails.arn", "ecsClusterDetails.taskDetails.arn"):
        yield from resource(identifier(about, path), account, region)
    for bucket in objects(about, "s3BucketDetails"):
        yield from resource(identifier(bucket, "arn"), account)


def _principal(found: Any, about: Any, account: str) -> str:
    """The role or user whose credentials were used. Names are unique in an account (IAM user guide)."""
    kind = _USERS.get(text(about, "accessKeyDetails.userType"))
    name = identifier(about, "accessKeyDetails.userName")
    if not (kind and name and account):
        return ""
    partition = text(found, "partition") or "aws"
    return f"arn:{partition}:iam::{account}:{kind}/{name}"
