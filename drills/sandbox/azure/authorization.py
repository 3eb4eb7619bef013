"""Role assignments: who has which role where.

Sources: Azure REST API, Authorization: Role Assignments (2022-04-01); "Troubleshoot Azure RBAC"; "List Azure
role assignments using the REST API" (filters). An assignment is readable at once and in effect later.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from drills.sandbox.azure import clock, ids, paging
from drills.sandbox.azure.call import Answer, Call, JsonObject
from drills.sandbox.azure.directory import directory
from drills.sandbox.azure.errors import ArmError
from drills.sandbox.azure.rbac import Assignment, custom_roles, role_assignments
from drills.sandbox.azure.roles import BUILT_IN, ROLE_IDS
from drills.sandbox.azure.table import operation
from drills.sandbox.azure.tenancy import tenancy

_VERSIONS = ("2022-04-01", "2020-04-01-preview", "2020-10-01-preview")
_SOURCE = "Authorization REST: Role Assignments"
_TYPE = "Microsoft.Authorization/roleAssignments"
_ONE = f"{{scope}}/providers/{_TYPE}/{{name}}"
_PRINCIPAL = re.compile(r"principalId\s+eq\s+'([^']+)'", re.IGNORECASE)
_ASSIGNED = re.compile(r"assignedTo\('([^']+)'\)", re.IGNORECASE)
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_IMMUTABLE = ("principalId", "roleDefinitionId", "scope")
_OPTIONAL = ("condition", "conditionVersion", "description", "delegatedManagedIdentityResourceId")
_TYPES = {"servicePrincipals": "ServicePrincipal", "groups": "Group", "users": "User"}
_OWNER = ROLE_IDS["Owner"]
_BUILT_IN = {role.id for role in BUILT_IN}


def role_definition_id(subscription: str | None, role: str) -> str:
    """Return the id of a role definition as it is shown in a subscription."""
    above = f"/subscriptions/{subscription}" if subscription else ""
    return f"{above}/providers/Microsoft.Authorization/roleDefinitions/{role}"


def add_assignment(scope: str, name: str, properties: JsonObject, tenant: str) -> Assignment:
    """Keep an assignment."""
    above = "" if scope == ids.ROOT else "/" + scope.strip("/")
    created = {"createdOn": clock.stamp(), "updatedOn": clock.stamp()}
    shown = {**properties, **created, "scope": above or ids.ROOT}
    assignment = Assignment(f"{above}/providers/{_TYPE}/{name}", ids.key(scope), tenant, shown)
    role_assignments.set(name.lower(), assignment)
    return assignment


@operation("arm", "PUT", _ONE, versions=_VERSIONS, action=f"{_TYPE}/write", source=_SOURCE)
def put_assignment(call: Call) -> Answer:
    """Assign a role; the same name and content again is accepted and changes nothing."""
    scope, name = call.params["scope"] or ids.ROOT, call.params["name"]
    if not _GUID.fullmatch(name):
        raise ArmError(
            400,
            "InvalidRoleAssignmentId",
            f"The role assignment ID '{name}' is not valid. It must be a GUID.",
        )
    properties = _wanted(call, scope)
    known = role_assignments.get(name.lower())
    if known is not None:
        return Answer(200, shown(_updated(known, scope, properties)))
    _refuse_twin(scope, properties)
    properties["createdBy"] = properties["updatedBy"] = call.caller.object_id
    return Answer(201, shown(add_assignment(scope, name, properties, call.caller.tenant_id)))


def _wanted(call: Call, scope: str) -> JsonObject:
    given = call.body.get("properties") or call.body
    principal, role = str(given.get("principalId", "")), str(given.get("roleDefinitionId", ""))
    if not principal or not role:
        message = "The request to create a role assignment must name principalId and roleDefinitionId."
        raise ArmError(400, "BadRequestFormat", message)
    _need_role(role, scope)
    kind = _principal_type(principal, given.get("principalType"), call.caller.tenant_id)
    chosen = {name: given[name] for name in _OPTIONAL if given.get(name) is not None}
    return {"roleDefinitionId": role, "principalId": principal, "principalType": kind, **chosen}


def _need_role(role: str, scope: str) -> None:
    name = ids.name_of(role).lower()
    custom = custom_roles.get(name)
    if custom is None and name not in _BUILT_IN:
        message = f"The specified role definition with ID '{name}' does not exist."
        raise ArmError(400, "RoleDefinitionDoesNotExist", message)
    if custom is not None and not any(
        ids.key(one) in tenancy.ancestors(scope) for one in custom["assignableScopes"]
    ):
        message = (
            f"The scope '{scope}' is not authorized to be used in the role assignment for the role '{name}'."
        )
        raise ArmError(400, "RoleAssignmentScopeNotAssignableToRoleDefinition", message)


def _principal_type(principal: str, claimed: str | None, tenant: str) -> str:
    found = directory.get(principal)
    if found is None or found.tenant_id != tenant:
        # "Troubleshoot Azure RBAC": this type skips the look-up of a principal that is not replicated yet
        if claimed == "ServicePrincipal":
            return claimed
        message = f"Principal {principal.replace('-', '')} does not exist in the directory {tenant}."
        raise ArmError(400, "PrincipalNotFound", message)
    kind = _TYPES.get(found.kind, "ServicePrincipal")
    if claimed and claimed != kind:
        message = (
            f"The PrincipalId '{principal}' has type '{kind}', which is different from specified '{claimed}'."
        )
        raise ArmError(400, "UnmatchedPrincipalType", message)
    return kind


def _updated(known: Assignment, scope: str, properties: JsonObject) -> Assignment:
    wanted = {**properties, "scope": scope}
    if any(ids.key(str(known.properties[name])) != ids.key(str(wanted[name])) for name in _IMMUTABLE):
        message = "Tenant ID, application ID, principal ID, and scope are not allowed to be updated."
        raise ArmError(400, "RoleAssignmentUpdateNotPermitted", message)
    kept = {name: value for name, value in known.properties.items() if name not in _OPTIONAL}
    changed = {name: properties[name] for name in _OPTIONAL if name in properties}
    if {**kept, **changed} == known.properties:
        return known
    updated = {**kept, **changed, "updatedOn": clock.stamp()}
    assignment = Assignment(known.id, known.scope, known.tenant_id, updated)
    role_assignments.set(known.name.lower(), assignment)
    return assignment


def _refuse_twin(scope: str, properties: JsonObject) -> None:
    wanted = _meaning(ids.key(scope), properties)
    twin = next(
        (one for one in role_assignments.values() if _meaning(one.scope, one.properties) == wanted), None
    )
    if twin is not None:
        plain = twin.name.replace("-", "")
        message = f"The role assignment already exists. The ID of the existing role assignment is {plain}."
        raise ArmError(409, "RoleAssignmentExists", message)


def _meaning(scope: str, properties: JsonObject) -> tuple[str, str, str]:
    return scope, str(properties["principalId"]), ids.name_of(properties["roleDefinitionId"]).lower()


@operation("arm", "GET", _ONE, versions=_VERSIONS, action=f"{_TYPE}/read", source=_SOURCE)
def get_assignment(call: Call) -> JsonObject:
    """Show an assignment."""
    found = _find(call)
    if found is None:
        message = f"The role assignment '{call.params['name']}' is not found."
        raise ArmError(404, "RoleAssignmentNotFound", message)
    return shown(found)


@operation("arm", "DELETE", _ONE, versions=_VERSIONS, action=f"{_TYPE}/delete", source=_SOURCE)
def delete_assignment(call: Call) -> Answer:
    """Take a role away; 204 when it is not there, and never the subscription's last owner."""
    found = _find(call)
    if found is None:
        return Answer(204)
    _keep_last_owner(found)
    role_assignments.delete(found.name.lower())
    return Answer(200, shown(found))


def _find(call: Call) -> Assignment | None:
    found = role_assignments.get(call.params["name"].lower())
    return found if found and found.scope == ids.key(call.params["scope"] or ids.ROOT) else None


def _keep_last_owner(assignment: Assignment) -> None:
    """Source: "Troubleshoot Azure RBAC", "Unable to delete the last Owner role assignment"."""
    if not _owns(assignment, assignment.scope) or not assignment.scope.startswith("/subscriptions/"):
        return
    if not any(one is not assignment and _owns(one, assignment.scope) for one in role_assignments.values()):
        message = "Cannot delete the last RBAC admin assignment."
        raise ArmError(400, "LastRbacAdminAssignmentCannotBeDeleted", message)


def _owns(assignment: Assignment, scope: str) -> bool:
    subscription = scope.count("/") == "/subscriptions/{id}".count("/")
    role = ids.name_of(assignment.properties["roleDefinitionId"]).lower()
    return subscription and role == _OWNER and assignment.scope == scope


@operation(
    "arm",
    "GET",
    f"{{scope}}/providers/{_TYPE}",
    versions=_VERSIONS,
    action=f"{_TYPE}/read",
    source=_SOURCE,
)
def list_assignments(call: Call) -> JsonObject:
    """List the assignments at, above and below a scope, as far as the filter lets through."""
    scope = call.params["scope"] or ids.ROOT
    return paging.page(
        call, (shown(one) for one in selected(scope, call.query.get("$filter", ""), call.caller.tenant_id))
    )


def selected(scope: str, query: str, tenant: str) -> Iterator[Assignment]:
    """Yield the assignments of a tenant that touch a scope and pass an OData filter."""
    above = set(tenancy.ancestors(scope))
    principals = _principals(query)
    at_scope = "atscope()" in query.lower()
    for one in role_assignments.values():
        reached = one.scope in above or (not at_scope and _below(one.scope, scope))
        wanted = principals is None or one.properties["principalId"] in principals
        if reached and wanted and one.tenant_id == tenant:
            yield one


def _below(inner: str, outer: str) -> bool:
    return ids.within(inner, outer) or ids.key(outer) in tenancy.ancestors(inner)


def _principals(query: str) -> set[str] | None:
    """Return whom a filter means: `principalId eq` the principal alone, `assignedTo()` its groups too."""
    alone, assigned = _PRINCIPAL.search(query), _ASSIGNED.search(query)
    if alone:
        return {alone[1].lower()}
    if assigned:
        return {assigned[1].lower(), *directory.groups_of(assigned[1].lower())}
    left = re.sub(r"atScope\(\)", "", query, flags=re.IGNORECASE).strip()
    if left:
        message = f"The filter '{query}' is not supported."
        raise ArmError(400, "UnsupportedFilter", message)
    return None


def shown(assignment: Assignment) -> dict[str, Any]:
    """Return the document the API shows."""
    empty = dict.fromkeys(_OPTIONAL)
    properties = {**empty, **assignment.properties}
    return {"id": assignment.id, "name": assignment.name, "type": _TYPE, "properties": properties}
