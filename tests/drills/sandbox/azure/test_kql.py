from __future__ import annotations

import pytest

from drills.sandbox.azure import syntheticlogs
from drills.sandbox.azure.kql import QueryError, Row, parse

HIDDEN = frozenset({"_ItemId"})
ROWS: list[Row] = [
    {
        "TimeGenerated": f"2026-01-01T00:00:0{n // 2}.0000000Z",
        "Level": n % 3,
        "Text": f"line {n}",
        "_ItemId": f"{n}",
    }
    for n in range(8)
]


def run(text: str) -> list[Row]:
    return list(parse(text).run(ROWS, HIDDEN))


def test_a_table_alone_shows_everything_but_hidden_columns() -> None:
    found = run("Agent_CL")
    assert [each["Text"] for each in found] == [f"line {n}" for n in range(8)]
    assert all("_ItemId" not in each for each in found)
    assert run("Agent_CL | extend _ItemId = _ItemId | take 1")[0]["_ItemId"] == "0"


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("TimeGenerated between (datetime(2026-01-01T00:00:01Z) .. datetime(2026-01-01T00:00:02Z))", "2345"),
        ("TimeGenerated > datetime(2026-01-01T00:00:02.5)", "67"),
        ("TimeGenerated > datetime(2026-01-01T00:00:03Z)", ""),
        ("TimeGenerated == datetime(2026-01-01 00:00:00)", "01"),
        ('TimeGenerated == datetime(2026-01-01T00:00:03Z) and strcmp(_ItemId, "6") > 0', "7"),
        ('Level == 0 or Text has "LINE 1"', "0136"),
        ('(Level == 0 or Level == 1) and Text != "line 0"', "13467"),
        ('Text in ("line 2", "line 5")', "25"),
        ('Text in~ ("LINE 2")', "2"),
        ("Missing > 3", ""),
    ],
)
def test_conditions(condition: str, expected: str) -> None:
    assert "".join(each["Text"][-1] for each in run(f"Agent_CL | where {condition}")) == expected


def test_order_take_project_and_count() -> None:
    assert [each["Text"] for each in run("T | order by Text desc | take 2")] == ["line 7", "line 6"]
    assert run("T | project Text, Where = Level | limit 1") == [{"Text": "line 0", "Where": 0}]
    assert run("T | where Level == 2 | count") == [{"Count": 2}]


@pytest.mark.parametrize(
    "text", ["", "| take 1", "T | summarize count()", "T | where", "T | where a ==", "T x", "T | take ?"]
)
def test_what_cannot_be_parsed_is_refused(text: str) -> None:
    with pytest.raises(QueryError):
        parse(text)


def test_synthetic_records_are_computed_from_any_time_on() -> None:
    assert syntheticlogs.records("Agent_CL", "") is None
    everything = list(syntheticlogs.records("Firebreak_1MiB_CL", "") or ())
    assert len(everything) == syntheticlogs.RECORDS_PER_MIB
    assert len({each["_ItemId"] for each in everything}) == len(everything)
    assert all(len(each["Message"]) == syntheticlogs.MESSAGE_BYTES for each in everything)
    assert len({each["TimeGenerated"] for each in everything}) == len(everything) // syntheticlogs.TOGETHER
    middle = everything[32]["TimeGenerated"]
    assert (
        next(iter(syntheticlogs.records("Firebreak_1MiB_CL", middle) or ()))["_ItemId"]
        == everything[32]["_ItemId"]
    )
