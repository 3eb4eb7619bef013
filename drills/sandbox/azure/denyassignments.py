"""Deny assignments, which users may create since the preview of 2024-07-01.

Sources: "Understand Azure deny assignments"; New-AzDenyAssignment: only write, delete and action operations
can be denied, data actions and groups are not supported, and denying everyone needs somebody who is excluded.
"""

from __future__ import annotations

from drills.sandbox.azure import ids, paging
from drills.sandbox.azure.call import Answer, Call, JsonObject
from drills.sandbox.azure.directory import directory
from drills.sandbox.azure.errors import ArmError
from drills.sandbox.azure.rbac import EVERYONE, Assignment, deny_assignments
from drills.sandbox.azure.table import operation
from drills.sandbox.azure.tenancy import tenancy

_WRITES = ("2024-07-01-preview",)
_READS = ("2022-04-01", *_WRITES)
_SOURCE = "Understand Azure deny assignments"
_TYPE = "Microsoft.Authorization/denyAssignments"
_ONE = f"{{scope}}/providers/{_TYPE}/{{name}}"
_DENIABLE = ("/write", "/delete", "/action", "/*")


@operation("arm", "PUT", _ONE, versions=_WRITES, action=f"{_TYPE}/write", source=_SOURCE)
def put_denial(call: Call) -> Answer:
    """Deny actions to principals at a scope."""
    scope, name = call.params["scope"] or ids.ROOT, call.params["name"]
    given = call.body.get("properties") or {}
    _check(given)
    known = deny_assignments.get(name.lower())
    properties = {
        "denyAssignmentName": given.get("denyAssignmentName", ""),
        "description": given.get("description", ""),
        "permissions": given["permissions"],
        "scope": scope,
        "doNotApplyToChildScopes": bool(given.get("doNotApplyToChildScopes")),
        "principals": given["principals"],
        "excludePrincipals": given.get("excludePrincipals") or [],
        "isSystemProtected": False,
        "denyAssignmentEffect": given.get("denyAssignmentEffect", "enforced"),
    }
    path = f"{scope.rstrip('/')}/providers/{_TYPE}/{name}"
    made = Assignment(path, ids.key(scope), call.caller.tenant_id, properties)
    deny_assignments.set(name.lower(), made)
    return Answer(201 if known is None else 200, _shown(made))


def _check(given: JsonObject) -> None:
    permissions, principals = given.get("permissions") or [], given.get("principals") or []
    if not permissions or not principals:
        raise _invalid("permissions and principals must not be empty.")
    for one in permissions:
        _check_permissions(one)
    everyone = any(one.get("id") == EVERYONE for one in principals)
    if everyone and not given.get("excludePrincipals"):
        raise _invalid("a deny assignment for everyone must exclude at least one principal.")
    if not everyone and any(_is_group(one) for one in principals):
        raise _invalid("groups are not supported as principals.")


def _check_permissions(permissions: JsonObject) -> None:
    if permissions.get("dataActions") or permissions.get("notDataActions"):
        raise _invalid("dataActions are not supported.")
    for action in permissions.get("actions") or ():
        if not str(action).lower().endswith(_DENIABLE):
            raise _invalid(f"action '{action}' is not supported: only write, delete and action operations.")


def _is_group(principal: JsonObject) -> bool:
    found = directory.get(str(principal.get("id", "")))
    return principal.get("type") == "Group" or (found is not None and found.kind == "groups")


def _invalid(message: str) -> ArmError:
    return ArmError(400, "InvalidDenyAssignment", f"The deny assignment is not valid: {message}")


@operation("arm", "GET", _ONE, versions=_READS, action=f"{_TYPE}/read", source=_SOURCE)
def get_denial(call: Call) -> JsonObject:
    """Show a deny assignment."""
    found = _find(call)
    if found is None:
        message = f"The deny assignment '{call.params['name']}' is not found."
        raise ArmError(404, "DenyAssignmentNotFound", message)
    return _shown(found)


@operation("arm", "DELETE", _ONE, versions=_WRITES, action=f"{_TYPE}/delete", source=_SOURCE)
def delete_denial(call: Call) -> Answer:
    """Remove a deny assignment; 204 when there is none."""
    found = _find(call)
    if found is None:
        return Answer(204)
    deny_assignments.delete(found.name.lower())
    return Answer(200, _shown(found))


def _find(call: Call) -> Assignment | None:
    found = deny_assignments.get(call.params["name"].lower())
    return found if found and found.scope == ids.key(call.params["scope"] or ids.ROOT) else None


@operation(
    "arm", "GET", f"{{scope}}/providers/{_TYPE}", versions=_READS, action=f"{_TYPE}/read", source=_SOURCE
)
def list_denials(call: Call) -> JsonObject:
    """List the deny assignments at, above and below a scope."""
    scope = call.params["scope"] or ids.ROOT
    above = set(tenancy.ancestors(scope))
    found = [one for one in deny_assignments.values() if one.scope in above or ids.within(one.scope, scope)]
    return paging.page(call, (_shown(one) for one in found if one.tenant_id == call.caller.tenant_id))


def _shown(assignment: Assignment) -> JsonObject:
    return {
        "id": assignment.id,
        "name": assignment.name,
        "type": _TYPE,
        "properties": assignment.properties,
    }
