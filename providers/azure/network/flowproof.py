"""Judge raw VNet flow log tuples: was our canary denied, and has anything begun or gone on since? Pure.

Tuple fields and their meaning: Network Watcher, "Virtual network flow logs". Three of its facts shape the
rules: a flow is logged when it begins (``B``), when it ends (``E``) and, while it goes on, every five minutes
(``C``), so that an established flow may be silent in the log for that long; packet counts are those since the
flow's tuple before; and a network interface's records are written at one interval after the other, so that a
later record says that an earlier interval is complete.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from firebreak.isolation import Isolated
from firebreak.model import Finding

BEGAN, CONTINUES, ENDED, DENIED = "B", "C", "E", "D"
STATES = frozenset({BEGAN, CONTINUES, ENDED, DENIED})
SUPPORTED_VERSION = 4
FIELDS = 13
GRACE_SECONDS = 60
"""How long after Resource Manager's success the hosts may still work by the old rules."""
MILLISECONDS = 1000


class Flow(NamedTuple):
    """The five-tuple by which a flow's records are known as one flow's."""

    source: str
    destination: str
    source_port: int
    port: int
    protocol: int


@dataclass(frozen=True)
class Record:
    """One flow tuple, with the time at which its interval was logged. Times are milliseconds."""

    stamp: int
    flow: Flow
    inbound: bool
    state: str
    packets: int
    """Both ways, since the flow's record before."""
    logged: int
    line: str


@dataclass(frozen=True)
class Reading:
    """What the blobs of one network interface hold, and how much of it could not be read."""

    records: tuple[Record, ...] = ()
    unreadable: int = 0

    def __add__(self, other: Reading) -> Reading:
        """Both readings together."""
        return Reading(self.records + other.records, self.unreadable + other.unreadable)


@dataclass(frozen=True)
class Isolation(Isolated):
    """Whom the records must speak about."""

    continues: int
    """Seconds after which a flow that goes on is logged again."""

    @property
    def isolated_from(self) -> str:
        """The moment of isolation, as finely as the records tell time."""
        return _clock(self.began)

    @property
    def began(self) -> int:
        """The moment of isolation."""
        return int(self.applied_at.timestamp() * MILLISECONDS) + 1

    @property
    def in_force(self) -> int:
        """The moment from which no host works by the old rules any more."""
        return self.began + GRACE_SECONDS * MILLISECONDS

    @property
    def seen_again(self) -> int:
        """How long after a record a flow that goes on must have been logged again."""
        return (self.continues + 2 * self.interval) * MILLISECONDS


def read(text: str, mac: str) -> Reading:
    """Read one ``PT1H.json``; what is no record of the agreed layout is counted, never skipped."""
    try:
        entries = list(json.loads(text)["records"])
    except (ValueError, KeyError, TypeError):
        return Reading(unreadable=1)
    whole = Reading()
    for entry in entries:
        whole += _entry(entry, mac)
    return whole


def _entry(entry: Any, mac: str) -> Reading:
    try:
        if plain_mac(entry["macAddress"]) != plain_mac(mac):
            return Reading()
        if entry["flowLogVersion"] != SUPPORTED_VERSION:
            return Reading(unreadable=1)
        logged = _milliseconds(entry["time"])
        lines = [
            line
            for flows in entry["flowRecords"]["flows"]
            for group in flows["flowGroups"]
            for line in group["flowTuples"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        return Reading(unreadable=1)
    parsed = [parse(line, logged) for line in lines]
    records = tuple(each for each in parsed if each is not None)
    return Reading(records, len(parsed) - len(records))


def parse(line: str, logged: int) -> Record | None:
    """Read one flow tuple; None for what is none."""
    parts = line.split(",")
    if len(parts) != FIELDS or parts[7] not in STATES or parts[6] not in ("I", "O"):
        return None
    try:
        return Record(
            stamp=int(parts[0]),
            flow=Flow(parts[1], parts[2], int(parts[3]), int(parts[4]), int(parts[5])),
            inbound=parts[6] == "I",
            state=parts[7],
            packets=sum(int(parts[n]) for n in (9, 11) if parts[n]),
            logged=logged,
            line=line,
        )
    except ValueError:
        return None


def plain_mac(text: str) -> str:
    """Write a MAC address as the flow log does: capital hex digits alone."""
    return text.replace("-", "").replace(":", "").upper()


def judge(reading: Reading, isolation: Isolation) -> Finding:
    """Decide whether the records prove that nothing has reached or left the interface since isolation."""
    records = sorted(reading.records, key=lambda each: each.stamp)
    late = [each for each in records if _surely_passed(each, records, isolation)]
    if late:
        return isolation.verdict(_late_text(late), late, holds=False)
    if reading.unreadable:
        text = f"{reading.unreadable} records could not be read"
        return isolation.verdict(text, [], inconclusive=True)
    return _canary_verdict(records, isolation)


def quiet_since(records: Sequence[Record], isolation: Isolation) -> int:
    """From when silence is required: isolation, or after the last packets that may still be older."""
    return max([isolation.began, *(each.stamp + 1 for each in _passed(records, isolation))])


def settled_until(records: Sequence[Record]) -> int:
    """The last time of logging that a later one has followed, so that it is complete; 0 before that."""
    times = sorted({each.logged for each in records})
    return times[-2] if len(times) > 1 else 0


def _passed(records: Sequence[Record], isolation: Isolation) -> list[Record]:
    return [each for each in records if each.stamp >= isolation.began and _carries(each)]


def _carries(record: Record) -> bool:
    return record.state == BEGAN or (record.state in (CONTINUES, ENDED) and record.packets > 0)


def _surely_passed(record: Record, records: Sequence[Record], isolation: Isolation) -> bool:
    """Whether all that the record counts was sent after the rules were in force."""
    if not _carries(record) or record.stamp < isolation.in_force:
        return False
    return record.state == BEGAN or _counted_from(record, records, isolation) >= isolation.in_force


def _counted_from(record: Record, records: Sequence[Record], isolation: Isolation) -> int:
    """The stamp of the flow's record before, or the earliest that it can have had."""
    earlier = [each for each in records if each.flow == record.flow and each.stamp < record.stamp]
    last = max(earlier, key=lambda each: each.stamp, default=None)
    known = last is not None and last.state in (BEGAN, CONTINUES)
    return last.stamp if last and known else record.stamp - isolation.seen_again


def _late_text(late: Sequence[Record]) -> str:
    begun = any(each.state == BEGAN for each in late)
    return "a flow began after isolation" if begun else "an established flow went on after isolation"


def _canary_verdict(records: Sequence[Record], isolation: Isolation) -> Finding:
    quiet, settled = quiet_since(records, isolation), settled_until(records)
    denied = [each for each in records if _is_canary(each, isolation) and each.stamp >= quiet]
    if not denied:
        return isolation.verdict("no record of the canary's denial yet", [], inconclusive=True)
    if all(each.logged > settled for each in denied):
        text = "the canary was denied; waiting for the next write, so that its interval is complete"
        return isolation.verdict(text, denied[:1], inconclusive=True)
    open_flows = [each for each in _last_of_flows(records) if _may_be_open(each, settled, isolation)]
    if open_flows:
        text = f"{len(open_flows)} flows that were established before may still be open"
        return isolation.verdict(text, open_flows, inconclusive=True)
    if settled < _all_seen_by(records, isolation):
        text = "the log is too young to have shown every flow that was established before"
        return isolation.verdict(text, denied[:1], inconclusive=True)
    text = f"{len(denied)} canary packets denied; nothing began or went on since {_clock(quiet)}"
    return isolation.verdict(text, denied[:3], holds=True)


def _last_of_flows(records: Sequence[Record]) -> list[Record]:
    return list({each.flow: each for each in records if each.state != DENIED}.values())


def _may_be_open(last: Record, settled: int, isolation: Isolation) -> bool:
    """Whether a flow's last record leaves room for packets that are not logged yet."""
    return last.state != ENDED and settled < last.stamp + isolation.seen_again


def _all_seen_by(records: Sequence[Record], isolation: Isolation) -> int:
    """By when a flow that is older than the log itself must have been logged, were it still open."""
    return min(each.logged for each in records) + isolation.seen_again


def _is_canary(record: Record, isolation: Isolation) -> bool:
    return (
        record.state == DENIED
        and record.inbound
        and isolation.is_canary(record.flow.source, record.flow.destination, record.flow.port)
    )


def _milliseconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * MILLISECONDS)


def _clock(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / MILLISECONDS, UTC).isoformat(timespec="milliseconds")
