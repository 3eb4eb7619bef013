"""Value types of every simulated network: packets, connections, and what interfaces saw of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Generic, TypeVar

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network
InterfaceT = TypeVar("InterfaceT")

IPV4 = 4
ANY_PROTOCOL = -1
ICMP = 1
TCP = 6
UDP = 17
PROTOCOL_NUMBERS = {
    "-1": ANY_PROTOCOL,
    "all": ANY_PROTOCOL,
    "icmp": ICMP,
    "tcp": TCP,
    "udp": UDP,
    "icmpv6": 58,
}
PORTED = frozenset({TCP, UDP})
LAST_PORT = 65_535


def protocol_number(value: str | int | None) -> int:
    """Read a protocol as a name, a number, or -1 for every protocol."""
    text = str(value if value is not None else ANY_PROTOCOL).lower()
    return PROTOCOL_NUMBERS[text] if text in PROTOCOL_NUMBERS else int(text)


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet's five-tuple."""

    protocol: int
    source: IPAddress
    source_port: int
    destination: IPAddress
    destination_port: int

    def reply(self) -> Packet:
        """Return the five-tuple of the answer to this packet."""
        return Packet(self.protocol, self.destination, self.destination_port, self.source, self.source_port)


@dataclass(frozen=True, slots=True)
class Observation(Generic[InterfaceT]):
    """What one interface saw of one packet: the raw material of a flow log record."""

    interface: InterfaceT
    packet: Packet
    size: int
    accepted: bool
    at: float


@dataclass(slots=True)
class Side:
    """One end of a connection. `interface_id` is None for a host on the internet."""

    interface_id: str | None
    packet: Packet
    initiator: bool
    public_address: IPAddress | None = None
    tracked: bool = False
    always_tracked: bool = False
    """Tracked whatever the rules say, where a cloud has such flows."""


@dataclass(slots=True)
class Connection:
    """A flow that was admitted, and what the network remembers about it."""

    id: str
    initiator: Side
    responder: Side
    via_internet: bool
    routable: bool = True
    inspected: bool = False
    opened_at: float = field(default=0.0)

    def sides(self) -> tuple[Side, Side]:
        """Return both ends, initiator first."""
        return self.initiator, self.responder
