"""Role definitions: the built-in ones, and the custom ones of a tenant.

Source: Azure REST API, Authorization: Role Definitions (2022-04-01); "Azure custom roles".
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from drills.sandbox.azure import clock, ids, paging
from drills.sandbox.azure.authorization import role_definition_id
from drills.sandbox.azure.call import Answer, Call, JsonObject
from drills.sandbox.azure.errors import ArmError
from drills.sandbox.azure.rbac import custom_roles, role_assignments
from drills.sandbox.azure.roles import BUILT_IN, BuiltInRole, Permissions
from drills.sandbox.azure.table import operation
from drills.sandbox.azure.tenancy import tenancy

_VERSIONS = ("2022-04-01", "2018-01-01-preview")
_SOURCE = "Authorization REST: Role Definitions"
_TYPE = "Microsoft.Authorization/roleDefinitions"
_ONE = f"{{scope}}/providers/{_TYPE}/{{name}}"
_NAMED = re.compile(r"roleName\s+eq\s+'([^']+)'", re.IGNORECASE)
_KIND = re.compile(r"type\s+eq\s+'(\w+)'", re.IGNORECASE)


@operation("arm", "PUT", _ONE, versions=_VERSIONS, action=f"{_TYPE}/write", source=_SOURCE)
def put_role(call: Call) -> Answer:
    """Create or change a custom role."""
    name = call.params["name"].lower()
    if any(role.id == name for role in BUILT_IN):
        raise ArmError(403, "RoleDefinitionIsBuiltIn", "Built-in roles cannot be changed.")
    given = call.body.get("properties") or call.body
    _check(call, given, name)
    role = {
        "roleName": given["roleName"],
        "type": "CustomRole",
        "description": given.get("description", ""),
        "assignableScopes": list(given["assignableScopes"]),
        "permissions": [Permissions.of(one).document() for one in given["permissions"]],
        "updatedOn": clock.stamp(),
    }
    role["createdOn"] = custom_roles.get(name, role).get("createdOn", role["updatedOn"])
    custom_roles[name] = role
    return Answer(201, _shown(call, name, role))


def _check(call: Call, given: JsonObject, name: str) -> None:
    if not given.get("roleName") or not given.get("permissions") or not given.get("assignableScopes"):
        message = "A role definition needs roleName, permissions and assignableScopes."
        raise ArmError(400, "InvalidRoleDefinition", message)
    twins = [
        key for key, role in custom_roles.items() if role["roleName"] == given["roleName"] and key != name
    ]
    if twins:
        message = f"A custom role with the name '{given['roleName']}' already exists in this directory."
        raise ArmError(409, "RoleDefinitionWithSameNameExists", message)
    # "Azure custom roles": writing one needs the permission at every scope it can be assigned at
    for scope in given["assignableScopes"]:
        call.require(f"{_TYPE}/write", str(scope))


@operation("arm", "GET", _ONE, versions=_VERSIONS, action=f"{_TYPE}/read", source=_SOURCE)
def get_role(call: Call) -> JsonObject:
    """Show a role."""
    name = call.params["name"].lower()
    built_in = next((role for role in BUILT_IN if role.id == name), None)
    if built_in is not None:
        return _shown(call, name, _built_in(built_in))
    if name not in custom_roles:
        message = f"The specified role definition with ID '{name}' does not exist."
        raise ArmError(404, "RoleDefinitionDoesNotExist", message)
    return _shown(call, name, custom_roles[name])


@operation("arm", "DELETE", _ONE, versions=_VERSIONS, action=f"{_TYPE}/delete", source=_SOURCE)
def delete_role(call: Call) -> Answer:
    """Remove a custom role that nobody has."""
    name = call.params["name"].lower()
    if any(
        ids.name_of(one.properties["roleDefinitionId"]).lower() == name for one in role_assignments.values()
    ):
        message = "There are existing role assignments referencing role (code: RoleDefinitionHasAssignments)."
        raise ArmError(400, "RoleDefinitionHasAssignments", message)
    role = custom_roles.pop(name, None)
    return Answer(204) if role is None else Answer(200, _shown(call, name, role))


@operation(
    "arm", "GET", f"{{scope}}/providers/{_TYPE}", versions=_VERSIONS, action=f"{_TYPE}/read", source=_SOURCE
)
def list_roles(call: Call) -> JsonObject:
    """List the roles that can be assigned at a scope."""
    query = call.query.get("$filter", "")
    named, kind = _NAMED.search(query), _KIND.search(query)
    found = (
        (name, role)
        for name, role in _roles(call.params["scope"] or ids.ROOT)
        if (not named or role["roleName"] == named[1])
        and (not kind or role["type"].lower() == kind[1].lower())
    )
    return paging.page(call, (_shown(call, name, role) for name, role in found))


def _roles(scope: str) -> Iterator[tuple[str, JsonObject]]:
    yield from ((role.id, _built_in(role)) for role in BUILT_IN)
    above = set(tenancy.ancestors(scope))
    for name, role in custom_roles.items():
        if any(ids.key(one) in above or ids.within(one, scope) for one in role["assignableScopes"]):
            yield name, role


def _built_in(role: BuiltInRole) -> JsonObject:
    permissions = [role.permissions.document()]
    return {
        "roleName": role.name,
        "type": "BuiltInRole",
        "description": role.name,
        "assignableScopes": [ids.ROOT],
        "permissions": permissions,
    }


def _shown(call: Call, name: str, role: JsonObject) -> JsonObject:
    full = role_definition_id(ids.subscription_of(call.path), name)
    return {"id": full, "name": name, "type": _TYPE, "properties": role}
