"""Judge effective security rules and the answers of IP flow verify. Pure.

"Effective security rules overview": one entry for each group in force, on the interface and on its subnet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from firebreak.measure import found
from firebreak.model import Finding, JsonObject, Method
from providers.azure.ids import same
from providers.azure.network.quarantinegroup import PLATFORM_TAGS

EVERYTHING = frozenset({"*", "0.0.0.0/0", "any"})
ANY_PROTOCOL = frozenset({"*", "all", "any"})
ALL_PORTS = frozenset({"*", "0-65535"})
FIRST_DEFAULT = 65_000
"""Default rules begin here; a quarantine's own rules come first."""


def judge_rules(answer: JsonObject, interface: str, group: str) -> Finding:
    """Decide whether our group is in force on the interface and denies everything both ways."""
    rules = rules_of(answer, interface, group)
    if rules is None:
        return _finding("our group is not in force on the interface", answer, holds=False)
    problems = list(_problems(rules))
    text = "; ".join(problems) or "every packet is denied both ways, the platform's addresses included"
    return _finding(text, answer, holds=not problems)


def rules_of(answer: JsonObject, interface: str, group: str) -> list[JsonObject] | None:
    """Return the effective rules of a group on the very interface, or None where it is not in force there."""
    for entry in answer.get("value") or ():
        association = (entry.get("association") or {}).get("networkInterface") or {}
        named = (entry.get("networkSecurityGroup") or {}).get("id", "")
        if same(str(association.get("id", "")), interface) and same(str(named), group):
            return list(entry.get("effectiveSecurityRules") or ())
    return None


def admitted_ports(answer: JsonObject) -> list[int]:
    """Return the single TCP ports that any of the groups in force lets in."""
    ports: list[int] = []
    for entry in answer.get("value") or ():
        for rule in entry.get("effectiveSecurityRules") or ():
            allows = _is(rule, "access", "allow") and _is(rule, "direction", "inbound")
            if allows and _is(rule, "protocol", "tcp"):
                ports.extend(_single_ports(rule))
    return list(dict.fromkeys(ports))


def judge_flows(answers: Sequence[tuple[str, JsonObject]]) -> Finding:
    """Decide whether IP flow verify denies every packet that it was asked about."""
    allowed = [text for text, answer in answers if not _is(answer, "access", "deny")]
    text = f"{len(answers)} packets denied" if not allowed else f"allowed: {'; '.join(allowed)}"
    told = [
        {"packet": text, "access": answer.get("access", ""), "rule": answer.get("ruleName", "")}
        for text, answer in answers
    ]
    return found(
        Method.EFFECTIVE_POLICY,
        f"IP flow verify: {text}",
        holds=bool(answers) and not allowed,
        packets=told,
    )


def _problems(rules: Iterable[JsonObject]) -> Iterable[str]:
    own = [each for each in rules if int(each.get("priority", 0)) < FIRST_DEFAULT]
    if any(not _is(each, "access", "deny") for each in own):
        yield "the group allows something"
    for direction in ("inbound", "outbound"):
        if not any(_is(each, "direction", direction) and _denies_all(each) for each in own):
            yield f"the group does not deny everything {direction}"
    missing = [tag for tag in PLATFORM_TAGS if not any(_denies_tag(each, tag) for each in own)]
    if missing:
        yield f"the group lets {', '.join(missing)} through"


def _denies_all(rule: JsonObject) -> bool:
    return (
        _is(rule, "access", "deny")
        and str(rule.get("protocol", "")).lower() in ANY_PROTOCOL
        and bool(_values(rule, "sourceAddressPrefix") & EVERYTHING)
        and bool(_values(rule, "destinationAddressPrefix") & EVERYTHING)
        and bool(_values(rule, "sourcePortRange") & ALL_PORTS)
        and bool(_values(rule, "destinationPortRange") & ALL_PORTS)
    )


def _denies_tag(rule: JsonObject, tag: str) -> bool:
    outbound = _is(rule, "access", "deny") and _is(rule, "direction", "outbound")
    return outbound and tag.lower() in _values(rule, "destinationAddressPrefix")


def _values(rule: JsonObject, name: str) -> set[str]:
    plural = f"{name}es" if name.endswith("x") else f"{name}s"
    several: list[Any] = [rule.get(name), *(rule.get(plural) or ())]
    return {str(each).lower() for each in several if each}


def _single_ports(rule: JsonObject) -> Iterable[int]:
    for text in _values(rule, "destinationPortRange"):
        first, _, last = text.partition("-")
        if first.isdigit() and last in ("", first):
            yield int(first)


def _is(document: JsonObject, name: str, wanted: str) -> bool:
    return str(document.get(name, "")).lower() == wanted


def _finding(text: str, answer: JsonObject, *, holds: bool) -> Finding:
    groups = [
        {
            "group": (entry.get("networkSecurityGroup") or {}).get("id", ""),
            "rules": len(entry.get("effectiveSecurityRules") or ()),
        }
        for entry in answer.get("value") or ()
    ]
    return found(Method.EFFECTIVE_POLICY, f"effective rules: {text}", holds=holds, groups=groups)
