"""Keep the items of Cosmos DB containers, and judge who may reach them.

Data plane access is Cosmos DB's own: role assignments of the account (``sqlRoleAssignments``), not of Azure
RBAC ("Data plane role-based access control", "Permission model").
"""

from __future__ import annotations

import copy
import fnmatch
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final
from urllib.parse import unquote
from uuid import uuid4

from drills.sandbox.azure import clock, ids, tokens
from drills.sandbox.azure.call import Call, Principal
from drills.sandbox.azure.directory import directory
from drills.sandbox.azure.errors import ArmError
from drills.sandbox.azure.state import on_reset
from drills.sandbox.azure.store import Item, store

JsonObject = dict[str, Any]
TYPE: Final = "Microsoft.DocumentDB/databaseAccounts"
METADATA: Final = f"{TYPE}/readMetadata"
ITEMS: Final = f"{TYPE}/sqlDatabases/containers/items"
QUERY: Final = f"{TYPE}/sqlDatabases/containers/executeQuery"
_BUILT_IN: Final = {
    # "Built-in role definitions"
    "00000000-0000-0000-0000-000000000001": (
        METADATA,
        f"{ITEMS}/read",
        QUERY,
        f"{TYPE}/sqlDatabases/containers/readChangeFeed",
    ),
    "00000000-0000-0000-0000-000000000002": (
        METADATA,
        f"{TYPE}/sqlDatabases/containers/*",
        f"{ITEMS}/*",
    ),
}
# Two physical partitions: enough for a reader to forget one.
PARTITIONS: Final = {"0": ("", "7F" * 16), "1": ("7F" * 16, "FF")}


@dataclass
class Documents:
    """The items of one container by partition key and id, in order of creation."""

    rid: str = field(default_factory=lambda: uuid4().hex[:12])
    items: dict[tuple[str, str], JsonObject] = field(default_factory=dict)

    def put(self, key: Any, document: JsonObject) -> JsonObject:
        """Create or replace an item; the service adds its own fields."""
        place = (json.dumps(key), str(document["id"]))
        kept = {
            **copy.deepcopy(document),
            "_rid": self.items.get(place, {}).get("_rid", uuid4().hex),
            "_etag": f'"{uuid4()}"',
            "_ts": int(clock.seconds()),
        }
        self.items[place] = kept
        return kept

    def of(self, partition: str) -> list[JsonObject]:
        """The items of a physical partition."""
        return [item for (key, _), item in self.items.items() if partition_of(key) == partition]


def partition_of(key: str) -> str:
    """The physical partition of a partition key, spread by a hash."""
    return str(sha256(key.encode()).digest()[0] % len(PARTITIONS))


_containers: dict[str, Documents] = {}
on_reset(_containers.clear)


def contents() -> Iterator[tuple[str, Documents]]:
    """Yield every container's items, by the container's id in lower case."""
    yield from list(_containers.items())


def account_of(call: Call) -> Item:
    """The account of a host name, or 404 as the service's front door answers."""
    found = (each for each in store.list(resource_type=TYPE) if each.name.lower() == call.account.lower())
    item = next(found, None)
    if item is None:
        raise ArmError(404, "NotFound", "The account does not exist.")
    return item


def container_of(call: Call) -> Item:
    """The container that a path names."""
    names = call.params
    place = f"{account_of(call).id}/sqlDatabases/{names['database']}/containers/{names['container']}"
    item = store.get(place)
    if item is None:
        raise ArmError(404, "NotFound", "Resource Not Found.")
    return item


def documents_of(container: Item) -> Documents:
    """The items of a container."""
    return _containers.setdefault(ids.key(container.id), Documents())


def require(call: Call, action: str, resource: str = "/") -> Principal:
    """Who signed the call; refuses it unless a role assignment of the account allows the action."""
    bearer = _bearer(call)
    account = account_of(call)
    if not any(_covers(each, action, resource) for each in _assignments(account, bearer)):
        message = (
            f"Request blocked by Auth {account.name} : Request is blocked because principal "
            f"[{bearer.object_id}] does not have required RBAC permissions to perform action "
            f"[{action}] on resource [{resource}]."
        )
        # Azure/azure-cosmos-dotnet-v3, "403, substatus 5301": metadata has a code of its own.
        substatus = "5301" if action == METADATA else "5302"
        raise ArmError(403, "Forbidden", message, headers={"x-ms-substatus": substatus})
    return bearer


def _bearer(call: Call) -> Principal:
    """The principal of ``type=aad&ver=1.0&sig={token}`` ("Access control on Cosmos DB resources")."""
    parts = dict(
        part.partition("=")[::2] for part in unquote(call.headers.get("authorization", "")).split("&")
    )
    if parts.get("type") != "aad":
        raise ArmError(401, "Unauthorized", "Local Authorization is disabled. Use an AAD token.")
    call.headers = {**call.headers, "authorization": f"Bearer {parts.get('sig', '')}"}
    call.principal = tokens.authenticated(call)
    return call.principal


def _assignments(account: Item, bearer: Principal) -> Iterator[Item]:
    """The assignments of the bearer and of its groups ("Configure role-based access control")."""
    selves = {bearer.object_id, *directory.groups_of(bearer.object_id, effective=True)}
    known = {each.lower() for each in selves}
    for each in store.list(account.id, f"{TYPE}/sqlRoleAssignments"):
        if str(each.properties.get("principalId", "")).lower() in known:
            yield each


def _covers(assignment: Item, action: str, resource: str) -> bool:
    """Whether an assignment reaches down to a resource (``/dbs/x/colls/y``) and its role has the action."""
    account = assignment.id[: assignment.id.lower().index("/sqlroleassignments/")]
    scope = str(assignment.properties.get("scope", ""))[len(account) :].rstrip("/").lower()
    inside = not scope or action == METADATA or f"{resource}/".lower().startswith(f"{scope}/")
    return inside and any(fnmatch.fnmatchcase(action, each) for each in _actions(account, assignment))


def _actions(account: str, assignment: Item) -> list[str]:
    name = ids.name_of(str(assignment.properties.get("roleDefinitionId", "")))
    definition = store.get(f"{account}/sqlRoleDefinitions/{name}")
    permissions = definition.properties.get("permissions", ()) if definition else ()
    return [action for each in permissions for action in each.get("dataActions", ())]


def add_built_in_roles(account: Item) -> None:
    """Give a new account the roles that every account has."""
    for name, actions in _BUILT_IN.items():
        body = {"type": "BuiltInRole", "permissions": [{"dataActions": list(actions)}]}
        store.put(f"{account.id}/sqlRoleDefinitions/{name}", {"properties": body})
