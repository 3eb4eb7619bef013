"""Microsoft Graph: what applications may do in other applications, by app roles and by delegation.

Source: Microsoft Graph REST API v1.0, "appRoleAssignment" and "oAuth2PermissionGrant".
"""

from __future__ import annotations

from drills.sandbox.azure import entra, paging
from drills.sandbox.azure.call import Answer, Call, JsonObject
from drills.sandbox.azure.directory import directory, graph_principal
from drills.sandbox.azure.errors import ArmError
from drills.sandbox.azure.graph import missing, need
from drills.sandbox.azure.graphroles import APP_ROLES
from drills.sandbox.azure.table import operation

_SOURCE = "Microsoft Graph REST API v1.0, appRoleAssignment and oAuth2PermissionGrant"
_READ = (
    "Application.Read.All",
    "Application.ReadWrite.All",
    "Directory.Read.All",
    "Directory.ReadWrite.All",
    "AppRoleAssignment.ReadWrite.All",
)
_WRITE = ("AppRoleAssignment.ReadWrite.All",)
_GRANTS_READ = ("Directory.Read.All", "Directory.ReadWrite.All", "DelegatedPermissionGrant.ReadWrite.All")
_GRANTS_WRITE = ("DelegatedPermissionGrant.ReadWrite.All", "Directory.ReadWrite.All")
_ROLES = "/v1.0/servicePrincipals/{id}/appRoleAssignments"
_GRANTS = "/v1.0/oauth2PermissionGrants"


@operation("graph", "GET", _ROLES, graph=_READ, source=_SOURCE)
def list_roles(call: Call) -> JsonObject:
    """List the app roles a service principal has."""
    holder = need(call, "servicePrincipals")
    held = (one.document for one in directory.list(holder.tenant_id, "appRoleAssignments"))
    return paging.page(call, (one for one in held if one["principalId"] == holder.id))


@operation("graph", "POST", _ROLES, graph=_WRITE, source=_SOURCE)
def add_role(call: Call) -> Answer:
    """Give a service principal an application permission of Microsoft Graph."""
    holder, role = need(call, "servicePrincipals"), str(call.body.get("appRoleId", ""))
    graph = graph_principal(holder.tenant_id)
    if call.body.get("resourceId") != graph.id or role not in APP_ROLES.values():
        raise ArmError(400, "Request_BadRequest", "Permission being assigned was not found on application.")
    held = (one.document for one in directory.list(holder.tenant_id, "appRoleAssignments"))
    if any((one["principalId"], one["appRoleId"]) == (holder.id, role) for one in held):
        message = "Permission being assigned already exists on the object."
        raise ArmError(400, "Request_BadRequest", message)
    return Answer(201, entra.grant_graph_role(holder, role).document)


@operation("graph", "DELETE", f"{_ROLES}/{{assignment}}", graph=_WRITE, source=_SOURCE)
def delete_role(call: Call) -> None:
    """Take an app role away; tokens issued before keep it."""
    holder = need(call, "servicePrincipals")
    found = directory.get(call.params["assignment"], "appRoleAssignments")
    if found is None or found.document["principalId"] != holder.id:
        raise missing(call.params["assignment"])
    directory.delete(found.id)


@operation(
    "graph",
    "GET",
    "/v1.0/servicePrincipals/{id}/oauth2PermissionGrants",
    graph=_GRANTS_READ,
    source=_SOURCE,
)
def list_grants_of(call: Call) -> JsonObject:
    """List the delegated permissions granted to a service principal."""
    holder = need(call, "servicePrincipals")
    everything = (one.document for one in directory.list(holder.tenant_id, "oauth2PermissionGrants"))
    return paging.page(call, (one for one in everything if one["clientId"] == holder.id))


@operation("graph", "POST", _GRANTS, graph=_GRANTS_WRITE, source=_SOURCE)
def add_grant(call: Call) -> Answer:
    """Grant a delegated permission."""
    for name in ("clientId", "consentType", "resourceId", "scope"):
        if not call.body.get(name):
            raise ArmError(400, "Request_BadRequest", f"Property '{name}' is required.")
    names = ("clientId", "consentType", "principalId", "resourceId", "scope")
    document = {name: call.body.get(name) for name in names}
    return Answer(201, directory.add("oauth2PermissionGrants", call.caller.tenant_id, document).document)


@operation("graph", "GET", f"{_GRANTS}/{{id}}", graph=_GRANTS_READ, source=_SOURCE)
def get_grant(call: Call) -> JsonObject:
    """Show a delegated permission."""
    return need(call, "oauth2PermissionGrants").document


@operation("graph", "DELETE", f"{_GRANTS}/{{id}}", graph=_GRANTS_WRITE, source=_SOURCE)
def delete_grant(call: Call) -> None:
    """Revoke a delegated permission."""
    directory.delete(need(call, "oauth2PermissionGrants").id)
