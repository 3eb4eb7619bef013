"""Turn what interfaces saw into the tuples of VNet flow logs: begun, continuing, ended, denied.

Source: "Virtual network flow logs": a flow is logged when it begins and when it ends, every five minutes
while it goes on, and when it is denied; counts are those since the flow's record before. "What is Azure
Virtual Network: flow timeout": an idle flow is forgotten after four minutes unless the network says longer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from drills.sandbox.windows import Windows, closing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from drills.sandbox.packets import Packet

INTERVALS_TO_CONTINUE = 5
INTERVALS_TO_FORGET = 4


@dataclass(frozen=True, slots=True)
class Seen:
    """Where a flow was seen, and which rule of which group decided about it."""

    nic_id: str
    inbound: bool
    group_guid: str
    rule: str


@dataclass(frozen=True, slots=True)
class Tuple:
    """One line of a flow log."""

    seen: Seen
    text: str


@dataclass(slots=True)
class Flow:
    """An admitted flow at one interface, and what has happened since its last record."""

    seen: Seen
    packet: Packet
    logged_at: float
    active_at: float
    sent: int = 0
    sent_bytes: int = 0
    received: int = 0
    received_bytes: int = 0

    def count(self, size: int, at: float, *, forward: bool) -> None:
        """Count one more packet."""
        self.active_at = at
        if forward:
            self.sent, self.sent_bytes = self.sent + 1, self.sent_bytes + size
        else:
            self.received, self.received_bytes = self.received + 1, self.received_bytes + size

    def logged(self, at: float) -> None:
        """Start counting anew."""
        self.logged_at = at
        self.sent = self.sent_bytes = self.received = self.received_bytes = 0


@dataclass(slots=True)
class Interval:
    """What one interface has to write for one interval."""

    nic_id: str
    closes_at: float
    tuples: list[Tuple] = field(default_factory=list)


class FlowTable:
    """The flows of every interface, and the intervals that are not written yet."""

    def __init__(self, interval_seconds: Callable[[], float]) -> None:
        """Write in intervals of this length, asked for each time."""
        self._seconds = interval_seconds
        self._flows: dict[tuple[str, Packet], Flow] = {}
        self._intervals: Windows[Interval] = Windows()
        self._denied: set[tuple[str, Packet, float]] = set()

    def reset(self) -> None:
        """Forget every flow."""
        self._flows.clear()
        self._intervals.clear()
        self._denied.clear()

    def began(self, seen: Seen, packet: Packet, at: float) -> None:
        """Note that an interface admitted a flow."""
        self._flows[seen.nic_id, packet] = Flow(seen, packet, at, at)
        self._log(seen, packet, "B", at, "0,0,0,0")

    def passed(self, nic_id: str, packet: Packet, size: int, at: float, *, forward: bool) -> None:
        """Count a packet of an admitted flow; `packet` is the flow's first one."""
        flow = self._flows.get((nic_id, packet))
        if flow is not None:
            flow.count(size, at, forward=forward)

    def denied(self, seen: Seen, packet: Packet, at: float) -> None:
        """Note that an interface dropped a packet; a flow's are told once an interval."""
        key = (seen.nic_id, packet, closing(at, self._seconds()))
        if key not in self._denied:
            self._denied.add(key)
            self._log(seen, packet, "D", at, "0,0,0,0")

    def ended(self, nic_id: str, packet: Packet, at: float) -> None:
        """Note that an interface's flow is over."""
        flow = self._flows.pop((nic_id, packet), None)
        if flow is not None:
            self._log(flow.seen, packet, "E", at, _counts(flow))

    def advance(self, now: float, delay: float) -> Iterator[Interval]:
        """Log what goes on or is forgotten by now, and take out the intervals that are due."""
        seconds = self._seconds()
        for (nic_id, packet), flow in list(self._flows.items()):
            if now - flow.active_at >= INTERVALS_TO_FORGET * seconds:
                self.ended(nic_id, packet, now)
            elif now - flow.logged_at >= INTERVALS_TO_CONTINUE * seconds:
                self._log(flow.seen, packet, "C", now, _counts(flow))
                flow.logged(now)
        due = self._intervals.due(now, delay)
        self._denied = {each for each in self._denied if each[2] > now}
        yield from due

    def _log(self, seen: Seen, packet: Packet, state: str, at: float, counts: str) -> None:
        closes_at = closing(at, self._seconds())
        interval = self._intervals.open(seen.nic_id, closes_at, lambda: Interval(seen.nic_id, closes_at))
        text = (
            f"{int(at * 1000)},{packet.source},{packet.destination},{packet.source_port},"
            f"{packet.destination_port},{packet.protocol},{'I' if seen.inbound else 'O'},{state},NX,{counts}"
        )
        interval.tuples.append(Tuple(seen, text))


def _counts(flow: Flow) -> str:
    return f"{flow.sent},{flow.sent_bytes},{flow.received},{flow.received_bytes}"
