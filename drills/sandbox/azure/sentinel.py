"""Play Microsoft Sentinel on workspaces that are onboarded: incidents, comments, relations, bookmarks,
alerts.

Microsoft Sentinel REST API 2024-09-01, "Incidents", "Incident Comments", "Incident Relations", "Bookmarks".
"""

from __future__ import annotations

from typing import Final

from drills.sandbox.azure import clock, ids, paging
from drills.sandbox.azure.call import Answer, Call, JsonObject
from drills.sandbox.azure.errors import ArmError, not_found
from drills.sandbox.azure.loganalytics import TYPE as WORKSPACES
from drills.sandbox.azure.store import Item, store
from drills.sandbox.azure.table import operation

VERSIONS: Final = ("2023-11-01", "2024-03-01", "2024-09-01", "2025-09-01")
_PROVIDER = "Microsoft.SecurityInsights"
_PLACE = f"{{scope}}/providers/{_PROVIDER}"
_STATUSES: Final = frozenset({"New", "Active", "Closed"})
_SEVERITIES: Final = frozenset({"High", "Medium", "Low", "Informational"})
_REQUIRED: Final = {
    "incidents": ("title", "severity", "status"),
    "incidents/comments": ("message",),
    "incidents/relations": ("relatedResourceId",),
    "bookmarks": ("displayName", "query"),
    "onboardingStates": (),
}
_COMMENT_LIMIT = 30_000


def _workspace(call: Call) -> Item:
    """The workspace, which must be onboarded for everything but being onboarded."""
    workspace = store.need(call.params["scope"])
    if ids.key(workspace.type) != ids.key(WORKSPACES):
        raise not_found(call.params["scope"])
    return workspace


def _onboarded(call: Call) -> Item:
    workspace = _workspace(call)
    if store.get(f"{workspace.id}/providers/{_PROVIDER}/onboardingStates/default") is None:
        message = f"Workspace {workspace.name} is not onboarded to Microsoft Sentinel."
        raise ArmError(400, "WorkspaceNotOnboarded", message)
    return workspace


def _get(call: Call) -> JsonObject:
    _workspace(call)
    return store.need(call.resource_id).document()


def _put(kind: str, call: Call) -> Answer:
    workspace = _workspace(call) if kind == "onboardingStates" else _onboarded(call)
    properties = dict(call.body.get("properties") or {})
    _check(kind, properties)
    if "/" in kind:
        store.need(call.resource_id.rsplit("/", 2)[0])
    before = store.get(call.resource_id)
    if kind == "incidents":
        properties |= _numbered(workspace, before)
    if kind == "incidents/relations" and store.get(properties["relatedResourceId"]) is None:
        raise not_found(properties["relatedResourceId"])
    properties.setdefault("createdTimeUtc", clock.stamp())
    item = store.put(call.resource_id, {**call.body, "properties": properties})
    return Answer(200 if before else 201, item.document())


def _check(kind: str, properties: JsonObject) -> None:
    missing = [name for name in _REQUIRED[kind] if not properties.get(name)]
    wrong = [
        name
        for name, known in (("status", _STATUSES), ("severity", _SEVERITIES))
        if kind == "incidents" and properties.get(name) not in known
    ]
    if missing or wrong:
        raise ArmError(400, "BadRequest", f"Invalid data model. Properties: {', '.join(missing + wrong)}")
    if kind == "incidents/comments" and len(properties["message"]) > _COMMENT_LIMIT:
        raise ArmError(400, "BadRequest", "Invalid data model. The message is too long.")
    if kind == "incidents" and properties["status"] == "Closed" and not properties.get("classification"):
        raise ArmError(400, "BadRequest", "Invalid data model. A closed incident needs a classification.")


def _numbered(workspace: Item, before: Item | None) -> JsonObject:
    """What the service adds to an incident."""
    place = f"{workspace.id}/providers/{_PROVIDER}"
    known = [each for each in store.list(workspace.id, f"{_PROVIDER}/incidents") if each is not before]
    number = before.properties["incidentNumber"] if before else len(known) + 1
    return {
        "incidentNumber": number,
        "incidentUrl": f"https://portal.azure.com/#asset/Microsoft_Azure_Security_Insights/Incident{place}/{number}",
        "lastModifiedTimeUtc": clock.stamp(),
    }


def _register(kind: str) -> None:
    """CRUD of one kind of record, each under its own permission."""
    names = kind.split("/")
    path = _PLACE + "".join(f"/{name}/{{{name[:-1]}}}" for name in names)
    action = f"{_PROVIDER}/{kind}"
    source = f"Microsoft Sentinel REST API, {names[-1]}"
    operation("arm", "GET", path, versions=VERSIONS, action=f"{action}/read", source=source)(_get)
    operation("arm", "PUT", path, versions=VERSIONS, action=f"{action}/write", source=source)(
        lambda call: _put(kind, call)
    )
    operation("arm", "DELETE", path, versions=VERSIONS, action=f"{action}/delete", source=source)(_delete)
    listing = path.rpartition("/")[0]
    operation("arm", "GET", listing, versions=VERSIONS, action=f"{action}/read", source=source)(
        lambda call: _list(kind, call)
    )


def _delete(call: Call) -> Answer:
    _workspace(call)
    return Answer(200 if store.delete(call.resource_id) else 204)


def _list(kind: str, call: Call) -> Answer | JsonObject:
    workspace = _onboarded(call)
    inside = call.path.rpartition("/")[0] if "/" in kind else workspace.id
    return paging.page(call, [each.document() for each in store.list(inside, f"{_PROVIDER}/{kind}")])


for _kind in _REQUIRED:
    _register(_kind)


@operation(
    "arm",
    "POST",
    f"{_PLACE}/incidents/{{incident}}/alerts",
    versions=VERSIONS,
    action=f"{_PROVIDER}/incidents/read",
    mutating=False,
    source="Microsoft Sentinel REST API, Incidents, List Alerts",
)
def list_alerts(call: Call) -> JsonObject:
    """The alerts of an incident: those that its creator named in private state."""
    _onboarded(call)
    incident = store.need(call.resource_id)
    return {"value": list(incident.extra.get("alerts", ()))}
