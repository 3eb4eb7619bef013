"""Give Firebreak's own applications exactly the roles that its permissions generator printed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

from drills.sandbox.azure.sample.admin import AUTHORIZATION_VERSION, Admin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drills.sandbox.azure.client import AzureSandbox
    from drills.sandbox.azure.sample.seeding import Sample

Json = dict[str, Any]
ASSIGNMENTS = "Microsoft.Authorization/roleAssignments"
DEFINITIONS = "Microsoft.Authorization/roleDefinitions"


def attach_responder_roles(sandbox: AzureSandbox, document: Mapping[str, Any], sample: Sample) -> None:
    """Leave the responder with the roles and Graph permissions of this document and nothing else."""
    admin = Admin(sandbox, sample.workload_account)
    replace_roles(admin, sample.responder.object_id, document)
    replace_graph_permissions(admin, sample.responder.object_id, tuple(document.get("graph", ())))
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


# "Microsoft Graph permissions reference": the application id of Microsoft Graph.
GRAPH_APP = "00000003-0000-0000-c000-000000000000"
