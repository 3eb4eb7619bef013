"""Walk packets through security groups, routes, firewalls and addresses; know which flows survive what.

Every packet is judged by the resources as they are at that moment, except where Azure remembers the flow:

- Security groups are stateful: "New or updated rules apply exclusively to new connections" ("Azure network
  security groups overview"). The same is assumed of another group that takes the old one's place. A flow is
  judged anew only where `flushConnection` is enabled, and at the moment of enabling ("NetworkSecurityGroup"
  of the SDK reference: "Initial enablement will trigger re-evaluation").
- Routes are looked up anew for established flows too: the host's virtual switch reconciles its flows when its
  policy changes ("VFP: A Virtual Switch Platform for Host SDN in the Public Cloud", NSDI '17, section on flow
  reconciliation); a next hop of None drops ("Virtual network traffic routing").
- An Azure Firewall drops existing sessions that a changed rule denies ("Azure Firewall rule processing
  logic").
- A flow through a public address ends with the address ("Public IP addresses", dissociation).
- The host's own addresses 168.63.129.16 and 169.254.169.254 take no route at all.
"""

from __future__ import annotations

import secrets
from ipaddress import ip_address
from typing import TYPE_CHECKING

from drills.sandbox.azure import clock
from drills.sandbox.azure.network import routes, topology
from drills.sandbox.azure.network.flows import Seen
from drills.sandbox.azure.network.groups import INBOUND, OUTBOUND, Verdict
from drills.sandbox.azure.network.tags import PRIVATE, inside, is_platform
from drills.sandbox.connections import INTERNET, INTERNET_HOST, Connections, UnknownSourceError
from drills.sandbox.packets import Connection, Packet, Side

if TYPE_CHECKING:
    from collections.abc import Collection

    from drills.sandbox.azure.network.firewalls import Firewall
    from drills.sandbox.azure.network.flows import FlowTable
    from drills.sandbox.azure.network.topology import Interface
    from drills.sandbox.connections import Dial
    from drills.sandbox.packets import IPAddress

UNGUARDED = Verdict(allowed=True, rule="unspecified")


class Network(Connections):
    """The simulator: opens connections, sends packets on them, and tells a flow table what interfaces saw."""

    def __init__(self, flows: FlowTable) -> None:
        """Tell `flows` what interfaces saw."""
        super().__init__(clock.seconds)
        self._flows = flows

    def reset(self) -> None:
        """Forget every connection and flow."""
        super().reset()
        self._flows.reset()

    def close(self, connection_id: str) -> None:
        """End a connection in an orderly way: both ends forget the flow."""
        with self._lock:
            connection = self._connections.pop(connection_id, None)
            for side in connection.sides() if connection else ():
                if side.interface_id:
                    self._flows.ended(side.interface_id, side.packet, self._clock())

    def reevaluate(self, nic_ids: Collection[str]) -> None:
        """Judge the established flows of these interfaces by the rules of now, and end the denied ones."""
        wanted = {each.lower() for each in nic_ids}
        with self._lock:
            for connection in self._open_connections:
                for side in connection.sides():
                    if side.tracked and (side.interface_id or "").lower() in wanted:
                        self._reevaluate(side)

    def _reevaluate(self, side: Side) -> None:
        interface = topology.interface(str(side.interface_id))
        if interface is not None and not judge(interface, side.packet, outbound=side.initiator).allowed:
            side.tracked = False
            self._flows.ended(interface.id, side.packet, self._clock())

    def _prepare(self, dial: Dial) -> Connection:
        target = ip_address(dial.destination)
        origin = _origin(dial.source)
        owner = None if is_platform(target) else _owner(target, origin)
        private = owner is not None and target in owner.addresses and origin is not None
        via_internet = not private and not is_platform(target)
        source = _source(origin, dial.source_address)
        sent = Packet(dial.protocol, source, dial.source_port, target, dial.port)
        arrived = _translated(sent, origin, owner) if via_internet else sent
        return Connection(
            id=f"flow-{secrets.token_hex(8)}",
            initiator=_side(origin, sent, origin.leaves_as(source) if origin and via_internet else None),
            responder=_side(owner, arrived, target if via_internet else None, initiator=False),
            via_internet=via_internet,
            routable=_routable(origin, owner, target),
            opened_at=self._clock(),
        )

    def _pass(self, connection: Connection, *, forward: bool, size: int) -> str:
        first, second = connection.sides() if forward else connection.sides()[::-1]
        sender, receiver = _now(first), _now(second)
        return (
            _missing(first, sender)
            or self._leave(connection, first, sender, forward=forward, size=size)
            or _addressed(connection, second, receiver)
            or _missing(second, receiver)
            or self._enter(second, receiver, forward=forward, size=size)
        )

    def _leave(
        self, connection: Connection, side: Side, interface: Interface | None, *, forward: bool, size: int
    ) -> str:
        if interface is None:
            return "" if connection.routable else "unreachable"
        reason = self._guarded(side, interface, forward=forward)
        if reason:
            return reason
        reason = _forwarded(connection, side, interface, forward=forward)
        if not reason:
            self._flows.passed(interface.id, side.packet, size, self._clock(), forward=forward)
        return reason

    def _enter(self, side: Side, interface: Interface | None, *, forward: bool, size: int) -> str:
        if interface is None:
            return ""
        reason = self._guarded(side, interface, forward=forward)
        if not reason:
            self._flows.passed(interface.id, side.packet, size, self._clock(), forward=forward)
        return reason

    def _guarded(self, side: Side, interface: Interface, *, forward: bool) -> str:
        """Apply the security groups to a flow that is not remembered; remember it when they allow it."""
        if side.tracked:
            return ""
        verdict, at = judge(interface, side.packet, outbound=side.initiator), self._clock()
        seen = Seen(interface.id, not side.initiator, verdict.group_guid, verdict.rule)
        if not verdict.allowed:
            packet = side.packet if forward else side.packet.reply()
            self._flows.denied(seen, packet, at)
            return "security-group-outbound" if side.initiator else "security-group-inbound"
        side.tracked = True
        self._flows.began(seen, side.packet, at)
        return ""


def judge(interface: Interface, packet: Packet, *, outbound: bool) -> Verdict:
    """Ask the interface's and the subnet's group: both must allow; inbound the subnet's comes first."""
    direction = OUTBOUND if outbound else INBOUND
    groups = interface.groups if outbound else interface.groups[::-1]
    verdict = UNGUARDED
    for group in groups:
        verdict = group.judge(packet, direction, interface.view)
        if not verdict.allowed:
            return verdict
    return verdict


def _origin(source: str) -> Interface | None:
    if source == INTERNET:
        return None
    origin = topology.interface(source)
    if origin is None:
        raise UnknownSourceError(f"there is no network interface '{source}'")
    return origin


def _owner(target: IPAddress, origin: Interface | None) -> Interface | None:
    return topology.interface_at(target, origin.network_id if origin else None)


def _source(origin: Interface | None, asked: str | None) -> IPAddress:
    if origin is None:
        return ip_address(asked) if asked else INTERNET_HOST
    wanted = ip_address(asked) if asked else origin.address
    return wanted if wanted in origin.addresses else origin.address


def _translated(packet: Packet, origin: Interface | None, owner: Interface | None) -> Packet:
    source = (origin.leaves_as(packet.source) if origin else None) or packet.source
    inner = owner.private_of(packet.destination) if owner else None
    return Packet(
        packet.protocol, source, packet.source_port, inner or packet.destination, packet.destination_port
    )


def _side(
    interface: Interface | None, packet: Packet, public: IPAddress | None, *, initiator: bool = True
) -> Side:
    return Side(interface.id if interface else None, packet, initiator, public)


def _routable(origin: Interface | None, owner: Interface | None, target: IPAddress) -> bool:
    if origin is None:
        return owner is not None and target not in owner.addresses
    if owner is None and topology.is_unassigned(target):
        return False
    return owner is not None or is_platform(target) or not inside(target, PRIVATE)


def _now(side: Side) -> Interface | None:
    return topology.interface(side.interface_id) if side.interface_id else None


def _missing(side: Side, interface: Interface | None) -> str:
    if side.interface_id is None:
        return ""
    if interface is None:
        return "interface-missing"
    return "" if interface.running else "machine-stopped"


def _forwarded(connection: Connection, side: Side, interface: Interface, *, forward: bool) -> str:
    """Take the packet to its next hop; return why it was lost on the way."""
    packet = side.packet if forward else side.packet.reply()
    if is_platform(packet.destination):
        return ""
    route = routes.lookup(interface.routes, packet.destination)
    if route.next_hop == routes.NONE:
        return "route-none"
    if route.next_hop == routes.APPLIANCE:
        firewall = topology.firewall_at(route.appliance, interface.network_id)
        return _inspected(connection, firewall, forward=forward)
    if not connection.routable:
        return "unreachable"
    if route.next_hop == routes.INTERNET and not _keeps_address(side, interface):
        return "no-internet-path"
    return ""


def _inspected(connection: Connection, firewall: Firewall | None, *, forward: bool) -> str:
    if firewall is None:
        return "no-appliance"
    if not forward and not connection.inspected:
        return "asymmetric"  # the firewall drops answers to what it never saw
    connection.inspected = True
    return "" if firewall.passes(connection.initiator.packet) else "firewall"


def _keeps_address(side: Side, interface: Interface) -> bool:
    """Tell whether the end still has the public address that the flow was opened with."""
    private = side.packet.source if side.initiator else side.packet.destination
    current = interface.leaves_as(private) if side.initiator else interface.public_of(private)
    return current is not None and current == side.public_address


def _addressed(connection: Connection, side: Side, receiver: Interface | None) -> str:
    """Tell whether what comes from the internet still finds the end by its public address."""
    if receiver is None or not connection.via_internet or connection.inspected:
        return ""
    return "" if _keeps_address(side, receiver) else "no-public-address"
