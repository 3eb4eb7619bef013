"""Active assignments of Privileged Identity Management, with or without an end.

Source: "Manage active access assignments via the ARM API" (2020-10-01): a request AdminAssign makes an
assignment that the role assignments list too, and AdminRemove ends it; permanent ones are instances as well.
"""

from __future__ import annotations

import re
import uuid
from datetime import datetime, timedelta

from drills.sandbox.azure import clock, ids, paging
from drills.sandbox.azure.authorization import add_assignment, selected
from drills.sandbox.azure.call import Answer, Call, JsonObject
from drills.sandbox.azure.errors import ArmError
from drills.sandbox.azure.rbac import Assignment, role_assignments
from drills.sandbox.azure.state import on_reset
from drills.sandbox.azure.table import operation

_VERSIONS = ("2020-10-01", "2020-10-01-preview", "2022-04-01-preview")
_SOURCE = "Authorization REST: Role Assignment Schedule Requests and Instances"
_REQUESTS = "Microsoft.Authorization/roleAssignmentScheduleRequests"
_INSTANCES = "Microsoft.Authorization/roleAssignmentScheduleInstances"
_ASSIGN = "Microsoft.Authorization/roleAssignments"
_HOURS = re.compile(r"PT?(?:(\d+)D)?T?(?:(\d+)H)?(?:(\d+)M)?$")
_ends: dict[str, str] = {}
on_reset(_ends.clear)


@operation(
    "arm",
    "PUT",
    f"{{scope}}/providers/{_REQUESTS}/{{name}}",
    versions=_VERSIONS,
    action=f"{_ASSIGN}/write",
    source=_SOURCE,
)
def put_request(call: Call) -> Answer:
    """Assign a role for a time, or end an active assignment."""
    given = call.body.get("properties") or {}
    kind = str(given.get("requestType", ""))
    scope = call.params["scope"] or ids.ROOT
    if kind == "AdminAssign":
        status, assignment = "Provisioned", _assign(call, scope, given)
    elif kind == "AdminRemove":
        status, assignment = "Revoked", _remove(call, scope, given)
    else:
        raise ArmError(400, "InvalidRequestType", f"The request type '{kind}' is not supported.")
    properties = {
        **given,
        "scope": scope,
        "status": status,
        "targetRoleAssignmentScheduleId": _schedule(scope, assignment),
        "createdOn": clock.stamp(),
    }
    shown = {"id": call.path, "name": call.params["name"], "type": _REQUESTS, "properties": properties}
    return Answer(201, shown)


def _assign(call: Call, scope: str, given: JsonObject) -> Assignment:
    if _matching(scope, given) is not None:
        raise ArmError(400, "RoleAssignmentExists", "The Role assignment already exists.")
    properties = {
        "roleDefinitionId": given["roleDefinitionId"],
        "principalId": given["principalId"],
        "principalType": given.get("principalType", "ServicePrincipal"),
        **{name: given[name] for name in ("condition", "conditionVersion") if given.get(name)},
    }
    made = add_assignment(scope, str(uuid.uuid4()), properties, call.caller.tenant_id)
    end = _end((given.get("scheduleInfo") or {}).get("expiration") or {})
    if end:
        _ends[made.name.lower()] = end
    return made


def _remove(call: Call, scope: str, given: JsonObject) -> Assignment:
    call.require(f"{_ASSIGN}/delete", scope)
    found = _matching(scope, given)
    if found is None:
        raise ArmError(400, "RoleAssignmentDoesNotExist", "The Role assignment does not exist.")
    role_assignments.delete(found.name.lower())
    return found


def _matching(scope: str, given: JsonObject) -> Assignment | None:
    wanted = (
        ids.key(scope),
        given.get("principalId"),
        ids.name_of(str(given.get("roleDefinitionId", ""))).lower(),
    )
    for one in role_assignments.values():
        role = ids.name_of(one.properties["roleDefinitionId"]).lower()
        if (one.scope, one.properties["principalId"], role) == wanted:
            return one
    return None


def _end(expiration: JsonObject) -> str | None:
    kind = expiration.get("type", "NoExpiration")
    if kind == "AfterDateTime":
        return str(expiration["endDateTime"])
    if kind != "AfterDuration":
        return None
    found = _HOURS.match(str(expiration.get("duration", "")))
    if found is None:
        raise ArmError(400, "InvalidDuration", "The duration is not valid.")
    days, hours, minutes = (int(part or 0) for part in found.groups())
    return (clock.now() + timedelta(days=days, hours=hours, minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")


@operation(
    "arm",
    "GET",
    f"{{scope}}/providers/{_INSTANCES}",
    versions=_VERSIONS,
    action=f"{_ASSIGN}/read",
    source=_SOURCE,
)
def list_instances(call: Call) -> JsonObject:
    """List what is active at, above and below a scope."""
    found = selected(call.params["scope"] or ids.ROOT, call.query.get("$filter", ""), call.caller.tenant_id)
    return paging.page(call, (_instance(one) for one in found))


def end_of(assignment: Assignment) -> str | None:
    """Return when an activated assignment ends; None for one that is not activated."""
    return _ends.get(assignment.name.lower())


def expire() -> None:
    """End the assignments whose time is over; called before each request."""
    for name, end in list(_ends.items()):
        if datetime.fromisoformat(end) <= clock.now():
            role_assignments.delete(name)
            del _ends[name]


def _schedule(scope: str, assignment: Assignment) -> str:
    above = f"{scope.rstrip('/')}/providers/Microsoft.Authorization"
    return f"{above}/roleAssignmentSchedules/{assignment.name}"


def _instance(assignment: Assignment) -> JsonObject:
    scope = assignment.properties["scope"]
    above = scope.rstrip("/")
    properties = {
        "scope": scope,
        "roleDefinitionId": assignment.properties["roleDefinitionId"],
        "principalId": assignment.properties["principalId"],
        "principalType": assignment.properties["principalType"],
        "roleAssignmentScheduleId": _schedule(scope, assignment),
        "originRoleAssignmentId": assignment.id,
        "status": "Provisioned",
        "assignmentType": "Assigned",
        "memberType": "Direct",
        "startDateTime": assignment.properties["createdOn"],
        "endDateTime": _ends.get(assignment.name.lower()),
        "condition": assignment.properties.get("condition"),
        "conditionVersion": assignment.properties.get("conditionVersion"),
        "createdOn": assignment.properties["createdOn"],
    }
    name = assignment.name
    return {
        "id": f"{above}/providers/{_INSTANCES}/{name}",
        "name": name,
        "type": _INSTANCES,
        "properties": properties,
    }
