"""Turn what interfaces saw into VPC flow log records and deliver them where the account's flow logs say.

Record layout: VPC user guide, "Flow log records" (version 2, default format). Windows are aligned to the
aggregation interval; a window is published `delivery_seconds` after it closed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from drills.sandbox.windows import Windows, closing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from drills.sandbox.aws.packets import Interface
    from drills.sandbox.packets import Observation, Packet

DEFAULT_FORMAT = (
    "${version} ${account-id} ${interface-id} ${srcaddr} ${dstaddr} ${srcport} ${dstport} ${protocol} "
    "${packets} ${bytes} ${start} ${end} ${action} ${log-status}"
)
ACCEPT = "ACCEPT"
REJECT = "REJECT"
# Real windows never are shorter than 60 s; where a test shortens them, idle interfaces need not follow.
SHORTEST_IDLE_SECONDS = 10.0
_FIELD = re.compile(r"\$\{([a-z0-9-]+)\}")
_FlowKey = tuple["Packet", str]


@dataclass(frozen=True, slots=True)
class FlowLog:
    """One flow log configuration that covers an interface."""

    id: str
    account_id: str
    region: str
    traffic_type: str
    destination_type: str
    log_group: str
    destination_arn: str
    format: str

    def wants(self, action: str) -> bool:
        """Tell whether the configuration records this action."""
        return self.traffic_type in ("ALL", action)


@dataclass(frozen=True, slots=True)
class Record:
    """One rendered flow log record with the start of its window in epoch seconds."""

    line: str
    start: int


class Destinations(Protocol):
    """Where flow logs are configured, and where their records go."""

    def flow_logs(self, interface: Interface) -> Iterable[FlowLog]:
        """Return the configurations that cover the interface."""

    def logged_interfaces(self) -> Iterable[Interface]:
        """Return every interface that at least one configuration covers."""

    def deliver(self, flow_log: FlowLog, interface: Interface, records: list[Record], at: float) -> None:
        """Publish records of one interface."""


@dataclass(slots=True)
class Flow:
    """Packets of one five-tuple and action within one window."""

    first_at: float
    last_at: float
    packets: int = 0
    size: int = 0

    def add(self, size: int, at: float) -> None:
        """Count one more packet."""
        self.packets += 1
        self.size += size
        self.last_at = at


@dataclass(slots=True)
class Window:
    """What one interface saw between two multiples of the aggregation interval."""

    interface: Interface
    flows: dict[_FlowKey, Flow] = field(default_factory=dict)


class FlowLogs:
    """Collects observations into windows and publishes the windows that are due."""

    def __init__(
        self, destinations: Destinations, aggregation_seconds: float, delivery_seconds: float
    ) -> None:
        """Publish to `destinations`; both times may be changed between calls."""
        self.aggregation_seconds = aggregation_seconds
        self.delivery_seconds = delivery_seconds
        self._destinations = destinations
        self._windows: Windows[Window] = Windows()
        self._idle_since = 0.0
        self._seen: set[str] = set()

    def reset(self) -> None:
        """Forget what was not published yet."""
        self._windows.clear()
        self._seen.clear()
        self._idle_since = 0.0

    def observe(self, observation: Observation[Interface]) -> None:
        """Count one packet in its window."""
        interface, closes_at = observation.interface, closing(observation.at, self.aggregation_seconds)
        window = self._windows.open(interface.id, closes_at, lambda: Window(interface))
        action = ACCEPT if observation.accepted else REJECT
        flow = window.flows.setdefault((observation.packet, action), Flow(observation.at, observation.at))
        flow.add(observation.size, observation.at)
        self._seen.add(interface.id)

    def advance(self, now: float) -> int:
        """Publish every window that is due and return how many records were delivered."""
        due = self._windows.due(now, self.delivery_seconds)
        return sum(self._publish(window, now) for window in due) + self._publish_idle(now)

    def _publish(self, window: Window, now: float) -> int:
        return sum(
            self._deliver(flow_log, window.interface, list(_records(flow_log, window)), now)
            for flow_log in self._destinations.flow_logs(window.interface)
        )

    def _deliver(self, flow_log: FlowLog, interface: Interface, records: list[Record], now: float) -> int:
        if records:
            self._destinations.deliver(flow_log, interface, records, now)
        return len(records)

    def _publish_idle(self, now: float) -> int:
        """Publish NODATA for interfaces that saw nothing since the last time."""
        started, length = self._idle_since or now, max(self.aggregation_seconds, SHORTEST_IDLE_SECONDS)
        self._idle_since = started
        if now < started + length + self.delivery_seconds:
            return 0
        seen, self._seen, self._idle_since = self._seen, set(), now
        idle = [item for item in self._destinations.logged_interfaces() if item.id not in seen]
        return sum(self._publish_nodata(item, started, now) for item in idle)

    def _publish_nodata(self, interface: Interface, started: float, now: float) -> int:
        return sum(
            self._deliver(flow_log, interface, [nodata(flow_log, interface, started, now)], now)
            for flow_log in self._destinations.flow_logs(interface)
        )


def nodata(flow_log: FlowLog, interface: Interface, start: float, end: float) -> Record:
    """Render the record of a window without traffic."""
    values = _identity(interface) | {"start": str(int(start)), "end": str(int(end)), "log-status": "NODATA"}
    return Record(_render(flow_log.format, values), int(start))


def _records(flow_log: FlowLog, window: Window) -> Iterator[Record]:
    for (packet, action), flow in window.flows.items():
        if flow_log.wants(action):
            yield Record(
                _render(flow_log.format, _values(window.interface, packet, action, flow)), int(flow.first_at)
            )


def _identity(interface: Interface) -> dict[str, str]:
    return {
        "version": "2",
        "account-id": interface.account_id,
        "interface-id": interface.id,
        "vpc-id": interface.vpc_id,
        "subnet-id": interface.subnet_id,
        "region": interface.region,
    }


def _values(interface: Interface, packet: Packet, action: str, flow: Flow) -> dict[str, str]:
    return _identity(interface) | {
        "srcaddr": str(packet.source),
        "dstaddr": str(packet.destination),
        "srcport": str(packet.source_port),
        "dstport": str(packet.destination_port),
        "protocol": str(packet.protocol),
        "packets": str(flow.packets),
        "bytes": str(flow.size),
        "start": str(int(flow.first_at)),
        "end": str(int(flow.last_at)),
        "action": action,
        "log-status": "OK",
    }


def _render(layout: str, values: dict[str, str]) -> str:
    # "-" stands for a field without a value (VPC user guide, "Flow log records").
    return _FIELD.sub(lambda match: values.get(match.group(1), "-"), layout)
