"""Give Firebreak's own applications exactly the roles that its permissions generator printed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

from drills.sandbox.azure.sample.admin import AUTHORIZATION_VERSION, Admin

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from drills.sandbox.azure.client import AzureSandbox
    from drills.sandbox.azure.sample.seeding import Sample

Json = dict[str, Any]
ASSIGNMENTS = "Microsoft.Authorization/roleAssignments"
DEFINITIONS = "Microsoft.Authorization/roleDefinitions"
COSMOS_ACCOUNTS, COSMOS_VERSION = "Microsoft.DocumentDB/databaseAccounts", "2024-05-15"


def attach_responder_roles(sandbox: AzureSandbox, document: Mapping[str, Any], sample: Sample) -> None:
    """Leave the responder with the roles and Graph permissions of this document and nothing else."""
    admin = Admin(sandbox, sample.workload_account)
    replace_roles(admin, sample.responder.object_id, document)
    replace_graph_permissions(admin, sample.responder.object_id, tuple(document.get("graph", ())))
    replace_cosmos_roles(admin, sample.responder.object_id, document.get("cosmos", ()))
    admin.close()


def attach_evidence_roles(sandbox: AzureSandbox, document: Mapping[str, Any], sample: Sample) -> None:
    """Leave the evidence keeper with the roles of this document and nothing else."""
    admin = Admin(sandbox, sample.evidence_account)
    replace_roles(admin, sample.keeper.object_id, document)
    admin.close()


def replace_roles(admin: Admin, principal: str, document: Mapping[str, Any]) -> None:
    """Replace every role assignment of a principal in the subscription by those of a printed document."""
    query = f"&$filter=principalId eq '{principal}'"
    listed = admin.arm("GET", f"{admin.scope}/providers/{ASSIGNMENTS}", f"{AUTHORIZATION_VERSION}{query}")
    for each in listed["value"]:
        admin.arm("DELETE", each["id"], AUTHORIZATION_VERSION)
    for role in document["roles"]:
        for scope in role["assign_at"]:
            _assign(admin, principal, role["definition"], scope)


def _assign(admin: Admin, principal: str, definition: Mapping[str, Any], scope: str) -> None:
    """Make the custom role under a name of its own, since one document may be tried in many shapes."""
    role = f"{'/'.join(scope.split('/')[:3])}/providers/{DEFINITIONS}/{uuid4()}"
    permission = {
        "actions": definition["Actions"],
        "notActions": definition["NotActions"],
        "dataActions": definition["DataActions"],
        "notDataActions": definition["NotDataActions"],
    }
    properties = {
        "roleName": f"{definition['Name']} {uuid4().hex[:8]}",
        "type": "CustomRole",
        "permissions": [permission],
        "assignableScopes": definition["AssignableScopes"],
    }
    admin.put(role, {"properties": properties}, AUTHORIZATION_VERSION)
    assignment = {
        "roleDefinitionId": role,
        "principalId": principal,
        "principalType": "ServicePrincipal",
    }
    place = f"{scope}/providers/{ASSIGNMENTS}/{uuid4()}"
    admin.put(place, {"properties": assignment}, AUTHORIZATION_VERSION)


def replace_graph_permissions(admin: Admin, principal: str, wanted: tuple[str, ...]) -> None:
    """Leave a service principal with these application permissions of Microsoft Graph."""
    place = f"/servicePrincipals/{principal}/appRoleAssignments"
    graph = admin.graph("GET", f"/servicePrincipals?$filter=appId eq '{GRAPH_APP}'")["value"][0]
    for held in admin.graph("GET", place)["value"]:
        if held["resourceId"] == graph["id"]:
            admin.graph("DELETE", f"{place}/{held['id']}")
    roles = {each["value"]: each["id"] for each in graph["appRoles"]}
    for name in wanted:
        body = {"principalId": principal, "resourceId": graph["id"], "appRoleId": roles[name]}
        admin.graph("POST", place, body)


def replace_cosmos_roles(admin: Admin, principal: str, roles: Iterable[Mapping[str, Any]]) -> None:
    """Replace a principal's roles in every Cosmos DB account of the subscription, which are its own."""
    listed = admin.arm("GET", f"{admin.scope}/providers/{COSMOS_ACCOUNTS}", COSMOS_VERSION)
    for account in listed["value"]:
        held = admin.arm("GET", f"{account['id']}/sqlRoleAssignments", COSMOS_VERSION)
        for each in held["value"]:
            if each["properties"]["principalId"] == principal:
                admin.arm("DELETE", each["id"], COSMOS_VERSION)
    for role in roles:
        _assign_in_cosmos(admin, principal, role)


def _assign_in_cosmos(admin: Admin, principal: str, role: Mapping[str, Any]) -> None:
    account, printed = role["account"], role["definition"]
    actions = [{"dataActions": each["DataActions"]} for each in printed["Permissions"]]
    definition = f"{account}/sqlRoleDefinitions/{uuid4()}"
    properties = {
        "roleName": f"{printed['RoleName']} {uuid4().hex[:8]}",
        "type": printed["Type"],
        "assignableScopes": [account],
        "permissions": actions,
    }
    admin.put(definition, {"properties": properties}, COSMOS_VERSION)
    for place in role["assign_at"]:
        assignment = {
            "roleDefinitionId": definition,
            "principalId": principal,
            "scope": f"{account}{place}",
        }
        ref = f"{account}/sqlRoleAssignments/{uuid4()}"
        admin.put(ref, {"properties": assignment}, COSMOS_VERSION)


# "Microsoft Graph permissions reference": the application id of Microsoft Graph.
GRAPH_APP = "00000003-0000-0000-c000-000000000000"
