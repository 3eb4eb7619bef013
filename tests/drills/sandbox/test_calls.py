"""The log of a sandbox's calls: it is bounded, and says so to whoever asks for more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from drills.sandbox.aws.calls import RecordedCall
from drills.sandbox.aws.stubs.cloudtrail import Event, History
from drills.sandbox.azure.activitylog import ActivityLog
from drills.sandbox.calls import DroppedError, Recorder
from drills.sandbox.control import PREFIX, Control


@dataclass(frozen=True)
class Call:
    """As little as any recorded call has."""

    seq: int
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


def test_the_event_history_keeps_the_newest() -> None:
    kept, place = History(kept=3), ("222222222222", "eu-central-1")
    for seq in range(1, 6):
        facts = dict.fromkeys(("principal_arn", "access_key_id_suffix", "operation"), "")
        call = RecordedCall(
            seq=seq,
            at="2026-11-23T00:00:00+00:00",
            account=place[0],
            region=place[1],
            service="ec2",
            mutating=True,
            status=200,
            error_code=None,
            resources=[],
            params={},
            **facts,
        )
        kept.add(Event(call, "", None))
    assert [event.call.seq for event in kept.newest_first(place, ("", ""), None)] == [5, 4, 3]
    assert [event.call.seq for event in kept.newest_first(place, ("", ""), 5)] == [4, 3]


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
