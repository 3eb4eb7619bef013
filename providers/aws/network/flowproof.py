"""Judge raw VPC flow log records: was our canary rejected, and has anything passed since isolation? Pure.

Record fields and their meaning: VPC user guide, "Flow log records". Three of its facts shape the rules:
``start`` may lie "up to 60 seconds" after the packet; records of one interface arrive one aggregation
interval after the other, so that a record of a later interval says that an earlier one is complete; and
``SKIPDATA`` says that records were lost.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from firebreak.errors import PermanentCloudError
from firebreak.isolation import Isolated
from firebreak.model import Finding

DEFAULT_FIELDS = (
    "version", "account-id", "interface-id", "srcaddr", "dstaddr", "srcport", "dstport", "protocol",
    "packets", "bytes", "start", "end", "action", "log-status",
)  # fmt: skip
NEEDED_FIELDS = frozenset(
    {"interface-id", "srcaddr", "dstaddr", "dstport", "start", "end", "action", "log-status"}
)
STAMP_DELAY_SECONDS = 60
"""How long after a packet its record may say that it began."""


@dataclass(frozen=True)
class Record:
    """One flow of one aggregation interval, with the time at which its record arrived."""

    interface: str
    source: str
    destination: str
    source_port: int
    port: int
    action: str
    status: str
    start: int
    end: int
    arrived: float
    line: str


@dataclass(frozen=True)
class Isolation(Isolated):
    """Whom the records must speak about."""

    @property
    def isolated_from(self) -> str:
        """The moment of isolation, as finely as the records tell time."""
        return _clock(self.began)

    @property
    def began(self) -> int:
        """The first whole second after isolation: records have no finer time."""
        return math.floor(self.applied_at.timestamp()) + 1


def fields_of(log_format: str) -> tuple[str, ...]:
    """Read a LogFormat; raises PermanentCloudError when a field that the proof needs is missing."""
    fields = tuple(re.findall(r"\$\{([a-z0-9-]+)\}", log_format)) or DEFAULT_FIELDS
    missing = NEEDED_FIELDS - set(fields)
    if missing:
        raise PermanentCloudError(
            f"the flow log's format lacks {', '.join(sorted(missing))}",
            remedy="add these fields to the flow log",
        )
    return fields


def parse(line: str, fields: Sequence[str], arrived: float) -> Record | None:
    """Read one raw record; None for a line that is none, which is never taken for silence."""
    parts = line.split()
    if len(parts) != len(fields):
        return None
    named = dict(zip(fields, parts, strict=True))
    try:
        return Record(
            interface=named["interface-id"],
            source=named["srcaddr"],
            destination=named["dstaddr"],
            source_port=_number(named.get("srcport", "-")),
            port=_number(named["dstport"]),
            action=named["action"],
            status=named["log-status"],
            start=int(named["start"]),
            end=int(named["end"]),
            arrived=arrived,
            line=line,
        )
    except ValueError:
        return None


def judge(records: Iterable[Record], isolation: Isolation, *, unreadable: int = 0) -> Finding:
    """Decide whether the records prove zero reachability since isolation."""
    ours = sorted(
        (each for each in records if each.interface == isolation.interface), key=lambda each: each.start
    )
    passed = [each for each in ours if each.action == "ACCEPT" and each.end >= isolation.began]
    late = [each for each in passed if each.start >= isolation.began + STAMP_DELAY_SECONDS]
    if late:
        return isolation.verdict("traffic passed after isolation", late, holds=False)
    skipped = [each for each in ours if each.status == "SKIPDATA" and each.end >= isolation.began]
    if skipped:
        return isolation.verdict("records were skipped (SKIPDATA)", skipped, inconclusive=True)
    if unreadable:
        return isolation.verdict(f"{unreadable} records could not be read", [], inconclusive=True)
    return _canary_verdict(ours, passed, isolation)


def quiet_since(passed: Sequence[Record], isolation: Isolation) -> int:
    """The second from which silence is required: isolation, or later where packets may still be old ones."""
    ambiguous = [each.end + 1 for each in passed]
    began_after = any(each.start >= isolation.began for each in passed)
    floor = isolation.began + STAMP_DELAY_SECONDS if began_after else isolation.began
    return max([floor, *ambiguous])


def _canary_verdict(ours: Sequence[Record], passed: Sequence[Record], isolation: Isolation) -> Finding:
    quiet = quiet_since(passed, isolation)
    rejected = [each for each in ours if _is_canary(each, isolation) and each.start >= quiet]
    if not rejected:
        text = "no record of the canary's rejection yet" + (
            "; traffic that may be older than isolation was recorded after it" if passed else ""
        )
        return isolation.verdict(text, passed, inconclusive=True)
    first = min(rejected, key=lambda each: (each.arrived, each.start))
    settled = any(each.start >= _surely_later(first, isolation) for each in ours)
    if not settled:
        text = "the canary was rejected; waiting for the next delivery, so that its interval is complete"
        return isolation.verdict(text, [first], inconclusive=True)
    text = f"{len(rejected)} canary packets rejected, nothing accepted since {_clock(quiet)}"
    return isolation.verdict(text, rejected[:3], holds=True)


def _surely_later(first: Record, isolation: Isolation) -> float:
    """The time from which a record cannot share its interval with ``first``, which had arrived by then."""
    return min(first.start + isolation.interval, first.arrived)


def _is_canary(record: Record, isolation: Isolation) -> bool:
    ours = isolation.is_canary(record.source, record.destination, record.port)
    return record.action == "REJECT" and ours


def _clock(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()


def _number(text: str) -> int:
    return -1 if text == "-" else int(text)
