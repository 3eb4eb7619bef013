"""Play virtual networks, subnets, peerings and route tables as Azure Resource Manager shows them.

Source: Network REST, "Virtual Networks", "Subnets", "Route Tables"; Azure RBAC operations of
Microsoft.Network (whoever writes a subnet must be allowed to join each resource that it refers to).
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

from drills.sandbox.azure import ids
from drills.sandbox.azure.errors import ArmError
from drills.sandbox.azure.network import topology
from drills.sandbox.azure.network.registration import network_type
from drills.sandbox.azure.store import store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drills.sandbox.azure.call import Call
    from drills.sandbox.azure.store import Item

Json = dict[str, Any]
ROUTE_TABLES = "Microsoft.Network/routeTables"
ENDPOINTS = "Microsoft.Network/privateEndpoints"
RESERVED = 4
POLICIES = frozenset({"Disabled", "Enabled", "NetworkSecurityGroupEnabled", "RouteTableEnabled"})
HOPS = frozenset({"VirtualNetworkGateway", "VnetLocal", "Internet", "VirtualAppliance", "None"})
JOINED = {
    "networkSecurityGroup": "Microsoft.Network/networkSecurityGroups/join/action",
    "routeTable": "Microsoft.Network/routeTables/join/action",
    "natGateway": "Microsoft.Network/natGateways/join/action",
}


def join(call: Call, properties: Json, permissions: dict[str, str]) -> None:
    """Refuse a write that refers to what does not exist, or what its writer may not use."""
    for name, action in permissions.items():
        reference = (properties.get(name) or {}).get("id")
        if not reference:
            continue
        if store.get(reference) is None:
            message = f"Resource {reference} referenced by resource {call.resource_id} was not found."
            raise ArmError(400, "InvalidResourceReference", message)
        call.require(action, reference)


def configurations(subnet_id: str) -> Iterator[tuple[Item, Json]]:
    """Yield every IP configuration of an interface in a subnet."""
    for item in store.list(resource_type=topology.NICS):
        for each in item.properties["ipConfigurations"]:
            if ids.key(each["properties"]["subnet"]["id"]) == ids.key(subnet_id):
                yield item, each


def free_address(subnet: Item) -> str:
    """Return the next address of a subnet that nobody has; the first ones are Azure's."""
    taken = {each["properties"].get("privateIPAddress") for _, each in configurations(subnet.id)}
    network = ip_network(subnet.properties["addressPrefix"])
    for number, address in enumerate(network.hosts(), 1):
        if number >= RESERVED and str(address) not in taken:
            return str(address)
    raise ArmError(400, "SubnetIsFull", f"Subnet {subnet.name} does not have enough capacity.")


def _put_network(call: Call, item: Item, _before: Item | None) -> None:
    inline = item.properties.pop("subnets", None) or []
    inline_peerings = item.properties.pop("virtualNetworkPeerings", None) or []
    for each in inline:
        subnet = store.put(f"{item.id}/subnets/{each['name']}", {"properties": each.get("properties") or {}})
        _put_subnet(call, subnet, None)
    for each in inline_peerings:
        store.put(f"{item.id}/virtualNetworkPeerings/{each['name']}", {"properties": each["properties"]})


def _view_network(item: Item) -> Json:
    document = item.document()
    document["properties"]["subnets"] = [_view_subnet(each) for each in store.list(item.id, topology.SUBNETS)]
    document["properties"]["virtualNetworkPeerings"] = [
        each.document() for each in store.list(item.id, topology.PEERINGS)
    ]
    return document


def _put_subnet(call: Call, item: Item, _before: Item | None) -> None:
    properties = item.properties
    for name in ("ipConfigurations", "privateEndpoints"):
        properties.pop(name, None)
    prefixes = properties.pop("addressPrefixes", None) or []
    properties.setdefault("addressPrefix", prefixes[0] if prefixes else "")
    policies = properties.setdefault("privateEndpointNetworkPolicies", "Disabled")
    if policies not in POLICIES:
        raise ArmError(400, "InvalidRequestFormat", f"'{policies}' is no privateEndpointNetworkPolicies.")
    properties.setdefault("privateLinkServiceNetworkPolicies", "Enabled")
    properties["provisioningState"] = "Succeeded"
    join(call, properties, JOINED)


def _view_subnet(item: Item) -> Json:
    document = item.document()
    held = list(configurations(item.id))
    if held:
        document["properties"]["ipConfigurations"] = [
            {"id": f"{nic.id}/ipConfigurations/{each['name']}"} for nic, each in held
        ]
    endpoints = [
        nic.properties["privateEndpoint"] for nic, _ in held if nic.properties.get("privateEndpoint")
    ]
    if endpoints:
        document["properties"]["privateEndpoints"] = endpoints
    return document


def _delete_subnet(_call: Call, item: Item) -> None:
    held = next(configurations(item.id), None)
    if held is not None:
        message = f"Subnet {item.name} is in use by {held[0].id} and cannot be deleted."
        raise ArmError(400, "InUseSubnetCannotBeDeleted", message)


def _put_routes(_call: Call, item: Item, _before: Item | None) -> None:
    item.properties.pop("subnets", None)
    for each in item.properties.setdefault("routes", []):
        properties = each["properties"]
        ip_network(properties["addressPrefix"])
        if properties["nextHopType"] not in HOPS:
            raise ArmError(400, "InvalidRequestFormat", f"'{properties['nextHopType']}' is no next hop type.")
        if properties["nextHopType"] == "VirtualAppliance":
            ip_address(properties["nextHopIpAddress"])
        each["id"] = f"{item.id}/routes/{each['name']}"
        properties["provisioningState"] = "Succeeded"


def _routed(table_id: str) -> Iterator[Item]:
    for item in store.list(resource_type=topology.SUBNETS):
        table = topology.referenced(item.properties, "routeTable")
        if table is not None and ids.key(table.id) == ids.key(table_id):
            yield item


def _view_routes(item: Item) -> Json:
    document = item.document()
    subnets = [{"id": each.id} for each in _routed(item.id)]
    if subnets:
        document["properties"]["subnets"] = subnets
    return document


def _delete_routes(_call: Call, item: Item) -> None:
    user = next(_routed(item.id), None)
    if user is not None:
        message = f"Route table {item.name} is in use and cannot be deleted. It is in use by {user.id}."
        raise ArmError(400, "InUseRouteTableCannotBeDeleted", message)


network_type(topology.NETWORKS, "Virtual Networks", on_put=_put_network, view=_view_network)
network_type(topology.SUBNETS, "Subnets", on_put=_put_subnet, on_delete=_delete_subnet, view=_view_subnet)
network_type(topology.PEERINGS, "Virtual Network Peerings")
network_type(ROUTE_TABLES, "Route Tables", on_put=_put_routes, on_delete=_delete_routes, view=_view_routes)
