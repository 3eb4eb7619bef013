"""Append an entry to the subscription's activity log for every write, as `Microsoft.Insights` would show it.

Source: "Azure Activity Log event schema", category Administrative: writes, deletions and actions are logged
with who, what, when and the outcome; reads are not.
"""

from __future__ import annotations

import uuid
from collections import deque
from datetime import datetime
from http import HTTPStatus
from typing import Any

from drills.sandbox.azure import clock, ids
from drills.sandbox.azure.call import Answer, Call
from drills.sandbox.azure.state import on_reset
from drills.sandbox.azure.tenancy import tenancy
from drills.sandbox.calls import KEPT_CALLS

JsonObject = dict[str, Any]
_READS = frozenset({"GET", "HEAD"})


class ActivityLog:
    """The newest entries of every subscription, oldest first."""

    def __init__(self, kept: int = KEPT_CALLS) -> None:
        """Start empty; keep that many of each subscription."""
        self._kept = kept
        self._entries: dict[str, deque[JsonObject]] = {}

    def append(self, subscription: str, entry: JsonObject) -> None:
        """Add an entry."""
        self._entries.setdefault(subscription.lower(), deque(maxlen=self._kept)).append(entry)

    def entries(
        self, subscription: str, since: datetime | None = None, until: datetime | None = None
    ) -> list[JsonObject]:
        """Return a subscription's entries of a period."""
        found = list(self._entries.get(subscription.lower(), ()))
        return [one for one in found if _within(one["eventTimestamp"], since, until)]

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()


def _within(stamp: str, since: datetime | None, until: datetime | None) -> bool:
    moment = datetime.fromisoformat(stamp.removesuffix("Z")[:26] + "+00:00")
    return (since is None or moment >= since) and (until is None or moment <= until)


activity = ActivityLog()
on_reset(activity.clear)


def record(call: Call, answer: Answer) -> None:
    """Log a call of ARM that writes, deletes or acts."""
    subscription = ids.subscription_of(call.path)
    if call.host != "arm" or subscription is None or call.method in _READS or not call.operation:
        return
    activity.append(subscription, _entry(call, answer, subscription))


def _entry(call: Call, answer: Answer, subscription: str) -> JsonObject:
    now, succeeded = clock.stamp(), answer.status < HTTPStatus.BAD_REQUEST
    action = call.operation.action if call.operation else ""
    resource = call.resource_id
    namespace = ids.type_of(resource).split("/")[0] or "Microsoft.Resources"
    principal = call.principal
    caller = principal.object_id if principal else ""
    event = str(uuid.uuid4())
    return {
        "authorization": {"action": action, "scope": resource},
        "caller": caller,
        "category": _named("Administrative"),
        "channels": "Operation",
        "claims": dict(principal.claims) if principal else {},
        "correlationId": call.headers.get("x-ms-correlation-request-id", call.id),
        "description": "",
        "eventDataId": event,
        "eventName": _named("EndRequest"),
        "eventTimestamp": now,
        "httpRequest": {
            "clientRequestId": call.headers.get("x-ms-client-request-id", call.id),
            "clientIpAddress": "127.0.0.1",
            "method": call.method,
        },
        "id": f"{resource}/events/{event}/ticks/{int(clock.seconds() * 10_000_000)}",
        "level": "Informational" if succeeded else "Error",
        "operationId": call.id,
        "operationName": _named(action),
        "properties": {"statusCode": str(answer.status)},
        "resourceGroupName": ids.group_of(resource) or "",
        "resourceId": resource,
        "resourceProviderName": _named(namespace),
        "resourceType": _named(ids.type_of(resource)),
        "status": _named("Succeeded" if succeeded else "Failed"),
        "subStatus": _named(str(answer.status)),
        "submissionTimestamp": now,
        "subscriptionId": subscription,
        "tenantId": tenancy.tenant_of(call.path) or "",
    }


def _named(value: str) -> JsonObject:
    return {"value": value, "localizedValue": value}
