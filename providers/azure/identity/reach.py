"""Everything through which roles reach a principal: its own assignments, timed ones, and its groups'.

The roles are Azure RBAC's, and those of the Cosmos DB accounts that the workload declares (datarights.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from firebreak.measure import now
from firebreak.model import JsonObject
from providers.azure import cosmosroles
from providers.azure.answers import RestError, already, translated
from providers.azure.identity import datarights
from providers.azure.session import AzureAccess

CLIENT = "azure.mgmt.authorization:AuthorizationManagementClient"
PIM_VERSION = "2020-10-01"
"""api-version of the role assignment schedules."""
# Azure RBAC, "List role assignments using the REST API": the first filter looks at, above and below the
# subscription; the second also follows groups through groups.
FILTERS = ("principalId eq '{}'", "assignedTo('{}')")
# What Privileged Identity Management answers where the tenant has no licence for it, hence no schedule.
UNLICENSED = frozenset({"AadPremiumLicenseRequired"})
FIELDS = (
    "role_definition_id",
    "principal_id",
    "principal_type",
    "condition",
    "condition_version",
    "description",
    "delegated_managed_identity_resource_id",
)
"""What a role assignment is made of, besides its id and scope."""

Act = Callable[[], None]


@dataclass(frozen=True)
class Reach:
    """What reaches one principal, by name."""

    assignments: dict[str, JsonObject] = field(default_factory=dict)
    """The principal's own standing assignments, by id."""
    schedules: dict[str, JsonObject] = field(default_factory=dict)
    """Its assignments with an end, of Privileged Identity Management, by scope and role."""
    data_assignments: dict[str, JsonObject] = field(default_factory=dict)
    """Its assignments of Cosmos DB's own roles, by id."""
    memberships: dict[str, JsonObject] = field(default_factory=dict)
    """The groups it is directly in that lead to an assignment, by the group's id."""
    through_groups: dict[str, JsonObject] = field(default_factory=dict)
    """The groups' assignments, by id: they serve others too, and are never deleted."""

    def json(self) -> JsonObject:
        """The reach for a State."""
        return {
            "assignments": self.assignments,
            "schedules": self.schedules,
            "data_assignments": self.data_assignments,
            "memberships": self.memberships,
            "through_groups": self.through_groups,
        }

    def names(self) -> list[str]:
        """Everything by name, for people and for comparison."""
        return [name for each in self.json().values() for name in each]

    def missing_from(self, actual: Reach) -> list[str]:
        """What is not in ``actual`` just as it is here, apart from what ended by its own time."""
        pairs: tuple[tuple[dict[str, JsonObject], dict[str, JsonObject]], ...] = (
            (self.assignments, actual.assignments),
            (self.schedules, actual.schedules),
            (self.data_assignments, actual.data_assignments),
            ({name: {} for name in self.memberships}, {name: {} for name in actual.memberships}),
        )
        return [
            name
            for wanted, present in pairs
            for name, fields in wanted.items()
            if present.get(name) != fields and not _over(fields)
        ]


def without_control(values: JsonObject) -> JsonObject:
    """The reach alone, of a State's values."""
    return {name: value for name, value in values.items() if name != "control"}


def joined(parts: Iterable[JsonObject]) -> Reach:
    """Several recorded reaches as one; of two records of one thing, the older one counts."""
    result = Reach()
    for part in parts:
        for kind, known in result.json().items():
            for name, fields in part.get(kind, {}).items():
                known.setdefault(name, fields)
    return result


def read(access: AzureAccess, object_id: str, wanted: Reach | None = None) -> Reach:
    """Read everything that reaches the principal, also where something ``wanted`` is to be. Read-only."""
    listed = _assignments(access, object_id)
    own = {name: each for name, each in listed.items() if each["principal_id"].lower() == object_id.lower()}
    others = {name: each for name, each in listed.items() if name not in own}
    data, shared_data = datarights.read(access, object_id, _accounts(access, wanted or Reach()))
    others |= shared_data
    timed = list(_timed(access, object_id))
    behind = {str(each["properties"].get("originRoleAssignmentId", "")).lower() for each in timed}
    return Reach(
        assignments={name: each for name, each in own.items() if name.lower() not in behind},
        schedules=dict(sorted(_schedule(each) for each in timed)),
        data_assignments=data,
        memberships=_memberships(access, object_id, others) if others else {},
        through_groups=others,
    )


def _accounts(access: AzureAccess, wanted: Reach) -> list[str]:
    """The workload's own Cosmos DB accounts, and those that a workload released before left to this one."""
    places = [*cosmosroles.accounts(access.run.workload), *datarights.accounts_of(wanted.data_assignments)]
    return list({each.lower(): each for each in reversed(places)}.values())


def _assignments(access: AzureAccess, object_id: str) -> dict[str, JsonObject]:
    with translated(object_id):
        operations = access.client(CLIENT).role_assignments
        listed = {
            each.id: {"scope": each.scope, **{name: getattr(each, name) for name in FIELDS}}
            for each_filter in FILTERS
            for each in operations.list_for_subscription(filter=each_filter.format(object_id))
        }
    return dict(sorted(listed.items()))


def _timed(access: AzureAccess, object_id: str) -> Iterator[JsonObject]:
    """The principal's own active assignments that have an end; a permanent one shows as an assignment."""
    path = f"{access.scope}/providers/Microsoft.Authorization/roleAssignmentScheduleInstances"
    query = {"$filter": FILTERS[0].format(object_id)}
    try:
        listed = list(access.arm().pages(path, PIM_VERSION, query=query))
    except RestError as error:
        if error.code in UNLICENSED:
            return
        with translated(object_id):
            raise
    for each in listed:
        properties = each["properties"]
        mine = str(properties["principalId"]).lower() == object_id.lower()
        if mine and properties.get("endDateTime") and properties.get("memberType", "Direct") == "Direct":
            yield each


def _schedule(instance: JsonObject) -> tuple[str, JsonObject]:
    properties = instance["properties"]
    fields = {
        "scope": properties["scope"],
        "role_definition_id": properties["roleDefinitionId"],
        "condition": properties.get("condition"),
        "condition_version": properties.get("conditionVersion"),
        "end_at": properties["endDateTime"],
    }
    return f"{fields['scope']} {fields['role_definition_id']}", fields


def _memberships(
    access: AzureAccess, object_id: str, through: dict[str, JsonObject]
) -> dict[str, JsonObject]:
    """The direct memberships that lead, through whichever groups, to those assignments."""
    assigned = {each["principal_id"].lower() for each in through.values()}
    graph = access.graph()
    found: dict[str, JsonObject] = {}
    with translated(object_id):
        for group in graph.pages(f"/servicePrincipals/{object_id}/memberOf"):
            above = {group["id"].lower()}
            above |= {each["id"].lower() for each in graph.pages(f"/groups/{group['id']}/transitiveMemberOf")}
            if above & assigned:
                members = list(graph.pages(f"/groups/{group['id']}/members"))
                found[group["id"]] = {
                    "display_name": group.get("displayName", ""),
                    "other_members": len(members) - 1,
                }
    return dict(sorted(found.items()))


def removals(access: AzureAccess, object_id: str, present: Reach) -> Iterator[tuple[str, Act]]:
    """One act for each thing to remove; each is harmless when it is gone already."""
    for name, fields in present.schedules.items():
        yield name, partial(_request, access, object_id, fields, "AdminRemove")
    for name in present.assignments:
        yield name, partial(_delete, access, name)
    for name in present.data_assignments:
        yield name, partial(datarights.delete, access, name)
    for group in present.memberships:
        yield group, partial(_leave, access, group, object_id)


def restorations(
    access: AzureAccess, object_id: str, present: Reach, wanted: Reach
) -> Iterator[tuple[str, Act]]:
    """One act for each thing that is not there as it was."""
    for group in wanted.memberships:
        if group not in present.memberships:
            yield group, partial(_join, access, group, object_id)
    for create, missing, there in (
        (_create, wanted.assignments, present.assignments),
        (datarights.create, wanted.data_assignments, present.data_assignments),
    ):
        for name, fields in missing.items():
            if there.get(name) != fields:
                yield name, partial(create, access, name, fields)
    for name, fields in wanted.schedules.items():
        if name not in present.schedules and not _over(fields):
            yield name, partial(_request, access, object_id, fields, "AdminAssign")


def _delete(access: AzureAccess, assignment: str) -> None:
    with translated(assignment):
        access.client(CLIENT).role_assignments.delete_by_id(assignment)


def _create(access: AzureAccess, assignment: str, fields: JsonObject) -> None:
    # Imported here: reading an inventory needs no SDK.
    from azure.mgmt.authorization.v2022_04_01.models import RoleAssignmentCreateParameters  # noqa: PLC0415

    parameters: Any = RoleAssignmentCreateParameters(**{name: fields[name] for name in FIELDS})
    with translated(assignment):
        access.client(CLIENT).role_assignments.create_by_id(assignment, parameters)


def _request(access: AzureAccess, object_id: str, fields: JsonObject, kind: str) -> None:
    """Ask Privileged Identity Management to end or make a timed assignment ("Use Azure PIM ...")."""
    properties: JsonObject = {
        "principalId": object_id,
        "roleDefinitionId": fields["role_definition_id"],
        "requestType": kind,
        "justification": f"Firebreak {access.run.incident_id}",
    }
    if kind == "AdminAssign":
        properties["scheduleInfo"] = {
            "startDateTime": now().isoformat(),
            "expiration": {"type": "AfterDateTime", "endDateTime": fields["end_at"]},
        }
        properties |= {
            name: value
            for name, value in (
                ("condition", fields["condition"]),
                ("conditionVersion", fields["condition_version"]),
            )
            if value
        }
    # The same name for a retry, so that it is the same request.
    seed = f"{access.run.incident_id} {kind} {object_id} {fields['scope']} {fields['role_definition_id']}"
    path = (
        f"{fields['scope']}/providers/Microsoft.Authorization/roleAssignmentScheduleRequests/"
        f"{uuid5(NAMESPACE_URL, seed)}"
    )
    with already(
        fields["scope"], "RoleAssignmentDoesNotExist", "RoleAssignmentExists", "RoleAssignmentRequestExists"
    ):
        access.arm().request("PUT", path, query={"api-version": PIM_VERSION}, json={"properties": properties})


def _leave(access: AzureAccess, group: str, object_id: str) -> None:
    with translated(group):
        access.graph().delete(f"/groups/{group}/members/{object_id}/$ref")


def _join(access: AzureAccess, group: str, object_id: str) -> None:
    member = f"{access.endpoints.graph}/v1.0/directoryObjects/{object_id}"
    with translated(group):
        access.graph().post(f"/groups/{group}/members/$ref", {"@odata.id": member})


def _over(fields: JsonObject) -> bool:
    """Tell whether a timed assignment ended by its own time."""
    end = fields.get("end_at")
    return bool(end) and datetime.fromisoformat(str(end)) <= now()
