"""Value types of the simulated VPC network: the rules that judge packets, and interfaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from drills.sandbox.packets import ANY_PROTOCOL, IPV4, LAST_PORT, PORTED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from drills.sandbox.aws.firewall import Firewall
    from drills.sandbox.packets import IPAddress, IPNetwork


@dataclass(frozen=True, slots=True)
class GroupRule:
    """One security group permission, with referenced groups already expanded to addresses."""

    protocol: int
    from_port: int | None
    to_port: int | None
    peers: tuple[IPNetwork, ...]

    def permits(self, protocol: int, port: int, peer: IPAddress) -> bool:
        """Tell whether the rule permits the protocol and destination port with this peer."""
        return self._covers(protocol, port) and any(peer in network for network in self.peers)

    def opens_to_everyone(self, protocol: int, port: int, version: int) -> bool:
        """Tell whether the rule permits the port for 0.0.0.0/0 (or ::/0 when version is 6)."""
        return self._covers(protocol, port) and self._names_everyone(version)

    def opens_every_port(self, protocol: int, version: int) -> bool:
        """Tell whether the rule permits ports 0-65535 for everyone."""
        every_port = self.protocol == ANY_PROTOCOL or (
            self.from_port in (0, -1) and self.to_port in (LAST_PORT, -1)
        )
        return every_port and self.protocol in (ANY_PROTOCOL, protocol) and self._names_everyone(version)

    def _covers(self, protocol: int, port: int) -> bool:
        if self.protocol == ANY_PROTOCOL:
            return True
        if self.protocol != protocol:
            return False
        return protocol not in PORTED or _within(port, self.from_port, self.to_port)

    def _names_everyone(self, version: int) -> bool:
        return any(network.version == version and network.prefixlen == 0 for network in self.peers)


@dataclass(frozen=True, slots=True)
class AclEntry:
    """One numbered network ACL entry."""

    number: int
    protocol: int
    allow: bool
    network: IPNetwork
    from_port: int | None = None
    to_port: int | None = None

    def matches(self, protocol: int, port: int, peer: IPAddress) -> bool:
        """Tell whether the entry decides about this packet."""
        if self.protocol not in (ANY_PROTOCOL, protocol) or peer not in self.network:
            return False
        return self.protocol not in PORTED or _within(port, self.from_port, self.to_port)


def acl_allows(entries: Iterable[AclEntry], protocol: int, port: int, peer: IPAddress) -> bool:
    """Apply the lowest-numbered matching entry; without one the packet is denied.

    VPC user guide, "Network ACL rules": rules are evaluated from the lowest number, the first match decides.
    """
    for entry in sorted(entries, key=lambda item: item.number):
        if entry.matches(protocol, port, peer):
            return entry.allow
    return False


def _within(port: int, first: int | None, last: int | None) -> bool:
    if first in (None, -1) or last is None:
        return True
    return int(first or 0) <= port <= last


@dataclass(frozen=True)
class Interface:
    """One network interface with everything that judges its packets at this moment."""

    id: str
    account_id: str
    region: str
    vpc_id: str
    subnet_id: str
    address: IPAddress
    addresses: frozenset[IPAddress]
    public_address: IPAddress | None = None
    nat_address: IPAddress | None = None
    internet_route: bool = True
    running: bool = True
    ingress: tuple[GroupRule, ...] = ()
    egress: tuple[GroupRule, ...] = ()
    acl_ingress: tuple[AclEntry, ...] = ()
    acl_egress: tuple[AclEntry, ...] = ()

    def leaves_as(self, version: int) -> IPAddress | None:
        """Return the address this interface shows to the internet, or None without a path."""
        if not self.internet_route:
            return None
        if version == IPV4:
            return self.public_address or self.nat_address
        return next((address for address in self.addresses if address.version == version), None)

    def behind_nat(self, version: int) -> bool:
        """Tell whether what it sends to the internet leaves through a NAT gateway."""
        through = self.internet_route and version == IPV4
        return through and self.public_address is None and self.nat_address is not None


class Rules(Protocol):
    """What the simulator reads before every packet."""

    def interface(self, interface_id: str) -> Interface | None:
        """Return the interface as it is now, or None when it does not exist."""

    def interface_at(self, address: IPAddress, vpc_id: str | None) -> Interface | None:
        """Return the owner of a private address in the VPC, or of a public address anywhere."""

    def firewall(self, vpc_id: str) -> Firewall | None:
        """Return the firewall that inspects the VPC's traffic, if there is one."""
