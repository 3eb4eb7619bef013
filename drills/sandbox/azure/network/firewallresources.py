"""Play Azure Firewalls, their policies and rule collection groups as Azure Resource Manager shows them.

Source: Network REST, "Azure Firewalls", "Firewall Policies", "Firewall Policy Rule Collection Groups".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drills.sandbox.azure import ids, lro
from drills.sandbox.azure.errors import ArmError
from drills.sandbox.azure.network import topology
from drills.sandbox.azure.network.networks import free_address
from drills.sandbox.azure.network.registration import network_type
from drills.sandbox.azure.store import store

if TYPE_CHECKING:
    from drills.sandbox.azure.call import Call
    from drills.sandbox.azure.store import Item

Json = dict[str, Any]
POLICIES = "Microsoft.Network/firewallPolicies"
FIRST, LAST = 100, 65_000


def _put_firewall(_call: Call, item: Item, _before: Item | None) -> None:
    for each in item.properties.get("ipConfigurations", ()):
        values = each["properties"]
        if "subnet" in values and not values.get("privateIPAddress"):
            values["privateIPAddress"] = free_address(store.need(values["subnet"]["id"]))
    if item.properties.get("firewallPolicy"):
        store.need(item.properties["firewallPolicy"]["id"])


def _put_group(_call: Call, item: Item, _before: Item | None) -> None:
    policy = item.id.rsplit("/", 2)[0]
    siblings = [
        each
        for each in store.list(policy, topology.COLLECTION_GROUPS)
        if ids.key(each.id) != ids.key(item.id)
    ]
    # The policy is provisioned as a whole: a second change waits for the first one to end.
    if any(lro.busy(each.id) for each in siblings):
        message = f"Put on Firewall Policy {ids.name_of(policy)} Failed: another operation is in progress."
        raise ArmError(409, "AnotherOperationInProgress", message)
    priority = int(item.properties.get("priority", 0))
    if not FIRST <= priority <= LAST:
        raise ArmError(400, "FirewallPolicyRuleCollectionGroupInvalidPriority", f"Priority {priority}.")
    if any(int(each.properties["priority"]) == priority for each in siblings):
        message = f"Another rule collection group has the priority {priority}."
        raise ArmError(400, "FirewallPolicyRuleCollectionGroupInvalidPriority", message)
    item.properties.setdefault("ruleCollections", [])


def _view_policy(item: Item) -> Json:
    document = item.document()
    groups = [{"id": each.id} for each in store.list(item.id, topology.COLLECTION_GROUPS)]
    document["properties"]["ruleCollectionGroups"] = groups
    return document


network_type(topology.FIREWALLS, "Azure Firewalls", on_put=_put_firewall)
network_type(POLICIES, "Firewall Policies", view=_view_policy)
network_type(topology.COLLECTION_GROUPS, "Firewall Policy Rule Collection Groups", on_put=_put_group)
