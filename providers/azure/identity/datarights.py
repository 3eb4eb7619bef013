"""Rights on the data of Cosmos DB that reach a principal: Azure RBAC neither shows them nor takes them away.

They are looked for in the accounts whose containers the workload declares. Cosmos DB, "Data plane role-based
access control": an assignment names an identity or a group, and is identified by a GUID in its account.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from firebreak.model import JsonObject
from providers.azure.answers import NOT_FOUND, RestError, translated
from providers.azure.cosmosroles import VERSION, account_of
from providers.azure.session import AzureAccess

FIELDS = {"scope": "scope", "role_definition_id": "roleDefinitionId", "principal_id": "principalId"}
"""What such an assignment is made of, besides its id: our name and the service's."""

Assignments = dict[str, JsonObject]


def read(access: AzureAccess, object_id: str, accounts: Iterable[str]) -> tuple[Assignments, Assignments]:
    """Read the principal's own assignments in these accounts, and those of its groups. Read-only."""
    listed = {
        str(each["id"]): {ours: each["properties"][theirs] for ours, theirs in FIELDS.items()}
        for account in accounts
        for each in _listed(access, account)
    }
    own = {name: each for name, each in listed.items() if _of(each) == object_id.lower()}
    others = {name: each for name, each in listed.items() if name not in own}
    groups = _groups(access, object_id) if others else set()
    through = {name: each for name, each in others.items() if _of(each) in groups}
    return dict(sorted(own.items())), dict(sorted(through.items()))


def accounts_of(assignments: Iterable[str]) -> Iterator[str]:
    """Yield the account of each assignment."""
    return (account_of(each) for each in assignments)


def delete(access: AzureAccess, assignment: str) -> None:
    """Delete an assignment; harmless when it is gone already."""
    with translated(assignment):
        access.arm().delete(assignment, VERSION)


def create(access: AzureAccess, assignment: str, fields: JsonObject) -> None:
    """Put an assignment there under its own GUID; harmless when it is there already."""
    properties = {theirs: fields[ours] for ours, theirs in FIELDS.items()}
    with translated(assignment):
        access.arm().put(assignment, {"properties": properties}, VERSION)


def _listed(access: AzureAccess, account: str) -> list[JsonObject]:
    try:
        return list(access.arm().pages(f"{account}/sqlRoleAssignments", VERSION))
    except RestError as error:
        if error.status == NOT_FOUND:
            return []  # an account that is gone gives no rights; capturing its memory reports the absence
        with translated(account):
            raise


def _groups(access: AzureAccess, object_id: str) -> set[str]:
    """Every group that the principal is in, directly or through others."""
    with translated(object_id):
        found = access.graph().pages(f"/servicePrincipals/{object_id}/transitiveMemberOf")
        return {str(each["id"]).lower() for each in found}


def _of(assignment: JsonObject) -> str:
    return str(assignment["principal_id"]).lower()
