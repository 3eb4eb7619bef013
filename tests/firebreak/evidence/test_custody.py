"""The chain notices every change, and says where."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firebreak.evidence.custody import Action, Actor, CustodyEvent, Head, check, extend, genesis, inspect

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ACTOR = Actor(who="alex@example.org", human=True)


def event(number: int, **fields: object) -> CustodyEvent:
    return CustodyEvent.model_validate(
        {"event_id": f"e-{number}", "action": Action.STORED, "actor": ACTOR, "at": AT, **fields}
    )


def chain(length: int) -> tuple[list[str], Head]:
    lines, head = extend(genesis("INC-1"), (event(n, summary=f"fact {n}") for n in range(length)))
    return list(lines), head


def test_an_untouched_chain_has_no_problem() -> None:
    lines, head = chain(6)
    assert check(lines, "INC-1", head) == []
    assert head.seq == 6


def test_extending_in_parts_gives_the_same_chain() -> None:
    lines, head = chain(6)
    first, middle = extend(genesis("INC-1"), (event(n, summary=f"fact {n}") for n in range(2)))
    rest, end = extend(middle, (event(n, summary=f"fact {n}") for n in range(2, 6)))
    assert ([*first, *rest], end) == (lines, head)


def test_an_event_reported_again_by_a_retry_is_taken_once() -> None:
    lines, head = extend(genesis("INC-1"), [event(1), event(2), event(1)])
    assert head.seq == 2
    assert check(lines, "INC-1", head) == []


def test_the_last_entry_that_says_what_an_exhibit_held_counts() -> None:
    said = {"evidence_ids": ("a", "b")}
    events = [event(1, **said, sha256=("1" * 64, "2" * 64)), event(2, **said)]
    lines, head = extend(genesis("INC-1"), [*events, event(3, evidence_ids=("b",), sha256=("3" * 64,))])
    assert inspect(lines, "INC-1", head).digests == {"a": "1" * 64, "b": "3" * 64}


def test_an_entry_has_a_digest_for_each_exhibit_or_for_none() -> None:
    with pytest.raises(ValueError, match="one SHA-256 for each"):
        event(1, evidence_ids=("a", "b"), sha256=("1" * 64,))


def test_two_different_events_under_one_id_are_found() -> None:
    lines, head = extend(genesis("INC-1"), [event(1), event(1, summary="another")])
    assert check(lines, "INC-1", head) == ["event id e-1 stands 2 times"]


def test_the_chain_of_another_incident_does_not_fit() -> None:
    lines, head = chain(2)
    assert check(lines, "INC-2", head) == ["line 1, seq 1: its link does not match the entry before it"]


@given(position=st.integers(0, 5), other=st.integers(0, 5))
def test_any_two_swapped_lines_are_named(position: int, other: int) -> None:
    lines, head = chain(6)
    lines[position], lines[other] = lines[other], lines[position]
    problems = check(lines, "INC-1", head)
    if position == other:
        assert problems == []
    else:
        later, earlier = max(position, other), min(position, other)
        assert any(f"line {earlier + 1}, seq {later + 1}: gap or reordered" in p for p in problems)


@given(position=st.integers(0, 5))
def test_any_dropped_line_is_named(position: int) -> None:
    lines, head = chain(6)
    del lines[position]
    assert any(f"seq {position + 1} missing" in p for p in check(lines, "INC-1", head))


@given(count=st.integers(1, 6))
def test_a_dropped_tail_is_named(count: int) -> None:
    lines, head = chain(6)
    (problem,) = check(lines[:-count], "INC-1", head)
    assert "the tail was dropped" in problem
    assert f"{6}" in problem


def test_an_added_tail_is_named() -> None:
    lines, head = chain(3)
    more, _ = extend(head, [event(9)])
    assert check([*lines, *more], "INC-1", head) == ["added at the end: seq 4 beyond the declared head"]


@given(position=st.integers(0, 5), field=st.sampled_from(["summary", "purpose", "event_id", "on_behalf_of"]))
def test_any_edited_field_is_named(position: int, field: str) -> None:
    lines, head = chain(6)
    body = json.loads(lines[position])
    body[field] = "edited"
    lines[position] = json.dumps(body, sort_keys=True, separators=(",", ":"))
    (problem,) = check(lines, "INC-1", head)
    assert problem == f"line {position + 1}, seq {position + 1}: edited, its hash is not that of its content"


def test_an_edited_entry_with_a_new_hash_breaks_the_link_behind_it() -> None:
    lines, head = chain(4)
    forged, _ = extend(Head(seq=1, hash=json.loads(lines[0])["this_hash"]), [event(1, summary="forged")])
    assert check([lines[0], *forged, *lines[2:]], "INC-1", head) == [
        "line 3, seq 3: its link does not match the entry before it"
    ]


def test_another_spelling_of_the_same_entry_is_an_edit() -> None:
    lines, head = chain(2)
    lines[1] = json.dumps(json.loads(lines[1]), indent=0).replace("\n", "")
    assert check(lines, "INC-1", head) == ["line 2, seq 2: edited, not in canonical form"]


@pytest.mark.parametrize("rubbish", ["", "{}", "null", "\x1b[2J", "[" * 10_000, '{"seq": "1"}'])
def test_a_line_that_is_no_entry_is_named_once(rubbish: str) -> None:
    lines, head = chain(3)
    lines[1] = rubbish
    (problem,) = check(lines, "INC-1", head)
    assert problem.startswith("line 2, in the place of seq 2: not an entry")
    assert problem.isprintable()


def test_without_a_declared_head_nothing_is_called_whole() -> None:
    lines, _ = chain(2)
    assert "dropped tail could not be noticed" in check(lines, "INC-1", None)[0]


def test_inspection_collects_the_exhibits_that_custody_names() -> None:
    lines, head = extend(genesis("INC-1"), [event(1, evidence_ids=("a", "b")), event(2, evidence_ids=("c",))])
    assert inspect(lines, "INC-1", head).evidence_ids == {"a", "b", "c"}
