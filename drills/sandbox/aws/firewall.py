"""Judge packets by AWS Network Firewall policies and rule groups, in the shapes of the API."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from drills.sandbox.packets import ANY_PROTOCOL, LAST_PORT, PORTED, PROTOCOL_NUMBERS, TCP

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from drills.sandbox.packets import IPAddress, Packet

Json = dict[str, Any]
SURICATA = re.compile(
    r"^(?P<Action>pass|drop|reject|alert)\s+(?P<Protocol>\S+)\s+(?P<Source>\[[^\]]*\]|\S+)\s+"
    r"(?P<SourcePort>\[[^\]]*\]|\S+)\s+(?P<Direction>->|<>)\s+(?P<Destination>\[[^\]]*\]|\S+)\s+"
    r"(?P<DestinationPort>\[[^\]]*\]|\S+)\s*\(.*\)\s*$",
    re.IGNORECASE,
)


class RuleSyntaxError(ValueError):
    """A rule that the firewall cannot read."""


class Action(Enum):
    """What a rule says about a packet it matches."""

    PASS = "pass"
    DROP = "drop"
    FORWARD = "forward"
    NONE = "none"


@dataclass(frozen=True)
class Firewall:
    """A firewall policy together with the rule groups it refers to.

    A new flow is judged by the stateless and then the stateful rules. For an established flow only the
    stateless rules count: "changes to stateful rules are applied only to new traffic flows" (Network
    Firewall developer guide, "Updating a rule group").
    """

    policy: Mapping[str, Any]
    rule_groups: Mapping[str, Mapping[str, Any]]

    def passes(self, packet: Packet, *, established: bool) -> bool:
        """Tell whether the firewall lets the packet through."""
        action = self._stateless(packet)
        if action is not Action.FORWARD:
            return action is Action.PASS
        return established or self._stateful(packet)

    def _stateless(self, packet: Packet) -> Action:
        for rule in self._stateless_rules():
            definition = rule["RuleDefinition"]
            if _stateless_match(definition.get("MatchAttributes", {}), packet):
                return _stateless_action(definition.get("Actions", ()))
        return _stateless_action(self.policy.get("StatelessDefaultActions", ("aws:forward_to_sfe",)))

    def _stateless_rules(self) -> Iterator[Json]:
        for group in self._groups("StatelessRuleGroupReferences"):
            source = group.get("RulesSource", {}).get("StatelessRulesAndCustomActions", {})
            yield from sorted(source.get("StatelessRules", ()), key=lambda rule: int(rule["Priority"]))

    def _stateful(self, packet: Packet) -> bool:
        matched = [action for action, _ in self._stateful_matches(packet)]
        if self._strict_order():
            return self._first_decides(matched)
        # Default action order processes every pass rule before any drop rule (developer guide,
        # "Managing evaluation order for Suricata compatible rules").
        return "pass" in matched or not {"drop", "reject"} & set(matched)

    def _first_decides(self, matched: list[str]) -> bool:
        decisive = next((action for action in matched if action != "alert"), None)
        if decisive is not None:
            return decisive == "pass"
        return not any(
            str(name).startswith("aws:drop") for name in self.policy.get("StatefulDefaultActions", ())
        )

    def _strict_order(self) -> bool:
        return bool(self.policy.get("StatefulEngineOptions", {}).get("RuleOrder") == "STRICT_ORDER")

    def _stateful_matches(self, packet: Packet) -> Iterator[tuple[str, Json]]:
        for group in self._groups("StatefulRuleGroupReferences"):
            variables = _variables(self.policy.get("PolicyVariables", {}), group.get("RuleVariables", {}))
            for header in stateful_headers(group):
                if _header_match(header, packet, variables):
                    yield str(header["Action"]).lower(), header

    def _groups(self, key: str) -> Iterator[Mapping[str, Any]]:
        for reference in sorted(self.policy.get(key, ()), key=lambda item: int(item.get("Priority", 0))):
            group = self.rule_groups.get(reference["ResourceArn"])
            if group is not None:
                yield group


def stateful_headers(group: Mapping[str, Any]) -> Iterator[Json]:
    """Yield every stateful rule of a group as a header with its action, whichever way it was written."""
    source = group.get("RulesSource", {})
    for rule in source.get("StatefulRules", ()):
        yield {**rule["Header"], "Action": rule["Action"]}
    for line in str(source.get("RulesString") or "").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield parse_suricata(line.strip())


def parse_suricata(line: str) -> Json:
    """Read the header of one Suricata rule; raise RuleSyntaxError when it has none."""
    match = SURICATA.match(line)
    if match is None:
        raise RuleSyntaxError(f"Illegal rule syntax: {line}")
    return match.groupdict()


def _stateless_action(names: Iterable[str]) -> Action:
    chosen = set(names)
    if "aws:drop" in chosen:
        return Action.DROP
    return Action.PASS if "aws:pass" in chosen else Action.FORWARD


def _stateless_match(attributes: Json, packet: Packet) -> bool:
    protocols = attributes.get("Protocols") or [packet.protocol]
    return (
        packet.protocol in protocols
        and _in_definitions(attributes.get("Sources"), packet.source)
        and _in_definitions(attributes.get("Destinations"), packet.destination)
        and _in_ports(attributes.get("SourcePorts"), packet.source_port)
        and _in_ports(attributes.get("DestinationPorts"), packet.destination_port)
    )


def _in_definitions(definitions: Iterable[Json] | None, address: IPAddress) -> bool:
    if not definitions:
        return True
    return any(address in ip_network(item["AddressDefinition"], strict=False) for item in definitions)


def _in_ports(ranges: Iterable[Json] | None, port: int) -> bool:
    if not ranges:
        return True
    return any(int(item["FromPort"]) <= port <= int(item["ToPort"]) for item in ranges)


def _variables(*sources: Json) -> dict[str, list[str]]:
    merged: dict[str, list[str]] = {}
    for source in sources:
        for kind in ("RuleVariables", "IPSets", "PortSets"):
            for name, value in source.get(kind, {}).items():
                merged[name] = list(value.get("Definition", ()))
    return merged


def _header_match(header: Json, packet: Packet, variables: Mapping[str, list[str]]) -> bool:
    if not _protocol_match(str(header["Protocol"]), packet.protocol):
        return False
    if _directed_match(header, packet, variables):
        return True
    both_ways = str(header.get("Direction", "FORWARD")).upper() in ("<>", "ANY")
    return both_ways and _directed_match(header, packet.reply(), variables)


def _directed_match(header: Json, packet: Packet, variables: Mapping[str, list[str]]) -> bool:
    return (
        _address_match(header["Source"], packet.source, variables)
        and _address_match(header["Destination"], packet.destination, variables)
        and (packet.protocol not in PORTED or _ports_match(header, packet, variables))
    )


def _ports_match(header: Json, packet: Packet, variables: Mapping[str, list[str]]) -> bool:
    return _port_match(header["SourcePort"], packet.source_port, variables) and _port_match(
        header["DestinationPort"], packet.destination_port, variables
    )


def _protocol_match(name: str, protocol: int) -> bool:
    # Application protocols (http, tls, ...) ride on TCP, which is all this simulator can see of them.
    number = ANY_PROTOCOL if name.lower() == "ip" else PROTOCOL_NUMBERS.get(name.lower(), TCP)
    return number in (ANY_PROTOCOL, protocol)


def _terms(spec: str, variables: Mapping[str, list[str]]) -> Iterator[tuple[bool, str]]:
    """Yield (negated, term) for a Suricata address or port list, with variables expanded."""
    for raw in spec.strip().strip("[]").split(","):
        term = raw.strip()
        negated, term = term.startswith("!"), term.lstrip("!").strip()
        if not term.startswith("$"):
            yield negated, term
            continue
        for value in variables.get(term[1:], ()):
            yield negated, value


def _address_match(spec: str, address: IPAddress, variables: Mapping[str, list[str]]) -> bool:
    terms = list(_terms(spec, variables))
    return _decide([(negated, _in_network(term, address)) for negated, term in terms])


def _in_network(term: str, address: IPAddress) -> bool:
    return term.upper() == "ANY" or address in ip_network(term, strict=False)


def _port_match(spec: str, port: int, variables: Mapping[str, list[str]]) -> bool:
    return _decide([(negated, _in_range(term, port)) for negated, term in _terms(spec, variables)])


def _in_range(term: str, port: int) -> bool:
    if term.upper() == "ANY":
        return True
    first, separator, last = term.partition(":")
    upper = int(last or LAST_PORT) if separator else int(first)
    return int(first or 0) <= port <= upper


def _decide(terms: list[tuple[bool, bool]]) -> bool:
    if any(negated and hit for negated, hit in terms):
        return False
    positive = [hit for negated, hit in terms if not negated]
    return any(positive) if positive else bool(terms)
