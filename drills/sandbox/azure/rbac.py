"""Decide whether a principal may do something at a scope.

Source: "How Azure RBAC determines if a user has access to a resource": deny assignments first, then the role
assignments of the scope and everything above it; what a role takes away it merely does not give. Conditions
of assignments are kept and shown but not evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from drills.sandbox.azure import ids
from drills.sandbox.azure.call import JsonObject, Principal
from drills.sandbox.azure.directory import directory
from drills.sandbox.azure.errors import ArmError
from drills.sandbox.azure.roles import BUILT_IN, Permissions
from drills.sandbox.azure.state import on_reset
from drills.sandbox.azure.tenancy import tenancy
from drills.sandbox.azure.timeline import Timeline

# "Deny assignments": the principal that stands for everyone.
EVERYONE = "00000000-0000-0000-0000-000000000000"
# Whoever prepares the sandbox: above roles and deny assignments, unlike anyone in a real cloud.
administrators: set[str] = set()
on_reset(administrators.clear)


@dataclass(frozen=True)
class Assignment:
    """A role assignment or deny assignment at a scope; `properties` are those the API shows."""

    id: str
    scope: str
    tenant_id: str
    properties: JsonObject

    @property
    def name(self) -> str:
        """The GUID that names it."""
        return ids.name_of(self.id)


role_assignments: Timeline[Assignment] = Timeline()
deny_assignments: Timeline[Assignment] = Timeline()
custom_roles: dict[str, JsonObject] = {}
on_reset(custom_roles.clear)
_BUILT_IN = {role.id: role.permissions for role in BUILT_IN}


@lru_cache(8192)
def _pattern(wanted: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in wanted.split("*")), re.IGNORECASE | re.DOTALL)


def matches(action: str, patterns: tuple[str, ...]) -> bool:
    """Tell whether an action is meant by one of these names with wildcards."""
    return any(_pattern(pattern).fullmatch(action) for pattern in patterns)


def permits(permissions: Permissions, action: str, *, data: bool) -> bool:
    """Tell whether these permissions include an action."""
    if data:
        return matches(action, permissions.data_actions) and not matches(action, permissions.not_data_actions)
    return matches(action, permissions.actions) and not matches(action, permissions.not_actions)


def permissions_of(role_definition_id: str) -> list[Permissions]:
    """Return what a role definition allows."""
    role = ids.name_of(role_definition_id).lower()
    if role in _BUILT_IN:
        return [_BUILT_IN[role]]
    custom = custom_roles.get(role, {})
    return [Permissions.of(one) for one in custom.get("permissions", ())]


def allowed(principal_id: str, action: str, scope: str, *, data: bool = False) -> bool:
    """Tell whether a principal may do this at a scope, by what is in effect now."""
    if principal_id in administrators:
        return True
    selves = {principal_id, *directory.groups_of(principal_id, effective=True)}
    scopes = list(tenancy.ancestors(scope))
    if not data and _denied(selves, action, scopes):
        return False
    return any(permits(one, action, data=data) for one in _granted(selves, scopes))


def granted(principal_id: str, scope: str) -> list[Permissions]:
    """Return the permissions that roles give a principal at a scope."""
    if principal_id in administrators:
        return [Permissions(("*",))]
    selves = {principal_id, *directory.groups_of(principal_id, effective=True)}
    return list(_granted(selves, list(tenancy.ancestors(scope))))


def _granted(selves: set[str], scopes: list[str]) -> Iterator[Permissions]:
    for assignment in role_assignments.effective():
        properties = assignment.properties
        if properties["principalId"] in selves and assignment.scope in scopes:
            yield from permissions_of(properties["roleDefinitionId"])


def _denied(selves: set[str], action: str, scopes: list[str]) -> bool:
    return any(
        _applies(one, selves, scopes) and _denies(one.properties, action)
        for one in deny_assignments.effective()
    )


def _applies(assignment: Assignment, selves: set[str], scopes: list[str]) -> bool:
    properties = assignment.properties
    reached = scopes[:1] if properties.get("doNotApplyToChildScopes") else scopes
    meant = {one["id"] for one in properties["principals"]}
    spared = {one["id"] for one in properties.get("excludePrincipals") or ()}
    enforced = properties.get("denyAssignmentEffect", "enforced").lower() == "enforced"
    return (
        enforced and assignment.scope in reached and bool(meant & {*selves, EVERYONE}) and not spared & selves
    )


def _denies(properties: JsonObject, action: str) -> bool:
    if action.lower().endswith("/read"):
        return False
    return any(permits(Permissions.of(one), action, data=False) for one in properties["permissions"])


def check(principal: Principal, action: str, scope: str, *, data: bool = False) -> None:
    """Refuse the call with 403 unless its principal may do this."""
    if allowed(principal.object_id, action, scope, data=data):
        return
    message = (
        f"The client '{principal.app_id}' with object id '{principal.object_id}' does not have authorization "
        f"to perform action '{action}' over scope '{scope}' or the scope is invalid. If access was recently "
        "granted, please refresh your credentials."
    )
    raise ArmError(403, "AuthorizationFailed", message)
