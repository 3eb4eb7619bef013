"""List the resources of a subscription or group with their tags, as discovery finds them.

Source: Azure Resource Manager REST, "Resources - List": what has a location and tags of its own is listed,
other nested resources are not; a filter by tag leaves the tags out of the answer.
"""

from __future__ import annotations

import re

from drills.sandbox.azure import ids, paging
from drills.sandbox.azure.call import Call, JsonObject
from drills.sandbox.azure.errors import ArmError
from drills.sandbox.azure.generic import GROUP_TYPE
from drills.sandbox.azure.store import Item, store
from drills.sandbox.azure.table import operation

_VERSIONS = ("2021-04-01", "2024-03-01", "2025-04-01")
_SOURCE = "Azure Resource Manager REST: Resources"
_FILTER = re.compile(
    r"^(?:tagName eq '(?P<tag>[^']+)'(?: and tagValue eq '(?P<value>[^']*)')?"
    r"|resourceType eq '(?P<type>[^']+)')$"
)
_SHOWN = ("location", "tags", "identity", "kind", "sku")


@operation(
    "arm",
    "GET",
    "/subscriptions/{subscription}/resources",
    versions=_VERSIONS,
    action="Microsoft.Resources/subscriptions/resources/read",
    source=_SOURCE,
)
@operation(
    "arm",
    "GET",
    "/subscriptions/{subscription}/resourceGroups/{group}/resources",
    versions=_VERSIONS,
    action="Microsoft.Resources/subscriptions/resourceGroups/resources/read",
    source=_SOURCE,
)
def list_resources(call: Call) -> JsonObject:
    """List resources, filtered by tag or type."""
    wanted = _wanted(call.query.get("$filter", ""))
    found = [item for item in store.list(call.resource_id) if _is_listed(item) and _matches(item, wanted)]
    return paging.page(call, (_shown(item, tags=not wanted.get("tag")) for item in found))


def _wanted(text: str) -> dict[str, str]:
    if not text:
        return {}
    match = _FILTER.match(text.strip())
    if match is None:
        raise ArmError(400, "InvalidFilterInQueryString", f"Invalid $filter '{text}' specified.")
    return {name: value for name, value in match.groupdict().items() if value is not None}


def _is_listed(item: Item) -> bool:
    return item.type != GROUP_TYPE and bool(ids.group_of(item.id)) and "location" in item.body


def _matches(item: Item, wanted: dict[str, str]) -> bool:
    tags = item.body.get("tags") or {}
    if "type" in wanted:
        return item.type.lower() == wanted["type"].lower()
    return not wanted or (
        wanted["tag"] in tags and wanted.get("value", tags[wanted["tag"]]) == tags[wanted["tag"]]
    )


def _shown(item: Item, *, tags: bool) -> JsonObject:
    document = item.document()
    kept = {name: document[name] for name in _SHOWN if name in document and (tags or name != "tags")}
    return {"id": item.id, "name": item.name, "type": item.type, **kept}
