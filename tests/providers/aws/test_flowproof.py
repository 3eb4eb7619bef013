"""The flow log proof on raw records: never early, never from silence, and proved in the end."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firebreak.errors import PermanentCloudError
from firebreak.model import Finding
from providers.aws.network.flowproof import DEFAULT_FIELDS, Isolation, Record, fields_of, judge, parse

ENI, HOST, CANARY, PEER = "eni-0123456789abcdef0", "10.0.1.10", "10.0.1.50", "10.0.1.77"
APPLIED = datetime(2026, 1, 1, 12, 0, 10, 400_000, tzinfo=UTC)
T = int(APPLIED.timestamp()) + 1
ISOLATION = Isolation(ENI, frozenset({HOST, "fd00::10"}), APPLIED, frozenset({CANARY}), 443, interval=60)


def line(  # noqa: PLR0913 - a record has that many fields
    action: str,
    start: int,
    end: int | None = None,
    *,
    source: str = CANARY,
    destination: str = HOST,
    port: int = 443,
    status: str = "OK",
    eni: str = ENI,
) -> str:
    last = start if end is None else end
    return f"2 222222222222 {eni} {source} {destination} 40000 {port} 6 1 60 {start} {last} {action} {status}"


def record(text: str, arrived: float) -> Record:
    parsed = parse(text, DEFAULT_FIELDS, arrived)
    assert parsed is not None
    return parsed


def reject(start: int, arrived: float) -> Record:
    return record(line("REJECT", start), arrived)


def accept(start: int, end: int, arrived: float) -> Record:
    return record(line("ACCEPT", start, end, source=PEER), arrived)


SETTLED = [reject(T + 5, T + 90), reject(T + 65, T + 150)]


def undecided(finding: Finding) -> bool:
    return not finding.holds and finding.inconclusive


def test_two_deliveries_of_our_canarys_rejection_prove_isolation() -> None:
    assert judge(SETTLED, ISOLATION).holds


def test_silence_proves_nothing() -> None:
    assert undecided(judge([], ISOLATION))
    nodata = f"2 222222222222 {ENI} - - - - - - - {T} {T + 60} - NODATA"
    assert undecided(judge([record(nodata, T + 90.0), record(nodata, T + 150.0)], ISOLATION))


def test_one_delivery_is_not_enough_because_its_interval_may_be_incomplete() -> None:
    assert undecided(
        judge([reject(T + 5, T + 90), reject(T + 10, T + 90.2), reject(T + 50, T + 95)], ISOLATION)
    )


def test_a_packet_sent_after_the_first_delivery_is_of_a_later_interval() -> None:
    quick = [reject(T + 1, T + 3), reject(T + 4, T + 6)]
    assert judge(quick, ISOLATION).holds
    assert undecided(judge([quick[0], reject(T + 2, T + 6)], ISOLATION))


def test_a_record_delivered_late_is_seen_before_the_verdict() -> None:
    first = [reject(T + 5, T + 90)]
    assert undecided(judge(first, ISOLATION))
    late = accept(T + 70, T + 75, T + 100)
    verdict = judge([*first, reject(T + 65, T + 150), late], ISOLATION)
    assert not verdict.holds
    assert not verdict.inconclusive


def test_an_accept_after_isolation_refutes() -> None:
    verdict = judge([*SETTLED, accept(T + 100, T + 110, T + 150)], ISOLATION)
    assert not verdict.holds
    assert not verdict.inconclusive
    assert "traffic passed" in verdict.observed
    assert verdict.detail["records"]


def test_an_accept_stamped_within_a_minute_delays_the_proof_until_after_it() -> None:
    stamped = accept(T + 3, T + 20, T + 90)
    assert undecided(judge([stamped, *SETTLED[:1], reject(T + 40, T + 120)], ISOLATION))
    later = [reject(T + 70, T + 150), reject(T + 130, T + 210)]
    assert judge([stamped, *later], ISOLATION).holds


def test_a_flow_that_spans_isolation_delays_the_proof_until_after_its_last_packet() -> None:
    spanning = accept(T - 30, T + 30, T + 60)
    assert undecided(judge([spanning, reject(T + 5, T + 60), reject(T + 29, T + 120)], ISOLATION))
    assert judge([spanning, reject(T + 31, T + 60), reject(T + 95, T + 120)], ISOLATION).holds


def test_accepts_before_isolation_are_history() -> None:
    assert judge([accept(T - 600, T - 1, T - 500), *SETTLED], ISOLATION).holds


@pytest.mark.parametrize(
    "other",
    [
        line("REJECT", T + 5, source=PEER),
        line("REJECT", T + 5, destination="10.0.1.11"),
        line("REJECT", T + 5, port=80),
        line("REJECT", T + 5, eni="eni-0fedcba9876543210"),
        line("REJECT", T - 5),
    ],
)
def test_other_rejections_are_not_our_canarys(other: str) -> None:
    assert undecided(judge([record(other, T + 90), record(other, T + 150)], ISOLATION))


def test_skipped_records_after_isolation_leave_it_open() -> None:
    skipped = f"2 222222222222 {ENI} - - - - - - - {T} {T + 60} - SKIPDATA"
    assert undecided(judge([*SETTLED, record(skipped, T + 90)], ISOLATION))
    before = f"2 222222222222 {ENI} - - - - - - - {T - 120} {T - 60} - SKIPDATA"
    assert judge([*SETTLED, record(before, T - 50)], ISOLATION).holds


def test_unreadable_records_leave_it_open() -> None:
    assert undecided(judge(SETTLED, ISOLATION, unreadable=1))


def test_ipv6_traffic_counts() -> None:
    passed = record(line("ACCEPT", T + 90, source="fd00::99", destination="fd00::10"), T + 150)
    assert not judge([*SETTLED, passed], ISOLATION).holds


def test_custom_formats_are_read_by_their_own_order() -> None:
    fields = fields_of(
        "${interface-id} ${action} ${start} ${end} ${srcaddr} ${dstaddr} ${dstport} ${log-status}"
    )
    parsed = parse(f"{ENI} REJECT {T} {T + 1} {CANARY} {HOST} 443 OK", fields, T + 60.0)
    assert parsed is not None
    assert (parsed.action, parsed.source, parsed.port, parsed.source_port) == ("REJECT", CANARY, 443, -1)
    with pytest.raises(PermanentCloudError, match="action, log-status"):
        fields_of("${interface-id} ${start} ${end} ${srcaddr} ${dstaddr} ${dstport}")


@pytest.mark.parametrize(
    "text", ["", "garbage", line("REJECT", T) + " more", line("REJECT", T).replace(str(T), "x")]
)
def test_lines_that_are_no_records_are_told_apart(text: str) -> None:
    assert parse(text, DEFAULT_FIELDS, 0.0) is None


RECORDS = st.builds(
    lambda action, start, length, source, arrived: record(
        line(action, start, start + length, source=source), float(arrived)
    ),
    st.sampled_from(["ACCEPT", "REJECT"]),
    st.integers(T - 700, T + 700),
    st.integers(0, 60),
    st.sampled_from([CANARY, PEER]),
    st.integers(T - 600, T + 900),
)


@given(st.lists(RECORDS, max_size=12))
def test_a_proof_never_stands_beside_traffic_that_began_after_it(records: list[Record]) -> None:
    if not judge(records, ISOLATION).holds:
        return
    rejected = [each.start for each in records if each.action == "REJECT" and each.source == CANARY]
    passed = [each for each in records if each.action == "ACCEPT" and each.end >= T]
    assert rejected
    assert all(each.end < max(rejected) for each in passed)
    assert not any(each.start >= T + 60 for each in passed)


@given(st.lists(RECORDS.filter(lambda each: each.end < T), max_size=12))
def test_isolation_is_proved_in_the_end_whatever_came_before(records: list[Record]) -> None:
    assert judge([*records, *SETTLED], ISOLATION).holds
