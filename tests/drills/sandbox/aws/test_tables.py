from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def table(connect: Any, admin: Any) -> Any:
    dynamodb = connect("dynamodb", admin)
    dynamodb.create_table(
        TableName="memory",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return dynamodb


def time_to_live(enabled: bool) -> dict[str, Any]:
    return {
        "TableName": "memory",
        "TimeToLiveSpecification": {"Enabled": enabled, "AttributeName": "expires_at"},
    }


def test_time_to_live_changes_once_an_hour(sandbox: Any, table: Any, refused: Any) -> None:
    table.update_time_to_live(**time_to_live(True))
    assert refused(table.update_time_to_live, **time_to_live(False)) == "ValidationException"
    sandbox.configure(ttl_change_seconds=0)
    table.update_time_to_live(**time_to_live(False))
    assert refused(table.update_time_to_live, **time_to_live(False)) == "ValidationException"


def test_a_table_names_its_replicas(table: Any) -> None:
    assert "Replicas" not in table.describe_table(TableName="memory")["Table"]
    table.update_table(TableName="memory", ReplicaUpdates=[{"Create": {"RegionName": "eu-west-1"}}])
    described = table.describe_table(TableName="memory")["Table"]["Replicas"]
    assert [each["RegionName"] for each in described] == ["eu-west-1"]
