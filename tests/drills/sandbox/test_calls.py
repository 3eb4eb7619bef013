"""The log of a sandbox's calls: it is bounded, and says so to whoever asks for more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from drills.sandbox.aws.calls import RecordedCall
from drills.sandbox.aws.stubs.cloudtrail import EVERYTHING, Event, History
from drills.sandbox.azure.activitylog import ActivityLog
from drills.sandbox.calls import DroppedError, Recorder
from drills.sandbox.control import PREFIX, Control


@dataclass(frozen=True)
class Call:
    """As little as any recorded call has."""

    seq: int
    service: str = "ec2"
    mutating: bool = True


@pytest.fixture
def recorder() -> Recorder[Call, str]:
    made: Recorder[Call, str] = Recorder(kept=3)
    for _ in range(5):
        made.add("", Call)
    return made


@pytest.fixture
def control(recorder: Recorder[Call, str]) -> Control:
    served = Control()
    recorder.serve(served.route, lambda _: "")
    return served


def event(seq: int, *resources: str) -> Event:
    facts = dict.fromkeys(("principal_arn", "access_key_id_suffix", "operation"), "")
    call = RecordedCall(
        seq=seq,
        at="2026-11-23T00:00:00+00:00",
        account="222222222222",
        region="eu-central-1",
        service="ec2",
        mutating=True,
        status=200,
        error_code=None,
        resources=list(resources),
        params={},
        **facts,
    )
    return Event(call, "", None)


def test_the_event_history_keeps_the_newest() -> None:
    kept, events = History(kept=3), [event(seq) for seq in range(1, 6)]
    for each in events:
        kept.add(each)
    place = events[0].place
    assert list(kept.newest_first(place, EVERYTHING, None)) == events[:1:-1]
    assert list(kept.newest_first(place, EVERYTHING, 5)) == [events[3], events[2]]
    assert list(kept.newest_first(place, ("EventId", events[2].id), None)) == [events[2]]


def test_an_event_that_is_not_kept_is_found_by_nothing() -> None:
    kept, dropped = History(kept=1), event(1, "arn:aws:ec2:::instance/i-1")
    kept.add(dropped)
    kept.add(event(2))
    for attribute in dropped.attributes():
        assert dropped not in kept.newest_first(dropped.place, attribute, None), attribute


def test_an_event_of_two_resources_of_one_name_is_found_once() -> None:
    kept, made = History(), event(1, "arn:aws:ec2:::instance/one", "arn:aws:ec2:::volume/one")
    kept.add(made)
    assert list(kept.newest_first(made.place, ("ResourceName", "one"), None)) == [made]


def test_the_activity_log_keeps_the_newest() -> None:
    kept = ActivityLog(kept=2)
    for number in range(4):
        kept.append("One", {"number": number, "eventTimestamp": f"2026-11-23T00:00:0{number}.000000Z"})
    assert [entry["number"] for entry in kept.entries("one")] == [2, 3]


def asked(control: Control, query: str) -> tuple[int, dict[str, Any]]:
    status, document = control.serve("GET", f"{PREFIX}/calls", query, b"")
    return status, dict(document)


def test_the_newest_calls_are_kept_and_numbered_on(recorder: Recorder[Call, str]) -> None:
    assert [call.seq for call in recorder.since()] == [3, 4, 5]
    assert [call.seq for call in recorder.since(2)] == [3, 4, 5]
    assert [call.seq for call in recorder.since(4)] == [5]
    assert recorder.since(5) == recorder.since(9) == []


def test_calls_are_counted_by_service_however_many_are_kept(
    recorder: Recorder[Call, str], control: Control
) -> None:
    recorder.add("", lambda seq: Call(seq, "iam"))
    assert len(recorder.since()) == 3
    assert control.serve("GET", f"{PREFIX}/calls/counts", "", b"") == (
        200,
        {"counts": {"ec2": 5, "iam": 1}},
    )
    recorder.clear()
    assert recorder.counts() == {}


def test_a_listener_hears_of_every_call(recorder: Recorder[Call, str]) -> None:
    heard: list[int] = []
    recorder.listen(lambda call, _: heard.append(call.seq))
    for _ in range(5):
        recorder.add("", Call)
    assert heard == [6, 7, 8, 9, 10]


@pytest.mark.parametrize("since", [0, 1])
def test_who_asks_for_dropped_calls_is_told(
    recorder: Recorder[Call, str], control: Control, since: int
) -> None:
    with pytest.raises(DroppedError, match=f"calls {since + 1} to 2"):
        recorder.since(since)
    status, document = asked(control, f"since={since}")
    assert status == 410
    assert f"calls {since + 1} to 2 are not kept" in str(document)


def test_who_names_no_mark_gets_what_is_kept(control: Control) -> None:
    status, document = asked(control, "")
    assert (status, [call["seq"] for call in document["calls"]], document["next"]) == (200, [3, 4, 5], 5)
    assert asked(control, "since=5") == (200, {"calls": [], "next": 5})


def test_after_a_reset_numbers_begin_anew(recorder: Recorder[Call, str], control: Control) -> None:
    recorder.clear()
    assert asked(control, "") == (200, {"calls": [], "next": 0})
    recorder.add("", Call)
    assert [call.seq for call in recorder.since(0)] == [1]
