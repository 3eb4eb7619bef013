"""Judge packets by an Azure Firewall's policy.

Source: "Azure Firewall rule processing logic": groups and collections by priority, network rules before
application rules, the first match decides, no match denies; "If you change a rule to deny previously allowed
traffic, any relevant existing sessions are dropped."
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

from drills.sandbox.azure.network.groups import PROTOCOLS, in_ranges
from drills.sandbox.packets import PORTED, TCP

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from drills.sandbox.packets import IPAddress, Packet

Json = dict[str, Any]


@dataclass(frozen=True)
class Firewall:
    """One firewall: its policies' rule collection groups, and the IP groups they name."""

    id: str
    policies: tuple[tuple[Json, ...], ...]
    """The rule collection groups of each policy, the parent's before the child's."""
    ip_groups: Mapping[str, tuple[str, ...]]

    def passes(self, packet: Packet) -> bool:
        """Tell whether the packet's flow is let through; no matching rule denies."""
        decided = self._network(packet)
        if decided is None:
            decided = self._application(packet)
        return bool(decided)

    def _network(self, packet: Packet) -> bool | None:
        for action, rule in self._rules("NetworkRule"):
            if self._network_match(rule, packet):
                return action == "allow"
        return None

    def _application(self, packet: Packet) -> bool | None:
        if packet.protocol != TCP:
            return None
        for action, rule in self._rules("ApplicationRule"):
            ports = {int(each["port"]) for each in rule.get("protocols", ())}
            if packet.destination_port in ports and self._source(rule, packet.source):
                return action == "allow"
        return None

    def _rules(self, kind: str) -> Iterator[tuple[str, Json]]:
        for groups in self.policies:
            for group in sorted(groups, key=_priority):
                collections = group["properties"].get("ruleCollections", ())
                for collection in sorted(collections, key=lambda each: int(each["priority"])):
                    if collection["ruleCollectionType"] != "FirewallPolicyFilterRuleCollection":
                        continue
                    action = collection["action"]["type"].lower()
                    yield from ((action, rule) for rule in collection["rules"] if rule["ruleType"] == kind)

    def _network_match(self, rule: Json, packet: Packet) -> bool:
        protocols = [each.lower() for each in rule.get("ipProtocols", ())]
        if "any" not in protocols and packet.protocol not in {PROTOCOLS.get(each) for each in protocols}:
            return False
        if packet.protocol in PORTED and not in_ranges(rule["destinationPorts"], packet.destination_port):
            return False
        destinations = [
            *rule.get("destinationAddresses", ()),
            *self._members(rule.get("destinationIpGroups", ())),
        ]
        return self._source(rule, packet.source) and _within(destinations, packet.destination)

    def _source(self, rule: Json, address: IPAddress) -> bool:
        sources = [*rule.get("sourceAddresses", ()), *self._members(rule.get("sourceIpGroups", ()))]
        return _within(sources, address)

    def _members(self, groups: Iterable[str]) -> Iterator[str]:
        for each in groups:
            yield from self.ip_groups.get(each.lower(), ())


def _priority(group: Json) -> int:
    return int(group["properties"]["priority"])


def _within(prefixes: Iterable[str], address: IPAddress) -> bool:
    return any(_one(each, address) for each in prefixes)


def _one(prefix: str, address: IPAddress) -> bool:
    if prefix == "*":
        return True
    first, dash, last = prefix.partition("-")
    if dash:
        return ip_address(first) <= address <= ip_address(last)  # type: ignore[operator]
    return address in ip_network(prefix, strict=False)
