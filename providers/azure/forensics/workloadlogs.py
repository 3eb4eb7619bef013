"""Preserve what the workload logged: tables of a Log Analytics workspace, whole and in order.

Raw REST rather than the SDK: its times have a microsecond's precision where the service has a tenth of
that, and a page that starts behind a rounded time repeats or loses records.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import httpx

from firebreak.capture import Page
from firebreak.declarations import of_kind
from firebreak.errors import PermanentCloudError, TransientCloudError
from firebreak.measure import Permission, now, on_target
from firebreak.model import Cloud, JsonObject, Phase, Target, Workload
from providers.azure.answers import RestError, translated
from providers.azure.existence import absent, existing
from providers.azure.forensics.capture import AzureCapture
from providers.azure.resources.declared import declared
from providers.azure.resources.evidence import LogAnalytics
from providers.azure.rest import body_of

_READ = (
    "Microsoft.OperationalInsights/workspaces/read",
    "Microsoft.OperationalInsights/workspaces/query/read",
)
WORKSPACE, WORKSPACE_VERSION = "the Log Analytics workspace", "2023-09-01"
"""What it is called, and the api-version of ``Microsoft.OperationalInsights/workspaces``."""
_TABLE = re.compile(r"^[A-Za-z][A-Za-z0-9_]{0,62}$")
_TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,7})?Z$")
_ITEM = re.compile(r"^[\w.:/+=-]{1,256}$")
_PAGE_BYTES = 1024 * 1024
"""What a page is aimed at. The service's own limits are 500,000 records or 100 MB (Azure Monitor, "Service
limits", "Query API"), behind which it answers with a part of the result and an error."""
_FIRST_ROWS, _MOST_ROWS = 50, 10_000
_WAIT_SECONDS = 25
_UNRESOLVED = "BadArgumentError"  # Azure Monitor Log Analytics API, "Errors": the query cannot be resolved


@dataclass(frozen=True)
class Cursor:
    """The last record that was read, and how many to ask for next."""

    until: str
    time: str = ""
    item: str = ""
    rows: int = _FIRST_ROWS
    done: bool = False


class CaptureWorkloadLogs(
    AzureCapture, cloud=Cloud.AZURE, phase=Phase.FORENSIC_CAPTURE, name="capture-workload-logs"
):
    """Preserve the workload's inference, agent and application logs of the window, one table after the other.

    A record arrives some minutes after it was made (Azure Monitor, "Log data ingestion time"); what is
    missing now stays in the workspace.
    """

    permissions = on_target(*_READ, "Microsoft.OperationalInsights/workspaces/query/*/read")
    kind = "workload log"
    acquired_by = "Log Analytics query"

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """Every table of every declared workspace."""
        return [
            Target(
                kind=each.kind,
                ref=f"{each.ref}/tables/{table}",
                account=workload.account,
                region=workload.region,
                parent=each.ref,
            )
            for each in of_kind(workload.evidence_sources, LogAnalytics)
            for table in each.tables
        ]

    @classmethod
    def arns(cls, target: Target) -> tuple[str, ...]:
        """The workspace: rights on a table are part of the action (Azure Monitor, "Manage table access")."""
        return (target.parent,)

    @classmethod
    def needed(cls, target: Target) -> tuple[Permission, ...]:
        """The right to query, and to query this table."""
        return on_target(*_READ, f"Microsoft.OperationalInsights/workspaces/query/{_table(target)}/read")

    def discover(self, target: Target) -> list[Target]:
        """The table; raises PermanentCloudError where there is none, or the workspace is another or none."""
        found = existing(self.access, target.parent, WORKSPACE_VERSION, WORKSPACE)
        actual, told = str(found["properties"]["customerId"]), self._declared(target).workspace_id
        if actual.lower() != told.lower():
            raise PermanentCloudError(
                f"the inventory says workspace_id {told}, Azure says {actual}",
                resource=target.parent,
                remedy="correct the inventory",
            )
        self._require_table(target)
        return [target]

    def pages(self, target: Target, position: JsonObject) -> Iterator[Page]:
        """Read the window in order of time, each page behind the last record of the one before."""
        cursor = Cursor(**position) if position else Cursor(until=_utc(now()))
        while not cursor.done:
            records, cursor = self._page(target, cursor)
            yield Page(records, vars(cursor).copy())

    def _page(self, target: Target, cursor: Cursor) -> tuple[list[JsonObject], Cursor]:
        """One complete page; a partial answer is never taken for one, fewer records are asked for instead."""
        while True:
            answer, size = self._asked(target, cursor)
            if "error" not in answer:
                return _read(answer, size, cursor)
            if cursor.rows == 1:
                raise TransientCloudError(
                    f"only a part of the answer came: {_reason(answer)}", resource=target.ref
                )
            cursor = replace(cursor, rows=max(1, cursor.rows // 4))

    def _asked(self, target: Target, cursor: Cursor) -> tuple[JsonObject, int]:
        with translated(target.ref):
            answer = self._answer(target, self._query(target, cursor))
            return body_of(answer), len(answer.content)

    def _require_table(self, target: Target) -> None:
        """Ask for none of its records: a name that the workspace cannot resolve is a bad argument."""
        try:
            with translated(target.ref):
                self._answer(target, f"{_table(target)} | take 0")
        except PermanentCloudError as error:
            cause = error.__cause__
            if not isinstance(cause, RestError) or cause.code != _UNRESOLVED:
                raise
            raise absent(target.ref, f"the table {_table(target)}") from error

    def _answer(self, target: Target, query: str) -> httpx.Response:
        logs = self.access.endpoints
        return self.access.data(logs.logs, logs.logs_scope).request(
            "POST",
            f"v1/workspaces/{self._declared(target).workspace_id}/query",
            headers={"Prefer": f"wait={_WAIT_SECONDS}"},
            json={"query": query},
        )

    def _declared(self, target: Target) -> LogAnalytics:
        workspace = declared(self.run.workload, LogAnalytics, target.parent)
        if workspace is None:
            raise PermanentCloudError("the inventory does not declare this workspace", resource=target.parent)
        return workspace

    def _query(self, target: Target, cursor: Cursor) -> str:
        """Order by time and, within one time, by the record's own id, so that every record has one place.

        Azure Monitor, "Standard columns in Azure Monitor Logs": TimeGenerated, _ItemId.
        """
        since = cursor.time or _utc(self.run.window_started_at)
        behind = (
            f"| where TimeGenerated > datetime({cursor.time})"
            f' or (TimeGenerated == datetime({cursor.time}) and strcmp(_ItemId, "{cursor.item}") > 0) '
            if cursor.time
            else ""
        )
        return (
            f"{_table(target)} "
            f"| where TimeGenerated between (datetime({since}) .. datetime({cursor.until})) "
            f"{behind}"
            f"| extend _ItemId = _ItemId "
            f"| order by TimeGenerated asc, _ItemId asc "
            f"| take {cursor.rows}"
        )


def _table(target: Target) -> str:
    name = target.ref.rpartition("/")[2]
    if not _TABLE.match(name):
        raise PermanentCloudError(f"{name!r} is not a table's name", resource=target.ref)
    return name


def _read(answer: JsonObject, size: int, cursor: Cursor) -> tuple[list[JsonObject], Cursor]:
    table = answer["tables"][0]
    names = [each["name"] for each in table["columns"]]
    records = [dict(zip(names, row, strict=True)) for row in table["rows"]]
    if not records:
        return [], replace(cursor, done=True)
    last = records[-1]
    return records, replace(
        cursor,
        time=_checked(_TIME, last["TimeGenerated"]),
        item=_checked(_ITEM, last["_ItemId"]),
        rows=_next_rows(len(records), size, cursor.rows),
    )


def _next_rows(count: int, size: int, asked: int) -> int:
    """As many records as make a page, by the size of those just read; growing slowly."""
    fitting = count * _PAGE_BYTES // max(size, 1)
    return max(1, min(fitting, 4 * asked, _MOST_ROWS))


def _checked(form: re.Pattern[str], value: Any) -> str:
    """A value that goes into the next query: logs are written by the workload, so it must have its form."""
    if not isinstance(value, str) or not form.match(value):
        raise PermanentCloudError(f"a log record carries {value!r} where a time or an id belongs")
    return value


def _reason(answer: JsonObject) -> str:
    error = answer["error"]
    return str(error.get("message") or error.get("code")) if isinstance(error, dict) else str(error)


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
