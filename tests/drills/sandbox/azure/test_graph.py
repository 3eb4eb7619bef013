from __future__ import annotations

from typing import Any

import pytest

from drills.sandbox.azure.graphroles import APP_ROLES, GRAPH_APP_ID


def code(answer: Any) -> str:
    return str(answer.body["error"]["code"])


def test_graph_asks_for_its_own_permissions(tenant: Any) -> None:
    reader = tenant.principal("Owner", graph=("Application.Read.All",))
    someone = tenant.principal()
    path = f"servicePrincipals/{someone.object_id}"
    assert tenant.graph(reader, "GET", path).status == 200
    answer = tenant.graph(reader, "PATCH", path, {"accountEnabled": False})
    assert (answer.status, code(answer)) == (403, "Authorization_RequestDenied")
    assert tenant.graph(tenant.principal("Owner"), "GET", path).status == 403


@pytest.mark.parametrize(
    ("permission", "method", "path", "body"),
    [
        ("Application.ReadWrite.All", "PATCH", "servicePrincipals/{sp}", {"accountEnabled": True}),
        ("Application.ReadWrite.All", "POST", "applications/{app}/addPassword", {}),
        ("AppRoleAssignment.ReadWrite.All", "GET", "servicePrincipals/{sp}/appRoleAssignments", None),
        (
            "DelegatedPermissionGrant.ReadWrite.All",
            "GET",
            "servicePrincipals/{sp}/oauth2PermissionGrants",
            None,
        ),
        ("GroupMember.Read.All", "GET", "servicePrincipals/{sp}/transitiveMemberOf", None),
        ("User.RevokeSessions.All", "POST", "users/{user}/revokeSignInSessions", {}),
    ],
)
def test_the_named_permission_suffices_and_without_it_nothing_works(
    tenant: Any, permission: str, method: str, path: str, body: Any
) -> None:
    subject, user = tenant.principal(), tenant.sandbox.create_user("ada")
    filled = path.format(sp=subject.object_id, app=subject.application_object_id, user=user)
    assert tenant.graph(tenant.principal(graph=(permission,)), method, filled, body).status in {200, 204}
    assert tenant.graph(tenant.principal(graph=("AuditLog.Read.All",)), method, filled, body).status == 403


def test_permissions_are_those_of_the_token(tenant: Any) -> None:
    someone = tenant.principal(graph=("Application.Read.All",))
    token = tenant.sandbox.mint(someone.object_id, "https://graph.microsoft.com")
    held = tenant.graph_admin("GET", f"servicePrincipals/{someone.object_id}/appRoleAssignments").body[
        "value"
    ]
    path = f"servicePrincipals/{someone.object_id}/appRoleAssignments/{held[0]['id']}"
    assert tenant.graph_admin("DELETE", path).status == 204
    assert tenant.graph(token, "GET", "servicePrincipals").status == 200
    assert tenant.graph(someone, "GET", "servicePrincipals").status == 403


def test_service_principals_are_found_by_client_id(tenant: Any) -> None:
    someone = tenant.principal()
    listed = tenant.graph_admin("GET", f"servicePrincipals?$filter=appId%20eq%20'{someone.client_id}'")
    assert [one["id"] for one in listed.body["value"]] == [someone.object_id]
    direct = tenant.graph_admin("GET", f"servicePrincipals(appId='{someone.client_id}')?$select=id,appId")
    assert direct.body == {"id": someone.object_id, "appId": someone.client_id}


def test_what_does_not_exist_is_a_404_of_graph(tenant: Any) -> None:
    answer = tenant.graph_admin("GET", "servicePrincipals/00000000-0000-4000-8000-00000000dead")
    assert (answer.status, code(answer)) == (404, "Request_ResourceNotFound")


def test_objects_of_other_tenants_do_not_exist(tenant: Any) -> None:
    other = tenant.sandbox.create_tenant()
    stranger = tenant.sandbox.create_principal("stranger", tenant=other)
    assert tenant.graph_admin("GET", f"servicePrincipals/{stranger.object_id}").status == 404


def test_fixed_properties_stay(tenant: Any) -> None:
    someone = tenant.principal()
    answer = tenant.graph_admin("PATCH", f"servicePrincipals/{someone.object_id}", {"appId": "x"})
    assert (answer.status, code(answer)) == (400, "Request_BadRequest")


def test_secrets_are_added_removed_and_never_restored(tenant: Any) -> None:
    someone = tenant.principal()
    path = f"applications/{someone.application_object_id}"
    before = tenant.graph_admin("GET", path).body["passwordCredentials"]
    added = tenant.graph_admin(
        "POST", f"{path}/addPassword", {"passwordCredential": {"displayName": "new"}}
    ).body
    shown = tenant.graph_admin("GET", path).body["passwordCredentials"]
    assert [one["keyId"] for one in shown] == [before[0]["keyId"], added["keyId"]]
    assert all("secretText" not in one for one in shown)
    assert tenant.graph_admin("PATCH", path, {"passwordCredentials": []}).status == 204
    assert tenant.graph_admin("GET", path).body["passwordCredentials"] == []
    assert tenant.graph_admin("PATCH", path, {"passwordCredentials": before}).status == 400


def test_an_unknown_secret_cannot_be_removed(tenant: Any) -> None:
    path = f"applications/{tenant.principal().application_object_id}/removePassword"
    assert tenant.graph_admin("POST", path, {"keyId": "x"}).status == 400


def test_federated_credentials_are_kept_with_all_their_fields(tenant: Any) -> None:
    path = f"applications/{tenant.principal().application_object_id}/federatedIdentityCredentials"
    wanted = {
        "name": "ci",
        "issuer": "https://token.actions.githubusercontent.com",
        "subject": "repo:o/r:ref:refs/heads/main",
        "audiences": ["api://AzureADTokenExchange"],
        "description": "deploys",
    }
    made = tenant.graph_admin("POST", path, wanted).body
    assert {name: made[name] for name in wanted} == wanted
    assert tenant.graph_admin("GET", f"{path}/{made['id']}").body == made
    assert tenant.graph_admin("POST", path, wanted).status == 409
    assert tenant.graph_admin("DELETE", f"{path}/{made['id']}").status == 204
    assert tenant.graph_admin("GET", path).body["value"] == []


def test_app_roles_are_granted_and_taken(tenant: Any) -> None:
    someone = tenant.principal()
    graph = tenant.graph_admin("GET", f"servicePrincipals(appId='{GRAPH_APP_ID}')")
    if graph.status == 404:
        tenant.principal(graph=("User.Read.All",))
        graph = tenant.graph_admin("GET", f"servicePrincipals(appId='{GRAPH_APP_ID}')")
    path = f"servicePrincipals/{someone.object_id}/appRoleAssignments"
    role = {
        "principalId": someone.object_id,
        "resourceId": graph.body["id"],
        "appRoleId": APP_ROLES["Group.Read.All"],
    }
    made = tenant.graph_admin("POST", path, role)
    assert made.status == 201
    assert tenant.graph_admin("POST", path, role).status == 400
    assert tenant.graph(someone, "GET", "groups").status == 200
    assert tenant.graph_admin("DELETE", f"{path}/{made.body['id']}").status == 204
    assert tenant.graph(someone, "GET", "groups").status == 403


def test_delegated_grants_come_and_go(tenant: Any) -> None:
    someone = tenant.principal()
    wanted = {
        "clientId": someone.object_id,
        "consentType": "AllPrincipals",
        "resourceId": someone.object_id,
        "scope": "Mail.Read",
    }
    made = tenant.graph_admin("POST", "oauth2PermissionGrants", wanted)
    path = f"servicePrincipals/{someone.object_id}/oauth2PermissionGrants"
    assert [one["scope"] for one in tenant.graph_admin("GET", path).body["value"]] == ["Mail.Read"]
    assert tenant.graph_admin("DELETE", f"oauth2PermissionGrants/{made.body['id']}").status == 204
    assert tenant.graph_admin("GET", path).body["value"] == []


def test_memberships_are_followed_through_groups(tenant: Any) -> None:
    someone = tenant.principal()
    inner = tenant.sandbox.create_group("inner", someone.object_id)
    outer = tenant.sandbox.create_group("outer", inner)
    path = f"servicePrincipals/{someone.object_id}"
    direct = tenant.graph_admin("GET", f"{path}/memberOf").body["value"]
    everything = tenant.graph_admin("GET", f"{path}/transitiveMemberOf/microsoft.graph.group").body["value"]
    assert [one["id"] for one in direct] == [inner]
    assert {one["id"] for one in everything} == {inner, outer}
    members = tenant.graph_admin("GET", f"groups/{inner}/members").body["value"]
    assert [one["id"] for one in members] == [someone.object_id]


def test_groups_that_contain_each_other_end(tenant: Any) -> None:
    someone = tenant.principal()
    one = tenant.sandbox.create_group("one", someone.object_id)
    two = tenant.sandbox.create_group("two", one)
    reference = {"@odata.id": f"https://graph.microsoft.com/v1.0/directoryObjects/{two}"}
    assert tenant.graph_admin("POST", f"groups/{one}/members/$ref", reference).status == 204
    found = tenant.graph_admin("GET", f"servicePrincipals/{someone.object_id}/transitiveMemberOf").body[
        "value"
    ]
    assert {group["id"] for group in found} == {one, two}


def test_a_user_s_sessions_are_revoked(tenant: Any) -> None:
    user = tenant.sandbox.create_user("ada")
    assert tenant.graph_admin("POST", f"users/{user}/revokeSignInSessions", {}).body["value"] is True
    assert tenant.graph_admin("GET", f"users/{user}").body["signInSessionsValidFromDateTime"]


def test_service_principals_have_no_such_call(tenant: Any) -> None:
    path = f"servicePrincipals/{tenant.principal().object_id}/revokeSignInSessions"
    assert tenant.graph_admin("POST", path, {}).status == 404


def test_lists_of_graph_link_their_pages(tenant: Any) -> None:
    for _ in range(3):
        tenant.principal()
    tenant.sandbox.configure(page_size=2)
    first = tenant.graph_admin("GET", "applications").body
    assert len(first["value"]) == 2
    rest = tenant.sandbox.send(
        "GET",
        first["@odata.nextLink"],
        token=tenant.sandbox.admin_token(audience="https://graph.microsoft.com"),
    )
    assert rest.status == 200
