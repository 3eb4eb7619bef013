from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from azure.identity import ClientSecretCredential
from azure.mgmt.authorization import AuthorizationManagementClient
from azure.mgmt.authorization.v2022_04_01.models import RoleAssignmentCreateParameters

from drills.sandbox.azure.client import HOME_SUBSCRIPTION, Identity
from drills.sandbox.azure.roles import BUILT_IN, ROLE_IDS

SUBSCRIPTION = f"/subscriptions/{HOME_SUBSCRIPTION}"
VERSION = "2022-04-01"
PIM = "2020-10-01"


def role(name: str) -> str:
    return f"{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/{ROLE_IDS[name]}"


@pytest.fixture
def client(
    tenant: Any, credential: Callable[[Identity], ClientSecretCredential]
) -> AuthorizationManagementClient:
    owner = tenant.principal("Owner")
    return AuthorizationManagementClient(credential(owner), HOME_SUBSCRIPTION, retry_total=0)


def parameters(principal: str, name: str = "Reader", **more: Any) -> RoleAssignmentCreateParameters:
    return RoleAssignmentCreateParameters(
        role_definition_id=role(name), principal_id=principal, principal_type="ServicePrincipal", **more
    )


def test_an_assignment_is_deleted_and_restored_under_its_own_name(tenant: Any, client: Any) -> None:
    someone, name = tenant.principal(), str(uuid4())
    wanted = parameters(
        someone.object_id,
        "Storage Blob Data Reader",
        condition="((!(ActionMatches{'Microsoft.Storage/x'})))",
        condition_version="2.0",
        description="reads models",
    )
    before = client.role_assignments.create(SUBSCRIPTION, name, wanted)
    gone = client.role_assignments.delete_by_id(before.id)
    assert gone.id == before.id
    assert client.role_assignments.delete_by_id(before.id) is None
    after = client.role_assignments.create_by_id(before.id, wanted)
    for field in ("id", "scope", "role_definition_id", "principal_id", "condition", "description"):
        assert getattr(after, field) == getattr(before, field)


def test_an_assignment_cannot_be_changed_except_its_condition_and_description(
    tenant: Any, client: Any, refused: Any
) -> None:
    someone, name = tenant.principal(), str(uuid4())
    client.role_assignments.create(SUBSCRIPTION, name, parameters(someone.object_id))
    again = client.role_assignments.create(SUBSCRIPTION, name, parameters(someone.object_id))
    assert again.name == name
    described = client.role_assignments.create(
        SUBSCRIPTION, name, parameters(someone.object_id, description="new")
    )
    assert described.description == "new"
    others = parameters(tenant.principal().object_id), parameters(someone.object_id, "Owner")
    for other in others:
        assert refused(client.role_assignments.create, SUBSCRIPTION, name, other) == (
            400,
            "RoleAssignmentUpdateNotPermitted",
        )


def test_the_same_role_twice_is_refused(tenant: Any, client: Any, refused: Any) -> None:
    someone = tenant.principal("Reader")
    create, wanted = client.role_assignments.create, parameters(someone.object_id)
    assert refused(create, SUBSCRIPTION, str(uuid4()), wanted) == (409, "RoleAssignmentExists")


def test_principals_and_roles_must_exist(client: Any, refused: Any) -> None:
    create, nobody = client.role_assignments.create, str(uuid4())
    untyped = RoleAssignmentCreateParameters(role_definition_id=role("Reader"), principal_id=nobody)
    assert refused(create, SUBSCRIPTION, str(uuid4()), untyped) == (400, "PrincipalNotFound")
    assert create(SUBSCRIPTION, str(uuid4()), parameters(nobody)).principal_id == nobody
    unknown = RoleAssignmentCreateParameters(role_definition_id=str(uuid4()), principal_id=nobody)
    assert refused(create, SUBSCRIPTION, str(uuid4()), unknown) == (400, "RoleDefinitionDoesNotExist")


def test_a_wrong_type_of_principal_is_refused(tenant: Any, client: Any, refused: Any) -> None:
    team = tenant.sandbox.create_group("team")
    answer = refused(client.role_assignments.create, SUBSCRIPTION, str(uuid4()), parameters(team))
    assert answer == (400, "UnmatchedPrincipalType")


def test_the_last_owner_stays(tenant: Any, client: Any, refused: Any) -> None:
    owners = [
        one
        for one in client.role_assignments.list_for_subscription()
        if one.role_definition_id.endswith(ROLE_IDS["Owner"])
    ]
    assert refused(client.role_assignments.delete_by_id, owners[0].id)[0] == 400
    tenant.principal("Owner")
    assert client.role_assignments.delete_by_id(owners[0].id) is not None


def test_filters_find_what_reaches_a_principal(tenant: Any, client: Any) -> None:
    someone, group = tenant.principal(), tenant.group()
    team = tenant.sandbox.create_group("team", someone.object_id)
    top = tenant.sandbox.create_management_group("top")
    tenant.sandbox.create_subscription(subscription=HOME_SUBSCRIPTION, parent="top")
    direct = tenant.sandbox.grant(someone.object_id, "Reader", group)
    inherited = tenant.sandbox.grant(someone.object_id, "Reader", top)
    through_group = tenant.sandbox.grant(team, "Contributor", SUBSCRIPTION)

    def found(query: str, scope: str = SUBSCRIPTION) -> set[str]:
        return {one.id for one in client.role_assignments.list_for_scope(scope, filter=query)}

    assert found(f"principalId eq '{someone.object_id}'") == {direct, inherited}
    assert found(f"assignedTo('{someone.object_id}')") == {direct, inherited, through_group}
    assert found(f"atScope() and assignedTo('{someone.object_id}')") == {inherited, through_group}
    assert found(f"principalId eq '{someone.object_id}'", group) == {direct, inherited}
    sibling = tenant.group("sibling")
    assert found(f"principalId eq '{someone.object_id}'", sibling) == {inherited}


def test_filters_nobody_knows_are_refused(client: Any, refused: Any) -> None:
    listed = client.role_assignments.list_for_subscription(filter="roleName eq 'x'")
    assert refused(list, listed) == (400, "UnsupportedFilter")


def test_assignments_come_in_pages(tenant: Any, client: Any) -> None:
    for _ in range(5):
        tenant.principal("Reader")
    tenant.sandbox.configure(page_size=2)
    assert len(list(client.role_assignments.list_for_subscription())) == 6


def test_assignments_hold_for_resources_by_their_id(tenant: Any, client: Any) -> None:
    identity = tenant.managed_identity(tenant.group())
    someone = tenant.principal()
    given = client.role_assignments.create(identity["id"], str(uuid4()), parameters(someone.object_id))
    assert given.scope == identity["id"]
    assert tenant.call(someone, "GET", identity["id"], "2024-11-30").status == 200
    found = list(client.role_assignments.list_for_scope(identity["id"], filter="atScope()"))
    assert given.id in {one.id for one in found}


def test_built_in_roles_have_their_real_ids(client: Any) -> None:
    found = {one.name: one.role_name for one in client.role_definitions.list(SUBSCRIPTION)}
    assert found["8e3af657-a8ff-443c-a75c-2fe8c4bcb635"] == "Owner"
    assert found["ba92f5b4-2d11-453d-a403-e96b0029c9fe"] == "Storage Blob Data Contributor"
    assert len(found) == len(BUILT_IN)


def custom(tenant: Any, *actions: str, scope: str = SUBSCRIPTION) -> str:
    path = f"{scope}/providers/Microsoft.Authorization/roleDefinitions/{uuid4()}"
    properties = {
        "roleName": f"role {uuid4()}",
        "permissions": [{"actions": list(actions)}],
        "assignableScopes": [scope],
    }
    return str(tenant.sandbox.arm("PUT", path, VERSION, {"properties": properties})["id"])


def test_a_custom_role_gives_what_it_names_and_no_more(tenant: Any) -> None:
    group = tenant.group()
    made = custom(tenant, "Microsoft.Resources/subscriptions/resourceGroups/read")
    someone = tenant.principal()
    tenant.sandbox.grant(someone.object_id, made, SUBSCRIPTION)
    assert tenant.call(someone, "GET", group).status == 200
    assert tenant.call(someone, "PUT", group, body={"location": "westeurope"}).status == 403


def test_a_custom_role_is_assigned_only_where_it_may_be(tenant: Any, client: Any, refused: Any) -> None:
    made = custom(tenant, "*/read", scope=tenant.group())
    wanted = RoleAssignmentCreateParameters(
        role_definition_id=made, principal_id=tenant.principal().object_id
    )
    answer = refused(client.role_assignments.create, SUBSCRIPTION, str(uuid4()), wanted)
    assert answer == (400, "RoleAssignmentScopeNotAssignableToRoleDefinition")


def test_a_custom_role_in_use_is_not_deleted(tenant: Any, client: Any, refused: Any) -> None:
    made = custom(tenant, "*/read")
    given = tenant.sandbox.grant(tenant.principal().object_id, made, SUBSCRIPTION)
    name = made.rsplit("/", 1)[1]
    answer = refused(client.role_definitions.delete, SUBSCRIPTION, name)
    assert answer == (400, "RoleDefinitionHasAssignments")
    client.role_assignments.delete_by_id(given)
    assert client.role_definitions.delete(SUBSCRIPTION, name) is not None


def request(tenant: Any, kind: str, principal: str, **more: Any) -> Any:
    path = f"{SUBSCRIPTION}/providers/Microsoft.Authorization/roleAssignmentScheduleRequests/{uuid4()}"
    body = {"requestType": kind, "principalId": principal, "roleDefinitionId": role("Reader"), **more}
    return tenant.sandbox.arm("PUT", path, PIM, {"properties": body})


def instances(tenant: Any, principal: str) -> list[Any]:
    path = f"{SUBSCRIPTION}/providers/Microsoft.Authorization/roleAssignmentScheduleInstances"
    query = f"{path}?$filter=principalId%20eq%20'{principal}'"
    answer = tenant.call(tenant.sandbox.admin_token(), "GET", query, PIM)
    return list(answer.body["value"])


def test_an_active_schedule_assigns_until_it_is_removed(tenant: Any) -> None:
    someone = tenant.principal()
    request(tenant, "AdminAssign", someone.object_id)
    assert tenant.call(someone, "GET", SUBSCRIPTION, "2022-12-01").status == 200
    assert len(instances(tenant, someone.object_id)) == 1
    request(tenant, "AdminRemove", someone.object_id)
    assert tenant.call(someone, "GET", SUBSCRIPTION, "2022-12-01").status == 403
    assert instances(tenant, someone.object_id) == []


def test_a_schedule_ends_by_itself(tenant: Any) -> None:
    someone = tenant.principal()
    end = {"scheduleInfo": {"expiration": {"type": "AfterDuration", "duration": "PT8H"}}}
    request(tenant, "AdminAssign", someone.object_id, **end)
    assert instances(tenant, someone.object_id)[0]["properties"]["endDateTime"]
    tenant.sandbox.advance(8 * 3600 + 1)
    assert tenant.call(someone, "GET", SUBSCRIPTION, "2022-12-01").status == 403
    assert instances(tenant, someone.object_id) == []


def test_permanent_assignments_are_instances_without_an_end(tenant: Any) -> None:
    someone = tenant.principal("Reader")
    (one,) = instances(tenant, someone.object_id)
    assert one["properties"]["endDateTime"] is None
    assert one["properties"]["originRoleAssignmentId"]
