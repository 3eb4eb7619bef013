"""Refuse a second change of a table's time to live within the hour, and let a table have replicas.

Sources: DynamoDB API reference, UpdateTimeToLive, UpdateTable (ReplicaUpdates) and DescribeTable (Replicas).
"""

from __future__ import annotations

import time
from typing import Any

from moto.backends import get_backend
from moto.dynamodb.models.table import Table

from drills.sandbox.aws.corrections import guard
from drills.sandbox.aws.errors import ApiError
from drills.sandbox.aws.state import settings
from drills.sandbox.aws.stubs import StubRequest

_CHANGED, _REPLICAS = "time_to_live_changed", "replica_regions"


def _table(request: StubRequest) -> Any:
    name = str(request.params["TableName"]).rpartition("/")[2]
    return get_backend("dynamodb")[request.account][request.region].tables.get(name)


@guard("dynamodb", "UpdateTimeToLive")
def one_change_at_a_time(request: StubRequest) -> None:
    """Refuse what comes while an earlier change is processed, for up to an hour."""
    table, wanted = _table(request), request.params["TimeToLiveSpecification"]["Enabled"]
    if table is None:
        return
    if time.monotonic() < getattr(table, _CHANGED, float("-inf")) + settings.ttl_change_seconds:
        message = "Time to live has been modified multiple times within a fixed interval"
        raise ApiError("ValidationException", message)
    if wanted == (table.ttl["TimeToLiveStatus"] == "ENABLED"):
        raise ApiError("ValidationException", f"TimeToLive is already {'en' if wanted else 'dis'}abled")
    setattr(table, _CHANGED, time.monotonic())


@guard("dynamodb", "UpdateTable")
def add_replicas(request: StubRequest) -> None:
    """Remember the regions that a table is copied to; what is in them is nobody's concern here."""
    regions = [each["Create"]["RegionName"] for each in request.params.get("ReplicaUpdates") or ()]
    if regions:
        table = _table(request)
        setattr(table, _REPLICAS, [*getattr(table, _REPLICAS, []), *regions])


def apply() -> None:
    """Let a table's description name its replicas."""
    plain: Any = Table.describe

    def told(self: Any, *args: Any, **named: Any) -> dict[str, Any]:
        answer: dict[str, Any] = plain(self, *args, **named)
        replicas = [{"RegionName": each, "ReplicaStatus": "ACTIVE"} for each in getattr(self, _REPLICAS, [])]
        described = answer.get("Table") or answer.get("TableDescription")
        if replicas and described is not None:
            described["Replicas"] = replicas
        return answer

    setattr(Table, "describe", told)  # noqa: B010 - mypy forbids assigning methods
