"""Rights on the data of Cosmos DB: granted by roles of each account, not by Azure RBAC.

Cosmos DB, "Data plane role-based access control", "Permission model": the scope of an assignment is the
account, or ``/dbs/NAME`` and ``/colls/NAME`` below it; Azure RBAC refuses a role with these actions.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from firebreak.declarations import of_kind
from firebreak.model import JsonObject, Workload
from providers.azure.answers import DENIED_CODES, NOT_FOUND, RestError, translated
from providers.azure.ids import ResourceId
from providers.azure.resources.artifacts import CosmosContainer

if TYPE_CHECKING:
    from providers.azure.session import AzureAccess

COSMOS = "cosmos:"
"""Prefix of a permission on data of Cosmos DB."""
VERSION = "2024-05-15"
"""api-version of ``Microsoft.DocumentDB``."""
READ_ROLES = (
    "Microsoft.DocumentDB/databaseAccounts/sqlRoleAssignments/read",
    "Microsoft.DocumentDB/databaseAccounts/sqlRoleDefinitions/read",
)
"""What it takes to see, before the first change, which of these rights the responder has."""
ASSIGN_ROLES = tuple(
    f"Microsoft.DocumentDB/databaseAccounts/sqlRoleAssignments/{verb}" for verb in ("read", "write", "delete")
)
"""What it takes to take these rights from a workload, and to give them back."""


def accounts(workload: Workload) -> tuple[str, ...]:
    """List the accounts of the Cosmos DB containers that the workload declares."""
    found = (account_of(each.ref) for each in of_kind(workload.resources(), CosmosContainer))
    return tuple({each.lower(): each for each in found}.values())


def account_of(ref: str) -> str:
    """Return the id of the account that something is in."""
    return _split(ref)[0]


def documents(needed: Mapping[str, Iterable[str]]) -> list[JsonObject]:
    """Write the role of each account, as ``az cosmosdb sql role definition create`` takes it."""
    return [
        {
            "account": account,
            "definition": {
                "RoleName": "Firebreak responder",
                "Type": "CustomRole",
                "AssignableScopes": ["/"],
                "Permissions": [{"DataActions": sorted({action for action, _ in wanted})}],
            },
            "assign_at": sorted({place for _, place in wanted}),
        }
        for account, wanted in sorted(_by_account(needed).items())
    ]


def lacking(access: AzureAccess, needed: Mapping[str, Iterable[str]]) -> list[str]:
    """Name what the responder's own assignments do not cover. What it has through a group is not seen."""
    accounts = _by_account(needed)
    if not accounts:
        return []
    with translated("the SDK's own credentials"):
        own = str(access.reached().claims(access.endpoints.arm_scope).get("oid", "")).lower()
    missing = []
    for account, wanted in accounts.items():
        held = _seen(access, account, own)
        if held is None:
            continue
        missing += [
            f"{COSMOS}{action} on {account}{place}"
            for action, place in sorted(wanted)
            if not any(_covers(scope, place) and _matches(actions, action) for scope, actions in held)
        ]
    return missing


def _by_account(needed: Mapping[str, Iterable[str]]) -> dict[str, set[tuple[str, str]]]:
    """Account to the actions on it, each with its place in the account."""
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for permission, scopes in needed.items():
        for scope in scopes if permission.startswith(COSMOS) else ():
            account, place = _split(scope)
            found[account].add((permission.removeprefix(COSMOS), place))
    return found


def _split(scope: str) -> tuple[str, str]:
    """An ARM id as the account's id and the place in it."""
    resource = ResourceId.parse(scope)
    parts = (("dbs", resource.part("sqlDatabases")), ("colls", resource.part("containers")))
    place = "".join(f"/{kind}/{name}" for kind, name in parts if name)
    while resource.parent is not None and resource.type.lower() != "microsoft.documentdb/databaseaccounts":
        resource = resource.parent
    return str(resource), place


def _seen(access: AzureAccess, account: str, own: str) -> list[tuple[str, list[str]]] | None:
    """What the responder has: nothing where it may not look, which is missing under its own name.

    None where there is no such account: the capture that reads it says so.
    """
    with translated(account):
        try:
            return list(_held(access, account, own))
        except RestError as error:
            if error.status == NOT_FOUND:
                return None
            if error.code not in DENIED_CODES:
                raise
            return []


def _held(access: AzureAccess, account: str, own: str) -> Iterator[tuple[str, list[str]]]:
    """The place and the actions of each of the responder's assignments."""
    for assignment in access.arm().pages(f"{account}/sqlRoleAssignments", VERSION):
        properties = assignment["properties"]
        if str(properties["principalId"]).lower() == own:
            definition = access.arm().get(properties["roleDefinitionId"], VERSION) or {}
            permissions = definition.get("properties", {}).get("permissions", ())
            actions = [action for each in permissions for action in each.get("dataActions", ())]
            yield str(properties["scope"])[len(account) :], actions


def _covers(scope: str, place: str) -> bool:
    return f"{place}/".lower().startswith(f"{scope.rstrip('/')}/".lower())


def _matches(patterns: Iterable[str], action: str) -> bool:
    return any(
        re.fullmatch(".*".join(map(re.escape, each.split("*"))), action, re.IGNORECASE) for each in patterns
    )
