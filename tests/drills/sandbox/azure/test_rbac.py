from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from drills.sandbox.azure.client import HOME_SUBSCRIPTION
from drills.sandbox.azure.roles import ROLE_IDS

SUBSCRIPTION = f"/subscriptions/{HOME_SUBSCRIPTION}"
EVERYONE = "00000000-0000-0000-0000-000000000000"
PREVIEW = "2024-07-01-preview"
ROLES = "2022-04-01"


def reads(tenant: Any, who: Any, path: str) -> bool:
    return bool(tenant.call(who, "GET", path).status == 200)


def writes(tenant: Any, who: Any, path: str) -> bool:
    return tenant.call(who, "PUT", path, body={"location": "westeurope"}).status in {200, 201}


def test_without_a_role_nothing_is_allowed_and_the_refusal_names_all(tenant: Any) -> None:
    group, someone = tenant.group(), tenant.principal()
    answer = tenant.call(someone, "GET", group)
    assert (answer.status, answer.body["error"]["code"]) == (403, "AuthorizationFailed")
    for part in (someone.object_id, "Microsoft.Resources/subscriptions/resourceGroups/read", group):
        assert part in answer.body["error"]["message"]


def test_roles_reach_down_from_their_scope_and_nowhere_else(tenant: Any) -> None:
    one, other = tenant.group("one"), tenant.group("one-more")
    someone = tenant.principal("Reader", scope=one)
    assert reads(tenant, someone, one)
    assert not reads(tenant, someone, other)
    tenant.managed_identity(one)
    path = f"{one}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/agent"
    assert tenant.call(someone, "GET", path, "2024-11-30").status == 200


def test_roles_of_management_groups_reach_their_subscriptions(tenant: Any) -> None:
    top = tenant.sandbox.create_management_group("top")
    tenant.sandbox.create_management_group("team", parent="top")
    tenant.sandbox.create_subscription(subscription=HOME_SUBSCRIPTION, parent="team")
    group = tenant.group()
    assert reads(tenant, tenant.principal("Reader", scope=top), group)
    elsewhere = tenant.sandbox.create_management_group("elsewhere")
    assert not reads(tenant, tenant.principal("Reader", scope=elsewhere), group)


def test_the_root_scope_reaches_everything(tenant: Any) -> None:
    group = tenant.group()
    assert reads(tenant, tenant.principal("Reader", scope="/"), group)


def test_roles_through_groups_in_groups_count(tenant: Any) -> None:
    group, someone = tenant.group(), tenant.principal()
    inner = tenant.sandbox.create_group("inner", someone.object_id)
    outer = tenant.sandbox.create_group("outer", inner)
    tenant.sandbox.grant(outer, "Reader", SUBSCRIPTION)
    assert reads(tenant, someone, group)
    tenant.graph_admin("DELETE", f"groups/{outer}/members/{inner}/$ref")
    assert not reads(tenant, someone, group)


def test_a_contributor_may_write_resources_but_no_roles(tenant: Any) -> None:
    group, someone = tenant.group(), tenant.principal("Contributor")
    assert writes(tenant, someone, group)
    path = f"{SUBSCRIPTION}/providers/Microsoft.Authorization/roleAssignments/{uuid4()}"
    body = {"properties": {"principalId": someone.object_id, "roleDefinitionId": role("Owner")}}
    assert tenant.call(someone, "PUT", path, ROLES, body).status == 403


def test_what_one_role_leaves_out_another_may_give(tenant: Any) -> None:
    someone = tenant.principal("Contributor", "User Access Administrator")
    path = f"{SUBSCRIPTION}/providers/Microsoft.Authorization/roleAssignments/{uuid4()}"
    body = {"properties": {"principalId": someone.object_id, "roleDefinitionId": role("Reader")}}
    assert tenant.call(someone, "PUT", path, ROLES, body).status == 201


def test_data_actions_do_not_follow_from_actions(tenant: Any) -> None:
    group = tenant.group()
    account = f"{group}/providers/Microsoft.Storage/storageAccounts/models"
    tenant.sandbox.arm("PUT", account, "2025-06-01", {"location": "westeurope", "properties": {}})
    container = f"{account}/blobServices/default/containers/weights"
    tenant.sandbox.arm("PUT", container, "2025-06-01", {"properties": {}})
    owner, reader = tenant.principal("Owner"), tenant.principal("Storage Blob Data Reader")
    url = "https://models.blob.core.windows.net/weights?restype=container&comp=list"
    version = {"x-ms-version": "2025-11-05"}
    statuses = [
        tenant.sandbox.send(
            "GET", url, token=tenant.sandbox.mint(one.object_id, "https://storage.azure.com"), headers=version
        ).status
        for one in (owner, reader)
    ]
    assert statuses == [403, 200]


def test_granting_and_taking_away_are_shown_at_once_and_work_late(tenant: Any) -> None:
    group, someone = tenant.group(), tenant.principal()
    tenant.sandbox.configure(role_propagation_seconds=600)
    given = tenant.sandbox.grant(someone.object_id, "Reader", SUBSCRIPTION)
    assert tenant.sandbox.arm("GET", given, ROLES)["properties"]["principalId"] == someone.object_id
    assert not reads(tenant, someone, group)
    tenant.sandbox.advance(601)
    token = tenant.sandbox.mint(someone.object_id)
    assert reads(tenant, token, group)
    tenant.sandbox.arm("DELETE", given, ROLES)
    gone = tenant.call(tenant.sandbox.admin_token(), "GET", given, ROLES)
    assert (gone.status, gone.body["error"]["code"]) == (404, "RoleAssignmentNotFound")
    assert reads(tenant, token, group)
    tenant.sandbox.advance(590)
    assert reads(tenant, token, group)
    tenant.sandbox.advance(11)
    assert not reads(tenant, token, group)


def test_an_ended_wait_takes_effect_at_once(tenant: Any) -> None:
    group, someone = tenant.group(), tenant.principal()
    tenant.sandbox.configure(role_propagation_seconds=600)
    tenant.sandbox.grant(someone.object_id, "Reader", SUBSCRIPTION)
    assert not reads(tenant, someone, group)
    tenant.sandbox.configure(role_propagation_seconds=0)
    assert reads(tenant, someone, group)


def test_leaving_a_group_works_late_too(tenant: Any) -> None:
    group, someone = tenant.group(), tenant.principal()
    team = tenant.sandbox.create_group("team", someone.object_id)
    tenant.sandbox.grant(team, "Reader", SUBSCRIPTION)
    tenant.sandbox.configure(role_propagation_seconds=20)
    tenant.sandbox.advance(30)
    tenant.graph_admin("DELETE", f"groups/{team}/members/{someone.object_id}/$ref")
    assert reads(tenant, someone, group)
    tenant.sandbox.advance(21)
    assert not reads(tenant, someone, group)


def deny(tenant: Any, scope: str, **properties: Any) -> Any:
    everyone = {"principals": [{"id": EVERYONE, "type": "SystemDefined"}]}
    actions = {"permissions": [{"actions": ["*/write", "*/delete", "*/action"]}]}
    path = f"{scope}/providers/Microsoft.Authorization/denyAssignments/{uuid4()}"
    body = {"properties": {"denyAssignmentName": "contain", **everyone, **actions, **properties}}
    return tenant.call(tenant.sandbox.admin_token(), "PUT", path, PREVIEW, body)


def test_a_denial_beats_roles_for_writes_and_leaves_reads(tenant: Any) -> None:
    group, someone = tenant.group(), tenant.principal("Owner")
    made = deny(tenant, SUBSCRIPTION, principals=[{"id": someone.object_id, "type": "ServicePrincipal"}])
    assert made.status == 201
    assert not writes(tenant, someone, group)
    assert reads(tenant, someone, group)
    tenant.sandbox.arm("DELETE", made.body["id"], PREVIEW)
    assert writes(tenant, someone, group)


def test_a_denial_of_everyone_spares_the_excluded(tenant: Any) -> None:
    group, someone, responder = tenant.group(), tenant.principal("Owner"), tenant.principal("Owner")
    spared = [{"id": responder.object_id, "type": "ServicePrincipal"}]
    assert deny(tenant, group, excludePrincipals=spared).status == 201
    assert not writes(tenant, someone, group)
    assert writes(tenant, responder, group)


def test_a_denial_may_stop_at_its_scope(tenant: Any) -> None:
    group, someone = tenant.group(), tenant.principal("Owner")
    who = [{"id": someone.object_id, "type": "ServicePrincipal"}]
    deny(tenant, SUBSCRIPTION, principals=who, doNotApplyToChildScopes=True)
    assert writes(tenant, someone, group)


def test_an_audited_denial_refuses_nothing(tenant: Any) -> None:
    group, someone = tenant.group(), tenant.principal("Owner")
    who = [{"id": someone.object_id, "type": "ServicePrincipal"}]
    deny(tenant, group, principals=who, denyAssignmentEffect="audit")
    assert writes(tenant, someone, group)


@pytest.mark.parametrize(
    "wrong",
    [
        {"permissions": [{"actions": ["*/read"]}]},
        {"permissions": [{"actions": ["*"]}]},
        {"permissions": [{"actions": ["*/write"], "dataActions": ["Microsoft.Storage/*"]}]},
        {"excludePrincipals": []},
        {"principals": []},
    ],
)
def test_denials_azure_does_not_support_are_refused(tenant: Any, wrong: dict[str, Any]) -> None:
    spared = {"excludePrincipals": [{"id": tenant.principal().object_id, "type": "ServicePrincipal"}]}
    answer = deny(tenant, SUBSCRIPTION, **{**spared, **wrong})
    assert (answer.status, answer.body["error"]["code"]) == (400, "InvalidDenyAssignment")


def test_groups_cannot_be_denied(tenant: Any) -> None:
    team = tenant.sandbox.create_group("team")
    assert deny(tenant, SUBSCRIPTION, principals=[{"id": team, "type": "Group"}]).status == 400


def test_denials_are_listed_but_not_written_in_the_stable_version(tenant: Any) -> None:
    someone = tenant.principal()
    made = deny(tenant, SUBSCRIPTION, principals=[{"id": someone.object_id, "type": "ServicePrincipal"}]).body
    listed = tenant.sandbox.arm(
        "GET", f"{tenant.group()}/providers/Microsoft.Authorization/denyAssignments", ROLES
    )
    assert [one["id"] for one in listed["value"]] == [made["id"]]
    answer = tenant.call(tenant.sandbox.admin_token(), "PUT", made["id"], ROLES, {"properties": {}})
    assert answer.body["error"]["code"] == "NoRegisteredProviderFound"


def test_denials_work_late_as_well(tenant: Any) -> None:
    group, someone = tenant.group(), tenant.principal("Owner")
    tenant.sandbox.advance(30)
    tenant.sandbox.configure(role_propagation_seconds=20)
    deny(tenant, group, principals=[{"id": someone.object_id, "type": "ServicePrincipal"}])
    assert writes(tenant, someone, group)
    tenant.sandbox.advance(21)
    assert not writes(tenant, someone, group)


def role(name: str) -> str:
    return f"{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/{ROLE_IDS[name]}"


def test_the_caller_sees_its_own_permissions(tenant: Any) -> None:
    someone = tenant.principal("Reader", "Storage Blob Data Reader")
    path = f"{tenant.group()}/providers/Microsoft.Authorization/permissions"
    shown = tenant.call(someone, "GET", path, ROLES).body["value"]
    assert shown[0]["actions"] == ["*/read"]
    assert any(one["dataActions"] for one in shown)


def test_tenants_do_not_see_each_others_assignments(tenant: Any) -> None:
    other = tenant.sandbox.create_tenant()
    subscription = tenant.sandbox.create_subscription(other)
    stranger = tenant.sandbox.create_principal("stranger", tenant=other)
    tenant.sandbox.grant(stranger.object_id, "Owner", "/")
    listed = tenant.sandbox.arm("GET", "/providers/Microsoft.Authorization/roleAssignments", ROLES)
    assert listed["value"] == []
    assert tenant.call(stranger, "GET", SUBSCRIPTION, "2022-12-01").status == 401
    assert tenant.call(stranger, "GET", f"/subscriptions/{subscription}", "2022-12-01").status == 200
