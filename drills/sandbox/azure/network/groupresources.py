"""Play network security groups as Azure Resource Manager shows them, and what enabling a flush does.

Source: Network REST, "Network Security Groups"; "Azure network security groups overview".
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from drills.sandbox.azure import ids
from drills.sandbox.azure.errors import ArmError
from drills.sandbox.azure.network import topology
from drills.sandbox.azure.network.groups import addresses, default_rules
from drills.sandbox.azure.network.registration import network_type
from drills.sandbox.azure.network.runtime import network
from drills.sandbox.azure.network.tags import is_known
from drills.sandbox.azure.state import define, settings
from drills.sandbox.azure.store import store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drills.sandbox.azure.call import Call
    from drills.sandbox.azure.store import Item

Json = dict[str, Any]
FIRST, LAST = 100, 4096
# 0: the service leaves flushConnection out, as where the feature is not available.
define("nsg_flush_supported", 1)


def associated(group_id: str) -> Iterator[Item]:
    """Yield the interfaces and subnets that a group is associated with."""
    for kind in (topology.NICS, topology.SUBNETS):
        for item in store.list(resource_type=kind):
            found = topology.referenced(item.properties, "networkSecurityGroup")
            if found is not None and ids.key(found.id) == ids.key(group_id):
                yield item


def guarded(group_id: str) -> set[str]:
    """Return the interfaces that a group guards, by themselves or by their subnet."""
    return set(topology.interfaces_in({ids.key(each.id) for each in associated(group_id)}))


def _put(_call: Call, item: Item, before: Item | None) -> None:
    properties = item.properties
    for name in ("networkInterfaces", "subnets", "flowLogs"):
        properties.pop(name, None)
    rules = properties.setdefault("securityRules", [])
    _check(rules)
    for rule in rules:
        rule["id"] = f"{item.id}/securityRules/{rule['name']}"
        rule["type"] = "Microsoft.Network/networkSecurityGroups/securityRules"
        rule["properties"]["provisioningState"] = "Succeeded"
    properties["defaultSecurityRules"] = default_rules(item.id)
    old = before.properties if before else {}
    properties["resourceGuid"] = old.get("resourceGuid", str(uuid.uuid4()))
    if not settings["nsg_flush_supported"]:
        properties.pop("flushConnection", None)
    if properties.get("flushConnection") and _triggers(properties, old):
        network.reevaluate(guarded(item.id))


def _triggers(properties: Json, old: Json) -> bool:
    """Enabling triggers the judging anew, and so does every later change of the rules."""
    return not old.get("flushConnection") or properties["securityRules"] != old.get("securityRules")


def _check(rules: list[Json]) -> None:
    taken: set[tuple[str, int]] = set()
    for rule in rules:
        properties = rule["properties"]
        place = (str(properties["direction"]).lower(), int(properties["priority"]))
        if not FIRST <= place[1] <= LAST:
            message = f"Security rule has invalid Priority. Value provided: {place[1]} ({FIRST}-{LAST})."
            raise ArmError(400, "SecurityRuleInvalidPriority", message)
        if place in taken:
            message = f"Security rule {rule['name']} has the priority and direction of another rule."
            raise ArmError(400, "SecurityRuleConflict", message)
        taken.add(place)
        _check_prefixes(rule)


def _check_prefixes(rule: Json) -> None:
    properties = rule["properties"]
    if str(properties.get("access")).lower() not in ("allow", "deny"):
        raise ArmError(400, "InvalidRequestFormat", f"Security rule {rule['name']} has an invalid access.")
    for end in ("source", "destination"):
        for prefix in addresses(properties, end):
            if not is_known(prefix):
                message = f"Security rule has invalid Address prefix. Value provided: {prefix}"
                raise ArmError(400, "SecurityRuleInvalidAddressPrefix", message)


def _view(item: Item) -> Json:
    document = item.document()
    holders = list(associated(item.id))
    for name, kind in (("networkInterfaces", topology.NICS), ("subnets", topology.SUBNETS)):
        found = [{"id": each.id} for each in holders if each.type.lower() == kind.lower()]
        if found:
            document["properties"][name] = found
    return document


def _delete(_call: Call, item: Item) -> None:
    user = next(associated(item.id), None)
    if user is not None:
        message = f"Network security group {item.id} cannot be deleted because it is in use by {user.id}."
        raise ArmError(400, "InUseNetworkSecurityGroupCannotBeDeleted", message)


network_type(topology.GROUPS, "Network Security Groups", on_put=_put, on_delete=_delete, view=_view)
