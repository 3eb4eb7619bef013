"""Play the tags of any resource: read, merged, replaced and deleted one by one.

Source: Resource Management REST, "Tags - Update At Scope".
"""

from __future__ import annotations

from typing import Any

from drills.sandbox.azure.call import Call
from drills.sandbox.azure.errors import ArmError
from drills.sandbox.azure.store import Item, store
from drills.sandbox.azure.table import operation

Json = dict[str, Any]
VERSIONS = ("2021-04-01", "2024-03-01", "2025-04-01")
SOURCE = "Resource Management REST API, Tags - Update At Scope"
TAGS = "{scope}/providers/Microsoft.Resources/tags/default"
ACTION = "Microsoft.Resources/tags"
MOST = 50


def _holder(call: Call) -> Item:
    return store.need(call.params["scope"])


def _shown(call: Call, item: Item) -> Json:
    properties = {"tags": dict(item.body.get("tags") or {})}
    return {"id": call.path, "name": "default", "type": ACTION, "properties": properties}


@operation("arm", "GET", TAGS, versions=VERSIONS, action=f"{ACTION}/read", source=SOURCE)
def get_tags(call: Call) -> Json:
    """Show a resource's tags."""
    return _shown(call, _holder(call))


@operation("arm", "PATCH", TAGS, versions=VERSIONS, action=f"{ACTION}/write", source=SOURCE)
def patch_tags(call: Call) -> Json:
    """Merge tags, replace all of them, or delete those that are named with their value."""
    item = _holder(call)
    given = dict(call.body.get("properties", {}).get("tags") or {})
    current = dict(item.body.get("tags") or {})
    changed = _changed(str(call.body.get("operation", "")), current, given)
    if len(changed) > MOST:
        raise ArmError(400, "MaxNumberOfTagsExceeded", f"A resource has at most {MOST} tags.")
    item.body["tags"] = changed
    store.touch(item)
    return _shown(call, item)


def _changed(operation_name: str, current: Json, given: Json) -> Json:
    if operation_name == "Merge":
        return {**current, **given}
    if operation_name == "Replace":
        return given
    if operation_name == "Delete":
        return {name: value for name, value in current.items() if given.get(name) != value}
    raise ArmError(400, "InvalidTagOperation", f"'{operation_name}' is no operation on tags.")
