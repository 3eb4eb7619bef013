"""The flow log proof on raw tuples: never early, never from silence, and proved in the end."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firebreak.model import Finding
from providers.azure.network.flowproof import Isolation, Reading, Record, judge, parse, quiet_since, read

MAC, HOST, CANARY, PEER = "00-0D-3A-12-AB-CD", "10.42.1.10", "10.42.9.10", "10.42.1.20"
APPLIED = datetime(2026, 1, 1, 12, 0, 10, 400_000, tzinfo=UTC)
T = int(APPLIED.timestamp())
ISOLATION = Isolation(
    "nic", frozenset({HOST, "10.42.1.11"}), APPLIED, frozenset({CANARY}), 443, interval=60, continues=300
)
DUE = 420
"""Seconds after which a flow that goes on has been logged again, and that interval has been written."""


def line(  # noqa: PLR0913 - a tuple has that many fields
    state: str,
    at: float,
    *,
    source: str = PEER,
    destination: str = HOST,
    source_port: int = 40_000,
    port: int = 443,
    inbound: bool = True,
    packets: int = 0,
) -> str:
    direction = "I" if inbound else "O"
    counts = f"{packets},{packets * 60},{packets},{packets * 60}"
    stamp = int(at * 1000)
    return f"{stamp},{source},{destination},{source_port},{port},6,{direction},{state},NX,{counts}"


def record(text: str, logged: float) -> Record:
    parsed = parse(text, int(logged * 1000))
    assert parsed is not None
    return parsed


def denied(at: float, logged: float, **more: Any) -> Record:
    return record(line("D", at, source=CANARY, **more), logged)


def flow(state: str, at: float, logged: float = 0, packets: int = 3, port: int = 40_000) -> Record:
    return record(line(state, at, source_port=port, packets=packets), logged or at + 1)


def judged(*records: Record, unreadable: int = 0) -> Finding:
    return judge(Reading(records, unreadable), ISOLATION)


HISTORY = [flow("B", T - 3600, packets=0), flow("E", T - 3500)]
"""The log is old enough to have shown every flow that was established at isolation."""
SETTLED = [denied(T + 5, T + 50), denied(T + 65, T + 110)]


def undecided(finding: Finding) -> bool:
    return not finding.holds and finding.inconclusive


def refuted(finding: Finding) -> bool:
    return not finding.holds and not finding.inconclusive


def test_two_writes_of_our_canarys_denial_prove_isolation() -> None:
    assert judged(*HISTORY, *SETTLED).holds


def test_silence_proves_nothing() -> None:
    assert undecided(judged())
    assert undecided(judged(*HISTORY))
    others = [record(line("D", T + each, source=PEER), T + each + 50) for each in (5, 65, 125)]
    assert undecided(judged(*HISTORY, *others))


def test_one_write_is_not_enough_because_its_interval_may_be_incomplete() -> None:
    assert undecided(judged(*HISTORY, denied(T + 5, T + 50), denied(T + 9, T + 50)))


def test_a_young_log_waits_until_every_older_flow_must_have_been_logged() -> None:
    young = [denied(T - 5, T - 1)]
    assert undecided(judged(*young, *SETTLED))
    late = [denied(T + DUE + 1, T + DUE + 5), denied(T + DUE + 60, T + DUE + 70)]
    assert judged(*young, *SETTLED, *late).holds


def test_a_flow_that_began_after_isolation_refutes() -> None:
    verdict = judged(*HISTORY, *SETTLED, flow("B", T + 100, packets=0))
    assert refuted(verdict)
    assert "began after isolation" in verdict.observed
    assert verdict.detail["records"]


def test_a_flow_that_began_while_rules_took_effect_delays_until_it_is_over() -> None:
    early = flow("B", T + 20, packets=0)
    assert undecided(judged(*HISTORY, *SETTLED, early))
    over = [early, flow("E", T + 30)]
    assert judged(*HISTORY, *over, denied(T + 31, T + 50), denied(T + 65, T + 110)).holds
    assert undecided(judged(*HISTORY, *over, denied(T + 29, T + 50), denied(T + 30, T + 110)))


def test_an_established_flow_that_goes_on_is_never_taken_for_cut() -> None:
    begun = flow("B", T - 100, packets=0)
    assert undecided(judged(*HISTORY, begun, *SETTLED))
    first = [begun, flow("C", T + 200)]
    ambiguous = judged(*HISTORY, *first, denied(T + 210, T + 250), denied(T + 270, T + 310))
    assert undecided(ambiguous)
    assert "may still be open" in ambiguous.observed
    second = [*first, flow("C", T + 500)]
    verdict = judged(*HISTORY, *second, denied(T + 510, T + 550), denied(T + 570, T + 610))
    assert refuted(verdict)
    assert "went on after isolation" in verdict.observed


def test_an_established_flow_that_ended_lets_the_proof_begin_after_it() -> None:
    ended = [flow("B", T - 100, packets=0), flow("E", T + 3)]
    assert judged(*HISTORY, *ended, *SETTLED).holds
    assert undecided(judged(*HISTORY, *ended, denied(T + 2, T + 50), denied(T + 2.5, T + 110)))


def test_an_established_flow_that_falls_silent_is_cut_once_it_had_to_be_logged_again() -> None:
    begun, canary = flow("B", T - 100, packets=0), [denied(T + n, T + n + 5) for n in range(5, 310, 60)]
    assert undecided(judged(*HISTORY, begun, *canary))
    later = [denied(T - 100 + DUE + n, T - 100 + DUE + n + 5) for n in (60, 120)]
    assert judged(*HISTORY, begun, *canary, *later).holds


def test_a_record_without_packets_is_no_traffic() -> None:
    quiet = [flow("B", T - 100, packets=0), flow("C", T + 200, packets=0), flow("E", T + 400, packets=0)]
    assert judged(*HISTORY, *quiet, *SETTLED).holds
    assert undecided(judged(*HISTORY, *quiet[:2], *SETTLED))


def test_an_unknown_flow_that_is_counted_late_is_not_taken_for_old() -> None:
    assert refuted(judged(*HISTORY, *SETTLED, flow("C", T + 500)))
    assert undecided(judged(*HISTORY, *SETTLED, flow("C", T + 200)))


@pytest.mark.parametrize(
    "other",
    [
        line("D", T + 5, source=PEER),
        line("D", T + 5, source=CANARY, destination="10.42.1.99"),
        line("D", T + 5, source=CANARY, port=80),
        line("D", T + 5, source=CANARY, inbound=False),
        line("D", T - 5, source=CANARY),
    ],
)
def test_other_denials_are_not_our_canarys(other: str) -> None:
    assert undecided(judged(*HISTORY, record(other, T + 50), record(other, T + 110)))


def test_the_canary_counts_on_every_address_of_the_interface() -> None:
    second = [denied(T + n, T + n + 50, destination="10.42.1.11") for n in (5, 65)]
    assert judged(*HISTORY, *second).holds


def test_unreadable_records_leave_it_open() -> None:
    assert undecided(judged(*HISTORY, *SETTLED, unreadable=1))


def blob(*lines: str, mac: str = "000D3A12ABCD", version: int = 4, **more: Any) -> str:
    entry = {
        "time": "2026-01-01T12:01:00.0000000Z",
        "flowLogVersion": version,
        "macAddress": mac,
        "flowRecords": {"flows": [{"aclID": "a", "flowGroups": [{"rule": "r", "flowTuples": list(lines)}]}]},
    }
    return json.dumps({"records": [{**entry, **more}]})


def test_blobs_are_read_by_the_interfaces_mac() -> None:
    reading = read(blob(line("D", T + 5)), MAC)
    assert [(each.state, each.inbound, each.flow.port) for each in reading.records] == [("D", True, 443)]
    assert reading.records[0].logged == int(datetime(2026, 1, 1, 12, 1, tzinfo=UTC).timestamp() * 1000)
    assert read(blob(line("D", T + 5), mac="000D3A999999"), MAC) == Reading()


def test_the_public_sample_is_read() -> None:
    # Network Watcher, "Virtual network flow logs", section "Sample log record".
    sample = "1663146003606,10.0.0.6,52.239.184.180,23956,443,6,O,E,NX,3,767,2,1580"
    parsed = parse(sample, 0)
    assert parsed is not None
    assert (parsed.stamp, parsed.inbound, parsed.state, parsed.packets) == (1663146003606, False, "E", 5)


@pytest.mark.parametrize(
    ("text", "unreadable"),
    [
        ("", 1),
        ("[]", 1),
        ('{"records": [{}]}', 1),
        (blob(line("D", T), version=2), 1),
        (blob(line("D", T), time="yesterday"), 1),
        (blob("garbage", line("X", T), line("D", T).replace("443", "x"), line("D", T) + ",1"), 4),
        (blob(line("B", T).replace(",0,0,0,0", ",,,,")), 0),
    ],
)
def test_what_is_no_record_is_counted_and_never_taken_for_silence(text: str, unreadable: int) -> None:
    assert read(text, MAC).unreadable == unreadable


RECORDS = st.builds(
    lambda state, at, delay, port, packets, canary: record(
        line(
            state,
            T + at,
            source=CANARY if canary else PEER,
            source_port=port,
            packets=packets if state in "CE" else 0,
        ),
        T + at + delay,
    ),
    st.sampled_from("BCED"),
    st.integers(-700, 1200),
    st.integers(0, 120),
    st.integers(1, 4),
    st.integers(0, 3),
    st.booleans(),
)


@given(st.lists(RECORDS, max_size=14))
def test_a_proof_never_stands_beside_traffic_that_came_after_it(records: list[Record]) -> None:
    if not judge(Reading(tuple(records)), ISOLATION).holds:
        return
    quiet = quiet_since(records, ISOLATION)
    canary = [each.stamp for each in records if each.state == "D" and each.flow.source == CANARY]
    carried = [each for each in records if each.state == "B" or (each.state in "CE" and each.packets)]
    assert max(canary) >= quiet
    assert all(each.stamp < max(canary) for each in carried)
    assert not any(each.state == "B" and each.stamp >= ISOLATION.in_force for each in records)


@given(st.lists(RECORDS, max_size=14))
def test_a_proof_leaves_no_flow_that_may_still_be_open(records: list[Record]) -> None:
    if not judge(Reading(tuple(records)), ISOLATION).holds:
        return
    newest = max(each.logged for each in records)
    last = {each.flow: each for each in sorted(records, key=lambda each: each.stamp) if each.state != "D"}
    assert all(each.state == "E" or each.stamp + DUE * 1000 <= newest for each in last.values())


@given(st.lists(RECORDS.filter(lambda each: each.stamp < T * 1000), max_size=14))
def test_isolation_is_proved_in_the_end_whatever_came_before(records: list[Record]) -> None:
    late = [denied(T + DUE + n, T + DUE + n + 5) for n in (200, 260, 320)]
    assert judged(*HISTORY, *records, *late).holds


# Within one millisecond the order is the blob's: a flow begins before it ends.
@given(st.lists(RECORDS, max_size=10, unique_by=lambda each: each.stamp), st.integers(0, 9))
def test_the_verdict_does_not_depend_on_the_order_of_the_blobs(records: list[Record], turn: int) -> None:
    turned = records[turn:] + records[:turn]
    one, other = judge(Reading(tuple(records)), ISOLATION), judge(Reading(tuple(turned)), ISOLATION)
    assert (one.holds, one.inconclusive) == (other.holds, other.inconclusive)
