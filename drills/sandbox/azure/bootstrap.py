"""Prepare tenants before any caller has rights in them: administrators, principals, groups and grants."""

from __future__ import annotations

import uuid
from typing import Any

from drills.sandbox.azure import entra, ids, tokens
from drills.sandbox.azure.authorization import add_assignment, role_definition_id
from drills.sandbox.azure.control import ControlError, ControlRequest, route
from drills.sandbox.azure.directory import DirectoryObject, directory
from drills.sandbox.azure.graphroles import APP_ROLES
from drills.sandbox.azure.rbac import administrators
from drills.sandbox.azure.roles import ROLE_IDS
from drills.sandbox.azure.tenancy import HOME_TENANT, tenancy

ADMINISTRATOR = "sandbox-administrator"
_TOKEN_SECONDS = 86400.0


def _tenant(request: ControlRequest) -> str:
    tenant = tenancy.tenant_named(request.text("tenant", HOME_TENANT))
    if tenant is None:
        raise ControlError("no such tenant", 404)
    return tenant.id


def _need(object_id: str) -> DirectoryObject:
    found = directory.get(object_id)
    if found is None:
        raise ControlError(f"no such object: {object_id}", 404)
    return found


@route("POST", "/admin-token")
def admin_token(request: ControlRequest) -> dict[str, Any]:
    """Return a token of the administrator of `tenant`, or of the tenant that `scope` is in."""
    tenant = tenancy.tenant_of(request.text("scope", "/")) or _tenant(request)
    admin = next(
        (one for one in directory.list(tenant, "servicePrincipals") if one.id in administrators), None
    )
    if admin is None:
        _, admin = directory.add_application(tenant, ADMINISTRATOR)
        administrators.add(admin.id)
    audience = request.text("audience", "https://management.azure.com")
    token = tokens.issue(admin, audience, _TOKEN_SECONDS, roles=tuple(APP_ROLES))
    return {"access_token": token, "object_id": admin.id, "tenant": tenant}


@route("POST", "/principals")
def create_principal(request: ControlRequest) -> dict[str, Any]:
    """Register an application with a service principal, a secret and permissions of Graph (`graph`)."""
    application, principal = directory.add_application(_tenant(request), request.text("name"))
    secret = directory.add_secret(application, "sandbox")
    for permission in request.body.get("graph", ()):
        if permission not in APP_ROLES:
            raise ControlError(f"unknown permission of Graph: {permission}")
        entra.grant_graph_role(principal, APP_ROLES[permission])
    return {
        "tenant": principal.tenant_id,
        "object_id": principal.id,
        "application_object_id": application.id,
        "client_id": principal.app_id,
        "client_secret": secret["secretText"],
    }


@route("POST", "/groups")
def create_group(request: ControlRequest) -> dict[str, Any]:
    """Create a security group with members."""
    document = {"displayName": request.text("name"), "securityEnabled": True, "mailEnabled": False}
    group = directory.add("groups", _tenant(request), document)
    for member in request.body.get("members", ()):
        directory.join(group.id, _need(member).id)
    return {"object_id": group.id}


@route("POST", "/users")
def create_user(request: ControlRequest) -> dict[str, Any]:
    """Create a user."""
    tenant = _tenant(request)
    name = request.text("name")
    domain = tenancy.tenants[tenant].domain
    document = {"displayName": name, "userPrincipalName": f"{name}@{domain}", "accountEnabled": True}
    return {"object_id": directory.add("users", tenant, document).id}


@route("POST", "/grants")
def grant(request: ControlRequest) -> dict[str, Any]:
    """Assign a role (name, GUID or id) to a principal at a scope."""
    principal, scope = _need(request.text("principal")), request.text("scope")
    role = request.text("role")
    definition = role_definition_id(ids.subscription_of(scope), ROLE_IDS.get(role, ids.name_of(role)))
    properties = {
        "roleDefinitionId": definition,
        "principalId": principal.id,
        "principalType": _TYPES[principal.kind],
    }
    assignment = add_assignment(scope, str(uuid.uuid4()), properties, principal.tenant_id)
    return {"id": assignment.id}


_TYPES = {"servicePrincipals": "ServicePrincipal", "groups": "Group", "users": "User"}


@route("POST", "/tokens")
def mint(request: ControlRequest) -> dict[str, Any]:
    """Return a token as a principal would have got it, without its proof of identity."""
    principal = _need(request.text("principal"))
    audience = request.text("audience", "https://management.azure.com")
    lifetime = float(request.body.get("lifetime_seconds", 3599))
    token = tokens.issue(principal, audience, lifetime, roles=entra.roles_for(principal, audience))
    return {"access_token": token}
