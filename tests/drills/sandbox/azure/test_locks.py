from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from azure.identity import ClientSecretCredential
from azure.mgmt.resource.locks import ManagementLockClient
from azure.mgmt.resource.locks.models import ManagementLockObject

from drills.sandbox.azure.client import HOME_SUBSCRIPTION, Identity

SUBSCRIPTION = f"/subscriptions/{HOME_SUBSCRIPTION}"


@pytest.fixture
def client(tenant: Any, credential: Callable[[Identity], ClientSecretCredential]) -> ManagementLockClient:
    return ManagementLockClient(credential(tenant.principal("Owner")), HOME_SUBSCRIPTION, retry_total=0)


def lock(client: Any, scope: str, level: str = "CanNotDelete", name: str = "contain") -> Any:
    return client.management_locks.create_or_update_by_scope(scope, name, ManagementLockObject(level=level))


def locked(answer: Any) -> bool:
    return bool(answer.status == 409 and answer.body["error"]["code"] == "ScopeLocked")


def test_a_lock_is_made_shown_and_removed(tenant: Any, client: Any, refused: Any) -> None:
    group = tenant.group()
    assert lock(client, group).level == "CanNotDelete"
    assert client.management_locks.get_by_scope(group, "contain").name == "contain"
    assert [one.name for one in client.management_locks.list_by_scope(group)] == ["contain"]
    client.management_locks.delete_by_scope(group, "contain")
    client.management_locks.delete_by_scope(group, "contain")
    assert refused(client.management_locks.get_by_scope, group, "contain") == (404, "LockNotFound")


def test_an_unknown_level_is_refused(tenant: Any, client: Any, refused: Any) -> None:
    with_level = ManagementLockObject(level="Never")
    answer = refused(client.management_locks.create_or_update_by_scope, tenant.group(), "x", with_level)
    assert answer == (400, "InvalidLockLevel")


def test_a_locked_scope_is_not_deleted_and_neither_is_what_is_below_or_above(
    tenant: Any, client: Any
) -> None:
    group, admin = tenant.group(), tenant.sandbox.admin_token()
    identity = tenant.managed_identity(group)["id"]
    other = tenant.managed_identity(group, "other")["id"]
    lock(client, identity)
    assert locked(tenant.call(admin, "DELETE", identity, "2024-11-30"))
    assert locked(tenant.call(admin, "DELETE", group))
    assert tenant.call(admin, "DELETE", other, "2024-11-30").status == 200
    lock(client, SUBSCRIPTION)
    another = tenant.managed_identity(group, "another")["id"]
    assert locked(tenant.call(admin, "DELETE", another, "2024-11-30"))


def test_a_resource_that_cannot_be_deleted_may_be_changed(tenant: Any, client: Any) -> None:
    group, admin = tenant.group(), tenant.sandbox.admin_token()
    identity = tenant.managed_identity(group)["id"]
    lock(client, identity)
    body = {"location": "westeurope", "tags": {"a": "b"}}
    assert tenant.call(admin, "PUT", identity, "2024-11-30", body).status == 200


def test_read_only_refuses_writes_and_listing_keys(tenant: Any, client: Any) -> None:
    group, admin = tenant.group(), tenant.sandbox.admin_token()
    account = f"{group}/providers/Microsoft.Storage/storageAccounts/models"
    tenant.sandbox.arm("PUT", account, "2025-06-01", {"location": "westeurope", "properties": {}})
    assert tenant.call(admin, "POST", f"{account}/listKeys", "2025-06-01").status == 200
    lock(client, account, "ReadOnly")
    assert locked(tenant.call(admin, "POST", f"{account}/listKeys", "2025-06-01"))
    assert locked(tenant.call(admin, "PATCH", account, "2025-06-01", {"tags": {}}))
    assert tenant.call(admin, "GET", account, "2025-06-01").status == 200
    assert tenant.call(admin, "GET", group).status == 200


def test_role_assignments_below_a_lock_cannot_be_removed(tenant: Any, client: Any) -> None:
    group, admin = tenant.group(), tenant.sandbox.admin_token()
    given = tenant.sandbox.grant(tenant.principal().object_id, "Reader", group)
    lock(client, group)
    assert locked(tenant.call(admin, "DELETE", given, "2022-04-01"))
    client.management_locks.delete_by_scope(group, "contain")
    assert tenant.call(admin, "DELETE", given, "2022-04-01").status == 200


def test_locks_need_their_own_permission(tenant: Any) -> None:
    group, contributor = tenant.group(), tenant.principal("Contributor")
    path = f"{group}/providers/Microsoft.Authorization/locks/x"
    body = {"properties": {"level": "CanNotDelete"}}
    assert tenant.call(contributor, "PUT", path, "2020-05-01", body).status == 403
    assert (
        tenant.call(tenant.principal("User Access Administrator"), "PUT", path, "2020-05-01", body).status
        == 201
    )


def test_a_name_that_begins_like_a_locked_one_is_free(tenant: Any, client: Any) -> None:
    group, admin = tenant.group("ai"), tenant.sandbox.admin_token()
    lock(client, group)
    assert tenant.call(admin, "DELETE", tenant.group("ai-two")).status == 202
