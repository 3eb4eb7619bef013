"""Play Log Analytics: workspaces in ARM and the query API, which answers with a part when a result is too
large.

Azure Monitor Log Analytics API: "Query"; limits: Azure Monitor "Service limits", "Query API" (500,000
records, about 100 MB); rights: "Manage table-level read access in a Log Analytics workspace".
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any, Final

from drills.sandbox.azure import clock, errors, syntheticlogs
from drills.sandbox.azure.call import Answer, Call, JsonObject
from drills.sandbox.azure.control import ControlError, ControlRequest, route
from drills.sandbox.azure.errors import ArmError
from drills.sandbox.azure.generic import resource_type
from drills.sandbox.azure.kql import QueryError, Row, parse
from drills.sandbox.azure.state import define, settings
from drills.sandbox.azure.store import Item, store
from drills.sandbox.azure.table import operation

TYPE: Final = "Microsoft.OperationalInsights/workspaces"
VERSIONS: Final = ("2022-10-01", "2023-09-01", "2025-02-01", "2025-07-01")
_HIDDEN: Final = frozenset({"_ItemId"})
"""Columns that a result shows only when they are named ("Standard columns in Azure Monitor Logs")."""
define("logs_most_records", 500_000)
define("logs_most_bytes", 100_000_000)


def _named(_call: Call, item: Item, before: Item | None) -> None:
    """Give a workspace its own id, by which the query API knows it."""
    known = before.properties.get("customerId") if before else None
    item.properties["customerId"] = known or item.properties.get("customerId") or str(uuid.uuid4())


resource_type(TYPE, versions=VERSIONS, source="Log Analytics REST API, Workspaces", on_put=_named)


@errors.envelope("logs")
def _worded(_call: Call, error: ArmError) -> Answer:
    """Errors of the query API ("Azure Monitor Log Analytics API errors")."""
    code, message = error.code, error.message
    if code == "AuthorizationFailed":
        code = "InsufficientAccessError"
        message = "The provided credentials have insufficient access to perform the requested operation"
    body = {"error": {"message": message, "code": code, "correlationId": str(uuid.uuid4())}}
    return Answer(error.status, body, error.headers)


@operation(
    "logs",
    "POST",
    "/v1/workspaces/{workspace}/query",
    mutating=False,
    source="Azure Monitor Log Analytics API, Query",
)
def query(call: Call) -> JsonObject:
    """Run a query over one table."""
    workspace = _workspace(call.params["workspace"])
    try:
        parsed = parse(str(call.body.get("query", "")))
    except QueryError as error:
        raise ArmError(
            400, "BadArgumentError", f"The request had some invalid properties: {error}"
        ) from error
    call.require(f"{TYPE}/query/read", workspace.id)
    call.require(f"{TYPE}/query/{parsed.table}/read", workspace.id)
    return _result(parsed.run(_rows(workspace, parsed.table, parsed.since), _HIDDEN))


@route("POST", "/logs/append")
def append(request: ControlRequest) -> JsonObject:
    """Add ``rows`` to a ``table`` of a ``workspace`` (ARM id); what has no time was generated now."""
    workspace = store.get(request.text("workspace"))
    rows = request.body.get("rows")
    if workspace is None or not isinstance(rows, list):
        raise ControlError("name a workspace and a list of rows")
    table = workspace.extra.setdefault("tables", {}).setdefault(request.text("table"), [])
    for row in rows:
        table.append({"TimeGenerated": clock.stamp(), **row, "_ItemId": str(uuid.uuid4())})
    table.sort(key=lambda row: (row["TimeGenerated"], row["_ItemId"]))
    return {"rows": len(table)}


def _workspace(workspace_id: str) -> Item:
    for each in store.list(resource_type=TYPE):
        if str(each.properties.get("customerId", "")).lower() == workspace_id.lower():
            return each
    raise ArmError(404, "WorkspaceNotFoundError", "The workspace could not be found")


def _rows(workspace: Item, table: str, since: str) -> Iterator[Row]:
    computed = syntheticlogs.records(table, since)
    if computed is not None:
        return computed
    tables: dict[str, list[Row]] = workspace.extra.get("tables", {})
    if table not in tables:
        message = f"Failed to resolve table or column expression named '{table}'"
        raise ArmError(400, "BadArgumentError", message)
    return iter(tables[table])


def _result(rows: Iterator[Row]) -> JsonObject:
    """One table; with an error beside it when not every record is in it."""
    kept: list[Row] = []
    size, limit = 0, ""
    for row in rows:
        size += sum(map(len, map(str, row.values())))
        if len(kept) >= settings["logs_most_records"]:
            limit = f"{settings['logs_most_records']:.0f} records"
        elif size > settings["logs_most_bytes"]:
            limit = f"{settings['logs_most_bytes']:.0f} bytes"
        if limit:
            break
        kept.append(row)
    names = list(dict.fromkeys(name for row in kept for name in row)) or ["TimeGenerated"]
    table = {
        "name": "PrimaryResult",
        "columns": [{"name": name, "type": _type(name, kept)} for name in names],
        "rows": [[row.get(name) for name in names] for row in kept],
    }
    return {"tables": [table], **(_partial(limit) if limit else {})}


def _partial(limit: str) -> JsonObject:
    inner = {"code": "-2133196797", "message": f"The results of this query exceed the set limit of {limit}."}
    detail = {"code": "EngineError", "message": "Something went wrong processing your query on the server."}
    message = "There were some errors when processing your query."
    return {
        "error": {"code": "PartialError", "message": message, "details": [{**detail, "innererror": inner}]}
    }


def _type(name: str, rows: list[Row]) -> str:
    value: Any = next((row[name] for row in rows if row.get(name) is not None), "")
    if name == "TimeGenerated":
        return "datetime"
    kinds = {bool: "bool", int: "long", float: "real"}
    return kinds.get(type(value), "string" if isinstance(value, str) else "dynamic")
