"""Simulate packets through security groups, network ACLs, firewalls and internet gateways.

Every packet is judged by the rules as they are at that moment. Connection tracking follows the EC2 user
guide, "Security group connection tracking": a tracked flow keeps passing after its rule is gone; a flow
permitted from everywhere in one direction and answered to everywhere on every port in the other is not
tracked, and "is immediately interrupted if the rule that enables the flow is removed or modified". That an
already tracked flow stops being tracked once its interface gets such open rules is what the order of steps in
AWS's own AWSSupport-ContainEC2Instance runbook relies on; the guide does not spell it out. Of the flows that
are tracked whatever the rules say ("Automatically tracked connections"), those through NAT gateways are
simulated; the firewall is no hop of an interface's route here, so that flows through it count as others.
"""

from __future__ import annotations

import secrets
import time
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from drills.sandbox.aws.packets import acl_allows
from drills.sandbox.connections import INTERNET, INTERNET_HOST, Connections, UnknownSourceError
from drills.sandbox.packets import PORTED, Connection, Observation, Packet, Side

if TYPE_CHECKING:
    from collections.abc import Callable

    from drills.sandbox.aws.packets import Interface, Rules
    from drills.sandbox.connections import Dial
    from drills.sandbox.packets import IPAddress

PRIVATE_USE = tuple(
    ip_network(cidr) for cidr in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
)  # RFC 1918


class Network(Connections):
    """The simulator: opens connections, sends packets on them, and tells a sink what interfaces saw."""

    def __init__(
        self,
        rules: Rules,
        sink: Callable[[Observation[Interface]], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Judge packets by `rules` and report what each interface saw to `sink`."""
        super().__init__(clock)
        self._rules = rules
        self._sink = sink

    def rules_changed(self) -> None:
        """Stop tracking the flows that the rules of this moment leave untracked."""
        with self._lock:
            for connection in self._open_connections:
                for side in connection.sides():
                    self._retrack(side, self._interface(side))

    def _open(self, connection: Connection) -> None:
        connection.inspected = True
        super()._open(connection)

    def _prepare(self, dial: Dial) -> Connection:
        target = ip_address(dial.destination)
        origin = self._origin(dial.source)
        owner = self._owner(target, origin)
        via_internet = origin is None or owner is None or target not in owner.addresses
        seen = self._source_address(origin, dial.source_address, target)
        sent = Packet(dial.protocol, seen, dial.source_port, target, dial.port)
        arrived = self._translated(sent, origin, owner, via_internet=via_internet)
        return Connection(
            id=f"flow-{secrets.token_hex(8)}",
            initiator=_side(origin, sent, initiator=True, via_internet=via_internet),
            responder=_side(owner, arrived, initiator=False, via_internet=via_internet),
            via_internet=via_internet,
            routable=owner is not None or (origin is not None and not _private(target)),
            opened_at=self._clock(),
        )

    def _origin(self, source: str) -> Interface | None:
        if source == INTERNET:
            return None
        origin = self._rules.interface(source)
        if origin is None:
            raise UnknownSourceError(f"The networkInterface ID '{source}' does not exist")
        return origin

    def _owner(self, target: IPAddress, origin: Interface | None) -> Interface | None:
        return self._rules.interface_at(target, origin.vpc_id if origin else None)

    @staticmethod
    def _source_address(origin: Interface | None, asked: str | None, target: IPAddress) -> IPAddress:
        if origin is None:
            return ip_address(asked) if asked else INTERNET_HOST
        if target.version == origin.address.version:
            return origin.address
        return next((item for item in origin.addresses if item.version == target.version), origin.address)

    @staticmethod
    def _translated(
        packet: Packet, origin: Interface | None, owner: Interface | None, *, via_internet: bool
    ) -> Packet:
        """Apply the internet gateway's address translation on the way to the owner."""
        if not via_internet:
            return packet
        source = (origin.leaves_as(packet.source.version) if origin else None) or packet.source
        inside = owner.address if owner and packet.destination == owner.public_address else packet.destination
        return Packet(packet.protocol, source, packet.source_port, inside, packet.destination_port)

    def _interface(self, side: Side) -> Interface | None:
        return self._rules.interface(side.interface_id) if side.interface_id else None

    def _pass(self, connection: Connection, *, forward: bool, size: int) -> str:
        """Walk one packet along its path; return why it was lost, or an empty string."""
        first, second = connection.sides() if forward else connection.sides()[::-1]
        sender, receiver = self._interface(first), self._interface(second)
        crosses = sender is None or receiver is None or sender.subnet_id != receiver.subnet_id
        return (
            self._missing(first, sender)
            or self._leave(first, sender, forward=forward, crosses=crosses, size=size)
            or self._between(connection, (first, sender), (second, receiver), forward=forward)
            or self._enter(second, receiver, forward=forward, crosses=crosses, size=size)
        )

    @staticmethod
    def _missing(side: Side, interface: Interface | None) -> str:
        if side.interface_id is None:
            return ""
        if interface is None:
            return "interface-missing"
        return "" if interface.running else "instance-stopped"

    def _leave(
        self, side: Side, interface: Interface | None, *, forward: bool, crosses: bool, size: int
    ) -> str:
        if interface is None:
            return ""
        packet = side.packet if forward else side.packet.reply()
        reason = self._group_verdict(side, interface, packet, outbound=True, forward=forward)
        if not reason and crosses and not _acl(interface, packet, outbound=True):
            reason = "network-acl-egress"
        self._observe(interface, packet, size, accepted=not reason)
        return reason

    def _enter(
        self, side: Side, interface: Interface | None, *, forward: bool, crosses: bool, size: int
    ) -> str:
        missing = self._missing(side, interface)
        if missing or interface is None:
            return missing
        packet = side.packet if forward else side.packet.reply()
        reason = "" if not crosses or _acl(interface, packet, outbound=False) else "network-acl-ingress"
        reason = reason or self._group_verdict(side, interface, packet, outbound=False, forward=forward)
        self._observe(interface, packet, size, accepted=not reason)
        return reason

    def _between(
        self,
        connection: Connection,
        sender: tuple[Side, Interface | None],
        receiver: tuple[Side, Interface | None],
        *,
        forward: bool,
    ) -> str:
        if not connection.routable:
            return "unreachable"
        if not connection.via_internet:
            return ""
        if not (_reaches_internet(*sender) and _reaches_internet(*receiver)):
            return "no-internet-path"
        for side, interface in (sender, receiver):
            packet = side.packet if forward else side.packet.reply()
            if interface and not self._inspect(connection, interface.vpc_id, packet, forward=forward):
                return "firewall"
        return ""

    def _inspect(self, connection: Connection, vpc_id: str, packet: Packet, *, forward: bool) -> bool:
        # The firewall stands between subnets and the internet gateway (Network Firewall developer guide,
        # "Simple single zone architecture with an internet gateway"); traffic inside the VPC takes the local
        # route past it.
        firewall = self._rules.firewall(vpc_id)
        established = connection.inspected or not forward
        return firewall is None or firewall.passes(packet, established=established)

    def _group_verdict(
        self, side: Side, interface: Interface, packet: Packet, *, outbound: bool, forward: bool
    ) -> str:
        self._retrack(side, interface)
        if side.tracked:
            return ""
        rules = interface.egress if outbound else interface.ingress
        peer = packet.destination if outbound else packet.source
        if not any(rule.permits(packet.protocol, packet.destination_port, peer) for rule in rules):
            return "security-group-egress" if outbound else "security-group-ingress"
        if forward:
            side.tracked = not untracked(side, interface)
        return ""

    @staticmethod
    def _retrack(side: Side, interface: Interface | None) -> None:
        if side.tracked and interface is not None and untracked(side, interface):
            side.tracked = False

    def _observe(self, interface: Interface, packet: Packet, size: int, *, accepted: bool) -> None:
        self._sink(Observation(interface, packet, size, accepted, self._clock()))


def untracked(side: Side, interface: Interface) -> bool:
    """Tell whether the security groups of this moment leave the flow untracked at this end."""
    packet, version = side.packet, side.packet.source.version
    if packet.protocol not in PORTED or side.always_tracked:
        return False
    there, back = (
        (interface.egress, interface.ingress) if side.initiator else (interface.ingress, interface.egress)
    )
    opens = any(rule.opens_to_everyone(packet.protocol, packet.destination_port, version) for rule in there)
    return opens and any(rule.opens_every_port(packet.protocol, version) for rule in back)


def _private(address: IPAddress) -> bool:
    return any(address in network for network in PRIVATE_USE)


def _side(interface: Interface | None, packet: Packet, *, initiator: bool, via_internet: bool) -> Side:
    if interface is None:
        return Side(None, packet, initiator)
    version = packet.source.version
    always = initiator and via_internet and interface.behind_nat(version)
    return Side(interface.id, packet, initiator, interface.leaves_as(version), always_tracked=always)


def _reaches_internet(side: Side, interface: Interface | None) -> bool:
    """Tell whether the end still has the internet address that the flow was opened with."""
    if interface is None:
        return side.interface_id is None
    now = interface.leaves_as(side.packet.source.version)
    return now is not None and now == side.public_address


def _acl(interface: Interface, packet: Packet, *, outbound: bool) -> bool:
    entries = interface.acl_egress if outbound else interface.acl_ingress
    peer = packet.destination if outbound else packet.source
    return acl_allows(entries, packet.protocol, packet.destination_port, peer)
