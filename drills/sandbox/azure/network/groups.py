"""Judge packets by the rules of a network security group.

Source: "Azure network security groups overview" (priorities, default rules, platform addresses) and
"Application security groups".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drills.sandbox.azure.network.tags import Surroundings, is_platform, matches, names_platform
from drills.sandbox.packets import ICMP, PORTED, TCP, UDP

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from drills.sandbox.packets import IPAddress, Packet

Json = dict[str, Any]
PROTOCOLS = {"tcp": TCP, "udp": UDP, "icmp": ICMP, "esp": 50, "ah": 51}
INBOUND, OUTBOUND = "Inbound", "Outbound"
# name, priority, direction, source, destination, access
FIRST_DEFAULT_PRIORITY = 65_000
"""The default rules come last, with priorities from here ("Network security groups", default rules)."""
_DEFAULTS = (
    ("AllowVnetInBound", 65000, INBOUND, "VirtualNetwork", "VirtualNetwork", "Allow"),
    ("AllowAzureLoadBalancerInBound", 65001, INBOUND, "AzureLoadBalancer", "*", "Allow"),
    ("DenyAllInBound", 65500, INBOUND, "*", "*", "Deny"),
    ("AllowVnetOutBound", 65000, OUTBOUND, "VirtualNetwork", "VirtualNetwork", "Allow"),
    ("AllowInternetOutBound", 65001, OUTBOUND, "*", "Internet", "Allow"),
    ("DenyAllOutBound", 65500, OUTBOUND, "*", "*", "Deny"),
)


def default_rules(group_id: str) -> list[Json]:
    """Return the rules that every group has and nobody can remove."""
    return [
        {
            "id": f"{group_id}/defaultSecurityRules/{name}",
            "name": name,
            "type": "Microsoft.Network/networkSecurityGroups/defaultSecurityRules",
            "properties": {
                "provisioningState": "Succeeded",
                "protocol": "*",
                "sourcePortRange": "*",
                "destinationPortRange": "*",
                "sourceAddressPrefix": source,
                "destinationAddressPrefix": destination,
                "access": access,
                "priority": priority,
                "direction": direction,
            },
        }
        for name, priority, direction, source, destination, access in _DEFAULTS
    ]


@dataclass(frozen=True)
class Verdict:
    """What a group says about a packet, and by which rule."""

    allowed: bool
    rule: str
    """Named as in flow logs."""
    group_guid: str = ""


@dataclass(frozen=True)
class Viewpoint:
    """What a rule needs to know of the interface it guards: its networks, and who is in which ASG."""

    around: Surroundings
    members: Mapping[str, frozenset[IPAddress]]
    """Application security group id in lower case to its members' addresses."""


@dataclass(frozen=True)
class Group:
    """A network security group as it is now."""

    id: str
    guid: str
    rules: tuple[Json, ...]
    """Custom and default rules, by priority."""

    def judge(self, packet: Packet, direction: str, view: Viewpoint) -> Verdict:
        """Apply the first rule that matches; the platform's own traffic passes unless a tag targets it."""
        platform = direction == OUTBOUND and is_platform(packet.destination)
        for rule in self.rules:
            properties = rule["properties"]
            if properties["direction"].lower() != direction.lower():
                continue
            if platform and not _targets_platform(properties):
                continue
            if _matches(properties, packet, view):
                return Verdict(properties["access"].lower() == "allow", _logged(rule), self.guid)
        return Verdict(allowed=platform, rule="PlatformRule" if platform else "unspecified")


def group_of(document: Json) -> Group:
    """Read a group's document."""
    properties = document["properties"]
    rules = [*properties.get("securityRules", ()), *properties.get("defaultSecurityRules", ())]
    ordered = tuple(sorted(rules, key=lambda rule: int(rule["properties"]["priority"])))
    return Group(document["id"], str(properties.get("resourceGuid", "")), ordered)


def _logged(rule: Json) -> str:
    is_default = int(rule["properties"]["priority"]) >= FIRST_DEFAULT_PRIORITY
    return f"{'DefaultRule' if is_default else 'UserRule'}_{rule['name']}"


def _targets_platform(properties: Json) -> bool:
    return any(names_platform(each) for each in addresses(properties, "destination"))


def _matches(properties: Json, packet: Packet, view: Viewpoint) -> bool:
    wanted = str(properties.get("protocol", "*")).lower()
    if wanted != "*" and PROTOCOLS.get(wanted) != packet.protocol:
        return False
    if packet.protocol in PORTED and not (
        in_ranges(ports(properties, "source"), packet.source_port)
        and in_ranges(ports(properties, "destination"), packet.destination_port)
    ):
        return False
    asked = packet.destination_port
    return _end(properties, "source", packet.source, asked, view) and _end(
        properties, "destination", packet.destination, asked, view
    )


def _end(properties: Json, end: str, address: IPAddress, port: int, view: Viewpoint) -> bool:
    groups = properties.get(f"{end}ApplicationSecurityGroups") or ()
    if groups:
        return any(address in view.members.get(each["id"].lower(), ()) for each in groups)
    return any(matches(each, address, port, view.around) for each in addresses(properties, end))


def addresses(properties: Json, end: str) -> list[str]:
    """Return the prefixes of one end of a rule, single or several."""
    several = properties.get(f"{end}AddressPrefixes") or []
    single = properties.get(f"{end}AddressPrefix")
    return [*([single] if single else []), *several]


def ports(properties: Json, end: str) -> list[str]:
    """Return the port ranges of one end of a rule, single or several."""
    several = properties.get(f"{end}PortRanges") or []
    single = properties.get(f"{end}PortRange")
    return [*([single] if single else []), *several]


def in_ranges(ranges: Iterable[str], port: int) -> bool:
    """Tell whether a port is in any of the ranges."""
    for each in ranges:
        if each == "*":
            return True
        first, _, last = each.partition("-")
        if int(first) <= port <= int(last or first):
            return True
    return False
