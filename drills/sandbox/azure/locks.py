"""Management locks: refuse what a lock at the scope, above it, or (for a deletion) below it forbids.

Source: "Lock your resources to protect your infrastructure": CanNotDelete refuses deletions, ReadOnly also
writes and POST actions such as listKeys; locks are inherited and apply to the control plane only.
"""

from __future__ import annotations

from collections.abc import Iterator

from drills.sandbox.azure import ids, paging
from drills.sandbox.azure.call import Answer, Call, JsonObject
from drills.sandbox.azure.errors import ArmError
from drills.sandbox.azure.store import Item, store
from drills.sandbox.azure.table import operation
from drills.sandbox.azure.tenancy import tenancy

TYPE = "Microsoft.Authorization/locks"
_VERSIONS = ("2020-05-01", "2017-04-01", "2016-09-01")
_SOURCE = "Management Locks REST"
_LEVELS = {"cannotdelete": "CanNotDelete", "readonly": "ReadOnly"}
_PATH = "{scope}/providers/Microsoft.Authorization/locks/{name}"


def check(call: Call) -> None:
    """Refuse a call of ARM with 409 ScopeLocked when a lock forbids it."""
    if call.method in {"GET", "HEAD"} or _is_lock(call.path):
        return
    deletes = call.method == "DELETE"
    found = [
        one for one in _reaching(call.resource_id, below=deletes) if deletes or _level(one) == "ReadOnly"
    ]
    if found:
        verb = "delete" if deletes else "write"
        scopes = ", ".join(sorted({scope_of(one.id) for one in found}))
        message = (
            f"The scope '{call.resource_id}' cannot perform {verb} operation because following scope(s) are "
            f"locked: '{scopes}'. Please remove the lock and try again."
        )
        raise ArmError(409, "ScopeLocked", message)


def scope_of(lock_id: str) -> str:
    """Return what a lock protects."""
    return ids.split(lock_id)[0]


def _is_lock(path: str) -> bool:
    return "/providers/microsoft.authorization/locks/" in path.lower()


def _level(lock: Item) -> str:
    return str(lock.properties["level"])


def _reaching(resource_id: str, *, below: bool) -> Iterator[Item]:
    above = set(tenancy.ancestors(resource_id))
    for lock in store.list(resource_type=TYPE):
        scope = ids.key(scope_of(lock.id))
        if scope in above or (below and ids.within(scope, resource_id)):
            yield lock


@operation(
    "arm", "PUT", _PATH, versions=_VERSIONS, action="Microsoft.Authorization/locks/write", source=_SOURCE
)
def put_lock(call: Call) -> Answer:
    """Create or change a lock."""
    properties = call.body.get("properties") or {}
    level = _LEVELS.get(str(properties.get("level", "")).lower())
    if level is None:
        message = (
            f"The lock level '{properties.get('level')}' is invalid. Valid levels: CanNotDelete, ReadOnly."
        )
        raise ArmError(400, "InvalidLockLevel", message)
    existed = store.get(call.path) is not None
    item = store.put(call.path, {"properties": {**properties, "level": level}})
    return Answer(200 if existed else 201, _shown(item))


@operation(
    "arm", "GET", _PATH, versions=_VERSIONS, action="Microsoft.Authorization/locks/read", source=_SOURCE
)
def get_lock(call: Call) -> JsonObject:
    """Show a lock."""
    item = store.get(call.path)
    if item is None:
        raise ArmError(404, "LockNotFound", f"The lock '{call.params['name']}' could not be found.")
    return _shown(item)


@operation(
    "arm", "DELETE", _PATH, versions=_VERSIONS, action="Microsoft.Authorization/locks/delete", source=_SOURCE
)
def delete_lock(call: Call) -> Answer:
    """Remove a lock; 204 when there is none."""
    return Answer(200 if store.delete(call.path) else 204)


@operation(
    "arm",
    "GET",
    "{scope}/providers/Microsoft.Authorization/locks",
    versions=_VERSIONS,
    action="Microsoft.Authorization/locks/read",
    source=_SOURCE,
)
def list_locks(call: Call) -> JsonObject:
    """List the locks of a scope with those above and below it, or with `atScope()` only its own."""
    scope = call.params["scope"] or ids.ROOT
    found = [one for one in _reaching(scope, below=True) if ids.subscription_of(one.id)]
    if "atscope()" in call.query.get("$filter", "").lower():
        found = [one for one in found if ids.key(scope_of(one.id)) in set(tenancy.ancestors(scope))]
    return paging.page(call, (_shown(one) for one in found))


def _shown(item: Item) -> JsonObject:
    document = item.document()
    del document["etag"]
    return document
