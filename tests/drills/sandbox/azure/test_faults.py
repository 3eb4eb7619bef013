from __future__ import annotations

from typing import Any

import pytest
from azure.mgmt.resource.locks import ManagementLockClient

from drills.sandbox.azure.client import HOME_SUBSCRIPTION, SandboxError

SUBSCRIPTION = f"/subscriptions/{HOME_SUBSCRIPTION}"
READ = "Microsoft.Resources/subscriptions/resourceGroups/read"
WRITE = "Microsoft.Resources/subscriptions/resourceGroups/write"
NETWORKS = "2025-05-01"


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("throttle", 429, "TooManyRequests"),
        ("error500", 500, "InternalServerError"),
        ("error503", 503, "ServiceUnavailable"),
        ("denied", 403, "AuthorizationFailed"),
    ],
)
def test_a_fault_strikes_as_often_as_armed(tenant: Any, kind: str, status: int, code: str) -> None:
    group, admin = tenant.group(), tenant.sandbox.admin_token()
    tenant.sandbox.inject(kind, operation=READ, times=2)
    struck = [tenant.call(admin, "GET", group) for _ in range(3)]
    assert [one.status for one in struck] == [status, status, 200]
    assert struck[0].body["error"]["code"] == code


def test_a_throttled_call_is_told_when_to_come_back(tenant: Any) -> None:
    group = tenant.group()
    tenant.sandbox.inject("throttle", retry_after=7)
    assert tenant.call(tenant.sandbox.admin_token(), "GET", group).headers["Retry-After"] == "7"


def test_the_sdk_waits_out_throttling(tenant: Any, credential: Any) -> None:
    group = tenant.group()
    client = ManagementLockClient(credential(tenant.principal("Owner")), HOME_SUBSCRIPTION)
    tenant.sandbox.inject("throttle", operation="Microsoft.Authorization/locks/*", times=1, retry_after=0)
    assert list(client.management_locks.list_by_scope(group)) == []


def test_faults_keep_to_their_operation_and_host(tenant: Any) -> None:
    group, admin = tenant.group(), tenant.sandbox.admin_token()
    tenant.sandbox.inject("error500", operation=WRITE, times=-1)
    tenant.sandbox.inject("error500", host="graph", times=-1)
    assert tenant.call(admin, "GET", group).status == 200
    assert tenant.graph_admin("GET", "groups").status == 500
    tenant.sandbox.clear_faults()
    assert tenant.graph_admin("GET", "groups").status == 200


def test_every_operation_may_fail_its_first_call(tenant: Any) -> None:
    group, admin = tenant.group(), tenant.sandbox.admin_token()
    tenant.sandbox.inject("error503", once_per_operation=True)
    body = {"location": "westeurope"}
    assert [tenant.call(admin, "GET", group).status for _ in range(2)] == [503, 200]
    assert [tenant.call(admin, "PUT", group, body=body).status for _ in range(2)] == [503, 200]


def test_a_dropped_call_does_nothing(tenant: Any) -> None:
    admin, path = tenant.sandbox.admin_token(), f"{SUBSCRIPTION}/resourceGroups/lost"
    tenant.sandbox.inject("drop", operation=WRITE)
    with pytest.raises(OSError, match=r"."):
        tenant.call(admin, "PUT", path, body={"location": "westeurope"})
    assert tenant.call(admin, "GET", path).status == 404


def test_a_lost_answer_leaves_the_effect(tenant: Any) -> None:
    admin, path = tenant.sandbox.admin_token(), f"{SUBSCRIPTION}/resourceGroups/done"
    tenant.sandbox.inject("drop_after", operation=WRITE)
    with pytest.raises(OSError, match=r"."):
        tenant.call(admin, "PUT", path, body={"location": "westeurope"})
    assert tenant.call(admin, "GET", path).status == 200


def test_dropping_one_call_leaves_the_sandbox_well(tenant: Any) -> None:
    group, admin = tenant.group(), tenant.sandbox.admin_token()
    tenant.sandbox.inject("drop", times=3)
    for _ in range(3):
        with pytest.raises(OSError, match=r"."):
            tenant.call(admin, "GET", group)
    assert tenant.call(admin, "GET", group).status == 200


def test_unknown_kinds_and_senseless_numbers_are_refused(tenant: Any) -> None:
    with pytest.raises(SandboxError, match="400"):
        tenant.sandbox.inject("gremlins")
    with pytest.raises(SandboxError, match="whole number"):
        tenant.sandbox.inject("throttle", times=-2)


def nsg(tenant: Any) -> str:
    return f"{tenant.group()}/providers/Microsoft.Network/networkSecurityGroups/quarantine"


BODY = {"location": "westeurope", "properties": {}}


def test_an_accepted_change_takes_its_time(tenant: Any) -> None:
    path, admin = nsg(tenant), tenant.sandbox.admin_token()
    tenant.sandbox.configure(lro_seconds=60)
    answer = tenant.call(admin, "PUT", path, NETWORKS, BODY)
    assert (answer.status, answer.body["properties"]["provisioningState"]) == (201, "Updating")
    where = answer.headers["Azure-AsyncOperation"]
    assert tenant.sandbox.send("GET", where, token=admin).body["status"] == "InProgress"
    assert int(answer.headers["Retry-After"]) >= 1
    tenant.sandbox.advance(61)
    assert tenant.sandbox.send("GET", where, token=admin).body["status"] == "Succeeded"
    shown = tenant.sandbox.arm("GET", path, NETWORKS)
    assert shown["properties"]["provisioningState"] == "Succeeded"


def test_a_second_change_meanwhile_is_refused(tenant: Any) -> None:
    path, admin = nsg(tenant), tenant.sandbox.admin_token()
    tenant.sandbox.configure(lro_seconds=60)
    tenant.call(admin, "PUT", path, NETWORKS, BODY)
    answer = tenant.call(admin, "PUT", path, NETWORKS, BODY)
    assert (answer.status, answer.body["error"]["code"]) == (409, "AnotherOperationInProgress")
    tenant.sandbox.advance(61)
    assert tenant.call(admin, "PUT", path, NETWORKS, BODY).status == 200


def test_an_accepted_change_may_fail(tenant: Any) -> None:
    path = nsg(tenant)
    tenant.sandbox.inject("lro_failed", operation="Microsoft.Network/networkSecurityGroups/write")
    with pytest.raises(SandboxError, match="InternalExecutionError"):
        tenant.sandbox.arm("PUT", path, NETWORKS, BODY)
    shown = tenant.sandbox.arm("GET", path, NETWORKS)
    assert shown["properties"]["provisioningState"] == "Failed"
    tenant.sandbox.arm("PUT", path, NETWORKS, BODY)


def test_a_group_is_gone_when_its_deletion_has_ended(tenant: Any) -> None:
    group, admin = tenant.group(), tenant.sandbox.admin_token()
    tenant.managed_identity(group)
    tenant.sandbox.configure(lro_seconds=60)
    assert tenant.call(admin, "DELETE", group).status == 202
    assert tenant.call(admin, "GET", group).status == 200
    tenant.sandbox.advance(61)
    assert tenant.call(admin, "GET", group).status == 404


def test_a_deletion_that_fails_leaves_the_resource(tenant: Any) -> None:
    path = nsg(tenant)
    tenant.sandbox.arm("PUT", path, NETWORKS, BODY)
    tenant.sandbox.inject("lro_failed", operation="Microsoft.Network/networkSecurityGroups/delete")
    with pytest.raises(SandboxError, match="InternalExecutionError"):
        tenant.sandbox.arm("DELETE", path, NETWORKS)
    assert tenant.sandbox.arm("GET", path, NETWORKS)["properties"]["provisioningState"] == "Failed"
    tenant.sandbox.arm("DELETE", path, NETWORKS)
    assert tenant.call(tenant.sandbox.admin_token(), "GET", path, NETWORKS).status == 404
