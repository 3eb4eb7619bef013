from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.monitor.query import LogsQueryClient, LogsQueryStatus

from drills.sandbox.azure.client import AzureSandbox
from tests.drills.sandbox.azure.places import Bearer, Places


def asked(sandbox: AzureSandbox, workspace: str, query: str, principal: str = "") -> Any:
    client = LogsQueryClient(Bearer(sandbox, principal), retry_total=0)
    return client.query_workspace(workspace, query, timespan=timedelta(days=1))


def test_the_unmodified_sdk_reads_a_table(sandbox: AzureSandbox) -> None:
    rows = [{"Prompt": f"p{n}", "Tokens": n, "Cost": n / 2} for n in range(3)]
    _, workspace = Places.new(sandbox).workspace(Agent_CL=rows)
    result = asked(sandbox, workspace, "Agent_CL | where Tokens > 0 | order by TimeGenerated asc")
    assert result.status is LogsQueryStatus.SUCCESS
    (table,) = result.tables
    assert [list(row)[:1] for row in table.rows] == [[row["TimeGenerated"]] for row in table.rows]
    assert [row["Prompt"] for row in table.rows] == ["p1", "p2"]
    assert dict(zip(table.columns, table.columns_types, strict=True))["Tokens"] == "long"


def test_too_large_a_result_is_partial_and_says_so(sandbox: AzureSandbox) -> None:
    _, workspace = Places.new(sandbox).workspace(Agent_CL=[{"N": n} for n in range(10)])
    sandbox.configure(logs_most_records=4)
    result = asked(sandbox, workspace, "Agent_CL")
    assert result.status is LogsQueryStatus.PARTIAL
    assert len(result.partial_data[0].rows) == 4
    assert "exceed the set limit of 4 records" in str(result.partial_error.details)
    sandbox.configure(logs_most_records=500_000, logs_most_bytes=100)
    assert asked(sandbox, workspace, "Agent_CL").status is LogsQueryStatus.PARTIAL
    assert asked(sandbox, workspace, "Agent_CL | take 1").status is LogsQueryStatus.SUCCESS


def test_synthetic_tables_need_no_memory(sandbox: AzureSandbox) -> None:
    _, workspace = Places.new(sandbox).workspace()
    result = asked(sandbox, workspace, "Firebreak_100000MiB_CL | take 3")
    assert [row["Type"] for row in result.tables[0].rows] == ["Firebreak_100000MiB_CL"] * 3


@pytest.mark.parametrize("query", ["Missing_CL", "Agent_CL | summarize count()", "Agent_CL | where ("])
def test_bad_queries_are_refused(sandbox: AzureSandbox, query: str) -> None:
    _, workspace = Places.new(sandbox).workspace(Agent_CL=[{}])
    with pytest.raises(HttpResponseError, match="BadArgumentError"):
        asked(sandbox, workspace, query)


def test_rights_are_those_on_the_table(sandbox: AzureSandbox) -> None:
    places = Places.new(sandbox)
    place, workspace = places.workspace(Agent_CL=[{}], Other_CL=[{}])
    table = "Microsoft.OperationalInsights/workspaces/query/Agent_CL/read"
    definition = {
        "properties": {
            "roleName": "agent logs",
            "type": "CustomRole",
            "assignableScopes": [places.group],
            "permissions": [{"actions": ["Microsoft.OperationalInsights/workspaces/query/read", table]}],
        }
    }
    role = "00000000-0000-0000-0000-00000000ab01"
    path = f"{places.group}/providers/Microsoft.Authorization/roleDefinitions/{role}"
    sandbox.arm("PUT", path, "2022-04-01", definition)
    reader = places.identity((role, place))
    assert asked(sandbox, workspace, "Agent_CL", reader.object_id).status is LogsQueryStatus.SUCCESS
    with pytest.raises(HttpResponseError, match="InsufficientAccessError"):
        asked(sandbox, workspace, "Other_CL", reader.object_id)


def test_an_unknown_workspace(sandbox: AzureSandbox) -> None:
    with pytest.raises(HttpResponseError, match="WorkspaceNotFoundError"):
        asked(sandbox, "00000000-0000-0000-0000-000000000099", "Agent_CL")
