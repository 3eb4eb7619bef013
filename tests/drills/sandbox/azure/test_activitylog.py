from __future__ import annotations

from typing import Any

from drills.sandbox.azure.client import HOME_SUBSCRIPTION

PATH = f"/subscriptions/{HOME_SUBSCRIPTION}/providers/Microsoft.Insights/eventtypes/management/values"
QUERY = "$filter=eventTimestamp%20ge%20'2020-01-01T00:00:00Z'"


def entries(tenant: Any) -> list[Any]:
    answer = tenant.call(tenant.sandbox.admin_token(), "GET", f"{PATH}?{QUERY}", "2015-04-01")
    assert answer.status == 200
    return list(answer.body["value"])


def test_writes_are_logged_with_who_and_how_they_ended(tenant: Any) -> None:
    group, someone = tenant.group(), tenant.principal("Reader")
    tenant.call(someone, "PUT", group, body={"location": "westeurope"})
    mine = [one for one in entries(tenant) if one["caller"] == someone.object_id]
    (one,) = mine
    assert one["operationName"]["value"] == "Microsoft.Resources/subscriptions/resourceGroups/write"
    assert one["status"]["value"] == "Failed"
    assert one["resourceId"] == group
    assert one["claims"]["appid"] == someone.client_id


def test_reads_are_not_logged(tenant: Any) -> None:
    group, someone = tenant.group(), tenant.principal("Reader")
    tenant.call(someone, "GET", group)
    assert not [one for one in entries(tenant) if one["caller"] == someone.object_id]


def test_listing_keys_is_an_action_and_is_logged(tenant: Any) -> None:
    account = f"{tenant.group()}/providers/Microsoft.Storage/storageAccounts/models"
    tenant.sandbox.arm("PUT", account, "2025-06-01", {"location": "westeurope", "properties": {}})
    someone = tenant.principal("Owner")
    tenant.call(someone, "POST", f"{account}/listKeys", "2025-06-01")
    (one,) = (one for one in entries(tenant) if one["caller"] == someone.object_id)
    assert one["operationName"]["value"] == "Microsoft.Storage/storageAccounts/listKeys/action"


def test_subscriptions_have_their_own_log(tenant: Any) -> None:
    other = tenant.sandbox.create_subscription()
    before = len(entries(tenant))
    tenant.sandbox.arm(
        "PUT", f"/subscriptions/{other}/resourceGroups/x", "2021-04-01", {"location": "westeurope"}
    )
    assert len(entries(tenant)) == before
