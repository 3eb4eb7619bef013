"""Cut established flows by routes to nowhere, where a security group does not judge them anew.

A security group leaves established flows alone ("Azure network security groups overview"), and detaching an
interface or changing its private address needs a stopped or restarted machine ("Add network interfaces to or
remove from virtual machines", "Configure IP addresses for an Azure network interface"): neither is done here.
Routes count for established flows as well, and a next hop of None drops the packet ("Virtual network traffic
routing"). They belong to a subnet, so this is only for a subnet in which nobody else is. What no route cuts:
the host's own addresses (168.63.129.16, 169.254.169.254) and prefixes of service endpoints.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from firebreak.declarations import of_kind
from firebreak.measure import on_any
from firebreak.model import JsonObject
from firebreak.session import owner_mark
from providers.azure.answers import already, translated
from providers.azure.ids import ResourceId, same
from providers.azure.network.documents import (
    NETWORK,
    find,
    properties,
    read,
    refer,
    reference,
    rewrite,
    same_or_neither,
)
from providers.azure.network.interfaces import Interface, all_of
from providers.azure.network.quarantinegroup import INCIDENT_TAG, OWNER_TAG
from providers.azure.resources.network import Subnet
from providers.azure.session import AzureAccess

CUT_ROUTES = on_any(
    "Microsoft.Network/networkInterfaces/effectiveRouteTable/action",
    "Microsoft.Network/routeTables/read",
    "Microsoft.Network/routeTables/write",
    "Microsoft.Network/routeTables/delete",
    "Microsoft.Network/routeTables/join/action",
    "Microsoft.Network/virtualNetworks/subnets/read",
    "Microsoft.Network/virtualNetworks/subnets/write",
    "Microsoft.Network/natGateways/join/action",
    "Microsoft.Network/serviceEndpointPolicies/join/action",
)
EVERYWHERE = ("0.0.0.0/0", "::/0")
SERVICE_ENDPOINT = "virtualnetworkserviceendpoint"
IN_USE = ("InUseRouteTableCannotBeDeleted",)
LONGEST_NAME = 80


@dataclass(frozen=True)
class Blackhole:
    """The routes to nowhere of one interface's subnets."""

    access: AzureAccess
    interface: Interface

    def before(self) -> JsonObject:
        """Read which route table each subnet has."""
        return {each: reference(read(self.access, each), "routeTable") for each in self.interface.subnets}

    def others(self) -> tuple[str, ...]:
        """Who else is in the subnets: routes would cut them off as well."""
        return tuple(dict.fromkeys(other for each in self.interface.subnets for other in self._others(each)))

    def possible(self) -> bool:
        """Tell whether every subnet is the workload's alone, or declared as dedicated to it."""
        dedicated = [each.ref for each in of_kind(self.access.run.workload.network, Subnet) if each.dedicated]
        return all(
            any(same(each, known) for known in dedicated) or not self._others(each)
            for each in self.interface.subnets
        )

    def apply(self) -> bool:
        """Route everything that the subnets reach to nowhere; True when anything was changed."""
        changed = [self._cut(each) for each in self.interface.subnets]
        return any(changed)

    def in_force(self) -> bool:
        """Tell whether every subnet has our routes, and no route leads anywhere."""
        ours = all(self._is_ours(read(self.access, each)) for each in self.interface.subnets)
        return ours and not list(self._leading())

    def revert(self, before: JsonObject) -> bool:
        """Give every subnet its own route table again and delete ours; True when all is as it was."""
        for subnet, table in before.items():
            self._restore(subnet, table)
        return self.before() == before or all(
            same_or_neither(table, before.get(subnet, "")) for subnet, table in self.before().items()
        )

    def _others(self, subnet: str) -> list[str]:
        mine = [each.id for each in all_of(self.access)] + [self.interface.id]
        values = properties(read(self.access, subnet))
        held = [*(values.get("ipConfigurations") or ()), *(values.get("privateEndpoints") or ())]
        owners = [_owner(each["id"]) for each in held]
        return [each for each in dict.fromkeys(owners) if not any(same(each, one) for one in mine)]

    def _cut(self, subnet: str) -> bool:
        if self._is_ours(read(self.access, subnet)):
            return False
        table = self._table(subnet)
        with translated(table):
            self.access.arm().put(table, self._body(), NETWORK)
        return rewrite(self.access, subnet, lambda document: refer(document, "routeTable", table))[1]

    def _restore(self, subnet: str, table: str) -> None:
        if self._is_ours(read(self.access, subnet)):
            rewrite(self.access, subnet, lambda document: refer(document, "routeTable", table))
        ours = self._table(subnet)
        if self._has_our_tag(ours):
            with already(ours, *IN_USE):
                self.access.arm().delete(ours, NETWORK)

    def _is_ours(self, subnet: JsonObject) -> bool:
        return same(reference(subnet, "routeTable"), self._table(str(subnet["id"])))

    def _has_our_tag(self, table: str) -> bool:
        tags = (find(self.access, table) or {}).get("tags") or {}
        return bool(tags.get(OWNER_TAG) == owner_mark(self.access.run))

    def _table(self, subnet: str) -> str:
        """One table for each workload and subnet, beside the virtual network."""
        own = ResourceId.parse(subnet)
        group = f"/subscriptions/{own.subscription}/resourceGroups/{own.group}"
        network = own.part("virtualNetworks")
        name = f"firebreak-{owner_mark(self.access.run)}-{network}-{own.name}"[:LONGEST_NAME]
        return f"{group}/providers/Microsoft.Network/routeTables/{name}"

    def _body(self) -> JsonObject:
        reached = [prefix for prefix, hop in self._leading() if hop != SERVICE_ENDPOINT]
        prefixes = list(dict.fromkeys([*EVERYWHERE, *reached]))
        return {
            "location": self.interface.location,
            "tags": {OWNER_TAG: owner_mark(self.access.run), INCIDENT_TAG: self.access.run.incident_id},
            "properties": {
                "disableBgpRoutePropagation": True,
                "routes": [
                    {
                        "name": f"none-{number}",
                        "properties": {"addressPrefix": prefix, "nextHopType": "None"},
                    }
                    for number, prefix in enumerate(prefixes, 1)
                ],
            },
        }

    def _leading(self) -> Iterator[tuple[str, str]]:
        """Every prefix that the interface's effective routes lead somewhere, with its next hop."""
        with translated(self.interface.id):
            answer = self.access.arm().post(f"{self.interface.id}/effectiveRouteTable", None, NETWORK)
        for each in answer.get("value") or ():
            hop = str(each.get("nextHopType", "")).lower()
            if hop != "none" and str(each.get("state", "Active")).lower() == "active":
                yield from ((prefix, hop) for prefix in each.get("addressPrefix") or ())


def _owner(configuration: str) -> str:
    """Return the interface or other resource whose IP configuration an id names."""
    found = ResourceId.parse(configuration)
    parent = found.parent
    nested = "ipconfigurations" in found.type.lower() and parent is not None
    return str(parent) if nested else configuration
