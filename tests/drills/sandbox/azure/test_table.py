"""The table of operations as the specification of what the sandbox plays."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from drills.sandbox.azure import modules
from drills.sandbox.azure.call import Call
from drills.sandbox.azure.table import Operation, Table, operation, specification, table

modules.load()
ROWS = [(host, row) for host in table.hosts for row in table.rows(host)]
ARM = [row for host, row in ROWS if host == "arm"]
DATED = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?")
ACTION = re.compile(r"Microsoft\.[A-Za-z]+(/[A-Za-z0-9.$*]+)+")
GRAPH = re.compile(r"[A-Za-z]+(\.[A-Za-z]+)+")

TO_ANYONE = {
    "GET /subscriptions": "lists what the caller can see, which may be nothing",
    "GET /subscriptions/{subscription}/providers/{namespace}/locations/{location}/operations/{name}": (
        "whoever began an operation may look at it"
    ),
    "GET /subscriptions/{subscription}/providers/{namespace}/locations/{location}/operationResults/{name}": (
        "whoever began an operation may have its result"
    ),
}
"""Operations of ARM that are open to every caller of the tenant, each with the reason."""
ANY_VERSION = set(TO_ANYONE) - {"GET /subscriptions"}
"""Where an operation began, its version is repeated, whichever it was."""


def named(row: Operation) -> str:
    return f"{row.host} {row.method} {row.template} {dict(row.query) or ''}".strip()


def test_there_are_operations_of_every_kind_of_host() -> None:
    assert {"arm", "login", "graph", "blob", "acr", "vault", "logs", "cosmos", "servicebus"} <= set(
        table.hosts
    )
    assert len(ARM) > 300


def test_every_operation_names_a_public_source() -> None:
    # a page's title is more than one word, and begins like one
    assert [named(row) for _, row in ROWS if not re.match(r"[A-Z]\w+ \S+", row.source)] == []


def test_every_operation_of_arm_needs_a_permission_or_says_why_not() -> None:
    without = {f"{row.method} {row.template}" for row in ARM if not row.action}
    assert without == set(TO_ANYONE)
    assert [named(row) for row in ARM if row.action and not ACTION.fullmatch(row.action)] == []
    assert [named(row) for row in ARM if not row.authenticated] == []


def test_every_operation_of_arm_names_its_versions() -> None:
    wrong = [
        named(row)
        for row in ARM
        if f"{row.method} {row.template}" not in ANY_VERSION
        and not (row.versions and all(DATED.fullmatch(each) for each in row.versions))
    ]
    assert wrong == []


def test_every_operation_of_graph_names_application_permissions() -> None:
    rows = [row for host, row in ROWS if host == "graph"]
    assert rows
    assert [named(row) for row in rows if not row.graph] == []
    assert [named(row) for row in rows if not all(GRAPH.fullmatch(each) for each in row.graph)] == []


def test_an_operation_without_a_source_or_without_versions_is_refused() -> None:
    with pytest.raises(ValueError, match="name the public page"):
        operation("arm", "GET", "/x", versions=("2024-01-01",))
    with pytest.raises(ValueError, match="name the api-versions"):
        operation("arm", "GET", "/x", source="Some Page")


def nothing(_call: Call) -> None:
    return None


def test_a_row_says_what_is_needed_and_escapes_what_would_break_the_table() -> None:
    small = Table()
    pattern = re.compile("x")
    small.add(
        Operation("arm", "PUT", "/a/{b}", pattern, nothing, "A Page", ("2024-01-01",), "Microsoft.A/b/c")
    )
    small.add(
        Operation("blob", "GET", "/c", re.compile("y"), nothing, "A|B", query={"comp": "list", "x": None})
    )
    small.add(
        Operation("vault", "GET", "/k", re.compile("z"), nothing, "B C", action="Microsoft.K/v", data=True)
    )
    small.add(Operation("graph", "GET", "/g", re.compile("g"), nothing, "B C", graph=("A.Read", "A.Write")))
    small.add(Operation("login", "GET", "/l", re.compile("l"), nothing, "B C", authenticated=False))
    lines = specification(small).splitlines()
    assert "| PUT | `/a/{b}` | 2024-01-01 | Microsoft.A/b/c | A Page |" in lines
    assert "| GET | `/c?comp=list&x` | - | any caller of the tenant | A&#124;B |" in lines
    assert "| GET | `/k` | - | Microsoft.K/v (data) | B C |" in lines
    assert "| GET | `/g` | - | A.Read or A.Write | B C |" in lines
    assert "| GET | `/l` | - | judged by the operation | B C |" in lines
    assert "| all | 5 |" in lines


def test_printed_the_table_lists_every_operation_once() -> None:
    command = [sys.executable, "-W", "error", "-m", "drills.sandbox.azure.table"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed == specification(table)
    listed = [line for line in printed.splitlines() if re.match(r"\| [A-Z*]+ \| `", line)]
    assert len(listed) == len(ROWS)
    assert len(set(sections(printed))) == len(ROWS)
    for _, row in ROWS:
        assert f"`{row.template}" in printed
        assert row.source in printed


def sections(printed: str) -> list[str]:
    """Each listed operation with the host under whose title it stands."""
    host, found = "", []
    for line in printed.splitlines():
        if line.startswith("## "):
            host = line
        elif re.match(r"\| [A-Z*]+ \| `", line):
            found.append(f"{host} {line}")
    return found
