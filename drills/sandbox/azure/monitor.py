"""Play the activity log of Azure Monitor: every write that the sandbox logged, newest first.

Azure Monitor REST API, "Activity Logs - List": the filter needs a time, and takes one more condition.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Final

from drills.sandbox.azure import ids, paging
from drills.sandbox.azure.activitylog import activity
from drills.sandbox.azure.call import Call, JsonObject
from drills.sandbox.azure.errors import ArmError
from drills.sandbox.azure.table import operation

_PAGE = 200
_CONDITION = re.compile(r"\s*(\w+)\s+(eq|ge|le)\s+'([^']*)'\s*")
_MATCHES: Final[dict[str, Callable[[JsonObject, str], bool]]] = {
    "caller": lambda entry, wanted: wanted.lower() in _callers(entry),
    "correlationid": lambda entry, wanted: bool(entry["correlationId"] == wanted),
    "resourcegroupname": lambda entry, wanted: str(entry["resourceGroupName"]).lower() == wanted.lower(),
    "resourceprovider": lambda entry, wanted: (
        str(entry["resourceProviderName"]["value"]).lower() == wanted.lower()
    ),
    "resourceuri": lambda entry, wanted: ids.key(entry["resourceId"]) == ids.key(wanted),
}


@operation(
    "arm",
    "GET",
    "/subscriptions/{subscription}/providers/Microsoft.Insights/eventtypes/management/values",
    versions=("2015-04-01",),
    action="Microsoft.Insights/eventtypes/values/read",
    scope=lambda call: f"/subscriptions/{call.subscription}",
    source="Azure Monitor REST API, Activity Logs - List",
)
def list_events(call: Call) -> JsonObject:
    """Return a page of the events of a period."""
    conditions = _conditions(call.query.get("$filter", ""))
    bounds = {verb: _moment(value) for name, verb, value in conditions if name == "eventtimestamp"}
    if "ge" not in bounds:
        raise _refused("the filter needs a start: eventTimestamp ge '...'")
    wanted = [(name, value) for name, verb, value in conditions if name != "eventtimestamp"]
    unknown = [name for name, _ in wanted if name not in _MATCHES]
    if unknown:
        raise _refused(f"the filter does not know {', '.join(unknown)}")
    entries = activity.entries(call.subscription, bounds["ge"], bounds.get("le"))
    found = [entry for entry in entries if all(_MATCHES[name](entry, value) for name, value in wanted)]
    return paging.page(call, reversed(found), _PAGE)


def _conditions(text: str) -> list[tuple[str, str, str]]:
    found = []
    for part in re.split(r"\s+and\s+", text.strip(), flags=re.IGNORECASE):
        match = _CONDITION.fullmatch(part)
        if not match:
            raise _refused(f"the filter cannot be read at: {part}")
        found.append((match[1].lower(), match[2], match[3]))
    return found


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text.removesuffix("Z")[:26] + "+00:00")
    except ValueError as error:
        raise _refused(f"not a time: {text}") from error


def _callers(entry: JsonObject) -> set[str]:
    """The names of who acted: its object id, and its application's."""
    claims = entry.get("claims", {})
    return {str(each).lower() for each in (entry["caller"], claims.get("appid", ""), claims.get("oid", ""))}


def _refused(message: str) -> ArmError:
    return ArmError(400, "BadRequest", f"The $filter is invalid: {message}.")
