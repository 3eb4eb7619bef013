"""Phase 2 on Azure, Azure Firewall: deny the workload's addresses in the policy that its traffic passes.

"Azure Firewall rule processing logic": groups by priority, network rules before application rules, the first
match decides; sessions that a new rule denies are dropped. A base policy's groups come before all of them.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

from firebreak.declarations import of_kind, targets_of
from firebreak.errors import PermanentCloudError
from firebreak.measure import found, on_target
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target, Workload
from firebreak.session import owner_mark
from providers.azure.answers import translated
from providers.azure.network.documents import NETWORK, find, properties, read, reference
from providers.azure.network.interfaces import FIND_INTERFACES, all_of, declared_hosts
from providers.azure.resources.network import FirewallPolicy
from providers.azure.session import AzureMeasure

FIRST, LAST = 100, 65_000
"""The range of priorities ("Azure Firewall policy rule sets")."""
IPV4 = 4
FILTER = "FirewallPolicyFilterRuleCollection"


class FirewallDeny(AzureMeasure, cloud=Cloud.AZURE, phase=Phase.NETWORK_ISOLATE, name="firewall-deny"):
    """Put a rule collection group that denies the workload's addresses in front of the policy's others."""

    permissions = (
        *FIND_INTERFACES,
        *on_target(
            "Microsoft.Network/firewallPolicies/read",
            "Microsoft.Network/firewallPolicies/ruleCollectionGroups/read",
            "Microsoft.Network/firewallPolicies/ruleCollectionGroups/write",
            "Microsoft.Network/firewallPolicies/ruleCollectionGroups/delete",
        ),
    )

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """The declared firewall policies, for a workload that has interfaces."""
        if not declared_hosts(workload):
            return []
        return targets_of(workload, of_kind(workload.network, FirewallPolicy))

    def discover(self, target: Target) -> list[Target]:
        """The policy, which has to be there."""
        read(self.access, target.ref)
        return [target]

    def snapshot(self, target: Target) -> JsonObject:
        """Read the workload's addresses and whether our group is there."""
        addresses = sorted({address for each in all_of(self.access) for address in each.addresses})
        # "Azure Firewall FAQ": IPv6 is not supported, so no IPv6 packet can pass one.
        addresses = [each for each in addresses if ip_address(each).version == IPV4]
        if not addresses:
            raise PermanentCloudError("the workload has no interface with an address", resource=target.ref)
        return {"addresses": addresses, "ours": self._ours(target) is not None}

    def apply(self, target: Target, state: State) -> Change:
        """Write our group where it is missing or differs, in front of the others."""
        addresses, current = state.values["addresses"], self._ours(target)
        priority = self._priority(target)
        changed = current is None or not _is(current, addresses, priority)
        if changed:
            etag = str((current or {}).get("etag", ""))
            body = {"properties": {"priority": priority, "ruleCollections": [_collection(addresses)]}}
            with translated(target.ref):
                self.access.arm().put(self._ref(target), body, NETWORK, etag=etag)
        return self.done(target, state, changed=changed, group=self._ref(target))

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """Our group denies every address both ways, and no group before it allows any of them."""
        addresses, ours = change.before["addresses"], self._ours(target)
        complete = ours is not None and _is(ours, addresses, int(properties(ours)["priority"]))
        allowing = self._allowed_before(target, ours, addresses) if ours is not None else []
        if not complete:
            text = "our group does not deny them"
        elif allowing:
            text = f"{', '.join(allowing)} comes first and allows some of them"
        else:
            text = "denied both ways before anything allows them"
        return (
            found(
                Method.EFFECTIVE_POLICY,
                f"firewall: {', '.join(addresses)}: {text}",
                holds=complete and not allowing,
                allowing=allowing,
            ),
        )

    def revert(self, change: Change) -> Finding:
        """Delete our group; nobody else's was touched."""
        target = change.target
        if not change.before["ours"]:
            with translated(target.ref):
                self.access.arm().delete(self._ref(target), NETWORK)
        gone = (self._ours(target) is not None) == change.before["ours"]
        text = "restored" if gone else "still have ours"
        return found(Method.EFFECTIVE_POLICY, f"rule collection groups {text}", holds=gone)

    def _ref(self, target: Target) -> str:
        """One group for each workload, so that two workloads are released on their own."""
        return f"{target.ref}/ruleCollectionGroups/firebreak-{owner_mark(self.run)}"

    def _ours(self, target: Target) -> JsonObject | None:
        return find(self.access, self._ref(target))

    def _groups(self, policy: str) -> list[JsonObject]:
        with translated(policy):
            return list(self.access.arm().pages(f"{policy}/ruleCollectionGroups", NETWORK))

    def _priority(self, target: Target) -> int:
        """The number before all others, or the first free one where another group has the lowest of all."""
        own = self._ref(target).lower()
        taken = {
            int(properties(each)["priority"])
            for each in self._groups(target.ref)
            if str(each["id"]).lower() != own
        }
        if min(taken, default=LAST) > FIRST:
            return min(taken, default=FIRST + 1) - 1
        return next(number for number in range(FIRST, LAST) if number not in taken)

    def _allowed_before(self, target: Target, ours: JsonObject, addresses: list[str]) -> list[str]:
        """Name the groups that are evaluated before ours and allow one of the addresses."""
        mine = int(properties(ours)["priority"])
        here = [each for each in self._groups(target.ref) if int(properties(each)["priority"]) < mine]
        before = [*self._inherited(target.ref), *here]
        return [str(each["name"]) for each in before if _allows(each, addresses)]

    def _inherited(self, policy: str) -> list[JsonObject]:
        base = reference(read(self.access, policy), "basePolicy")
        return [*self._inherited(base), *self._groups(base)] if base else []


def _collection(addresses: list[str]) -> JsonObject:
    return {
        "ruleCollectionType": FILTER,
        "name": "firebreak-deny",
        "priority": FIRST,
        "action": {"type": "Deny"},
        "rules": [
            _rule("firebreak-deny-from", addresses, ["*"]),
            _rule("firebreak-deny-to", ["*"], addresses),
        ],
    }


def _rule(name: str, sources: list[str], destinations: list[str]) -> JsonObject:
    return {
        "ruleType": "NetworkRule",
        "name": name,
        "ipProtocols": ["Any"],
        "sourceAddresses": sources,
        "destinationAddresses": destinations,
        "destinationPorts": ["*"],
    }


def _is(group: JsonObject, addresses: list[str], priority: int) -> bool:
    """Tell whether a group is as we write it; fields that the service adds do not count."""
    values = properties(group)
    collections = values.get("ruleCollections") or []
    wanted = _collection(addresses)
    return (
        int(values.get("priority", 0)) == priority
        and len(collections) == 1
        and _covers(collections[0], {**wanted, "rules": None})
        and len(collections[0].get("rules") or ()) == len(wanted["rules"])
        and all(map(_covers, collections[0]["rules"], wanted["rules"]))
    )


def _covers(actual: JsonObject, wanted: JsonObject) -> bool:
    return all(actual.get(name) == value for name, value in wanted.items() if value is not None)


def _allows(group: JsonObject, addresses: list[str]) -> bool:
    """Tell whether network rules of a group allow any of the addresses; what names no range may be any."""
    for collection in properties(group).get("ruleCollections") or ():
        action = str((collection.get("action") or {}).get("type", "")).lower()
        if action == "deny":
            continue
        rules: list[Any] = [
            each for each in collection.get("rules") or () if each.get("ruleType") != "ApplicationRule"
        ]
        if any(_touches(rule, addresses) for rule in rules):
            return True
    return False


def _touches(rule: JsonObject, addresses: list[str]) -> bool:
    if rule.get("sourceIpGroups") or rule.get("destinationIpGroups"):
        return True
    ends = ("sourceAddresses", "destinationAddresses", "translatedAddress")
    named = [prefix for end in ends for prefix in _listed(rule.get(end))]
    return any(_overlaps(prefix, address) for prefix in named for address in addresses)


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _overlaps(prefix: str, address: str) -> bool:
    if prefix == "*":
        return True
    first, dash, last = prefix.partition("-")
    try:
        if dash:
            return int(ip_address(first)) <= int(ip_address(address)) <= int(ip_address(last))
        return ip_address(address) in ip_network(prefix, strict=False)
    except ValueError:
        return True  # a service tag or name, which may cover the address
