"""Play network interfaces, public addresses and private endpoints as Azure Resource Manager shows them.

Source: Network REST, "Network Interfaces", "Public IP Addresses", "Private Endpoints"; Azure RBAC operations
of Microsoft.Network (the join actions that every write of an interface takes).
"""

from __future__ import annotations

import uuid
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

from drills.sandbox.azure import ids
from drills.sandbox.azure.errors import ArmError
from drills.sandbox.azure.network import topology
from drills.sandbox.azure.network.networks import ENDPOINTS, free_address, join
from drills.sandbox.azure.network.registration import network_type
from drills.sandbox.azure.store import store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drills.sandbox.azure.call import Call
    from drills.sandbox.azure.store import Item

Json = dict[str, Any]
PUBLIC = "Microsoft.Network/publicIPAddresses"
NIC_JOINS = {"networkSecurityGroup": "Microsoft.Network/networkSecurityGroups/join/action"}
CONFIGURATION_JOINS = {
    "subnet": "Microsoft.Network/virtualNetworks/subnets/join/action",
    "publicIPAddress": "Microsoft.Network/publicIPAddresses/join/action",
}
ASG_JOIN = "Microsoft.Network/applicationSecurityGroups/joinIpConfiguration/action"
# What stands for the public addresses that Azure hands out.
PUBLIC_RANGE = "20.50.0.0/16"


def _put(call: Call, item: Item, before: Item | None) -> None:
    old, properties = (before.properties if before else {}), item.properties
    if old.get("privateEndpoint"):
        message = f"Network interface {item.name} is managed by its private endpoint."
        raise ArmError(400, "NetworkInterfaceManagedByPrivateEndpoint", message)
    for name in ("virtualMachine", "macAddress", "resourceGuid", "privateEndpoint"):
        properties.pop(name, None)
        if name in old:
            properties[name] = old[name]
    properties.setdefault("macAddress", _mac())
    properties.setdefault("resourceGuid", str(uuid.uuid4()))
    join(call, properties, NIC_JOINS)
    _check_region(item)
    given = properties.get("ipConfigurations") or []
    if not given:
        raise ArmError(400, "MissingIpConfigurations", f"Interface {item.name} has no IP configuration.")
    for each in given:
        _configure(call, item, each, old)
    if not any(each["properties"].get("primary") for each in given):
        given[0]["properties"]["primary"] = True


def _configure(call: Call, item: Item, configuration: Json, old: Json) -> None:
    properties = configuration.setdefault("properties", {})
    join(call, properties, CONFIGURATION_JOINS)
    for group in properties.get("applicationSecurityGroups") or ():
        call.require(ASG_JOIN, group["id"])
    configuration["id"] = f"{item.id}/ipConfigurations/{configuration['name']}"
    properties["provisioningState"] = "Succeeded"
    properties.setdefault("privateIPAllocationMethod", "Dynamic")
    if not properties.get("privateIPAddress"):
        properties["privateIPAddress"] = _kept(configuration, old) or free_address(
            store.need(properties["subnet"]["id"])
        )
    _check_public(configuration)


def _kept(configuration: Json, old: Json) -> str:
    known = {each["name"]: each["properties"]["privateIPAddress"] for each in old.get("ipConfigurations", ())}
    return str(known.get(configuration["name"], ""))


def _check_region(item: Item) -> None:
    group = topology.referenced(item.properties, "networkSecurityGroup")
    if group is not None and group.location.lower() != item.location.lower():
        message = f"Network security group {group.name} is not in the region of {item.name}."
        raise ArmError(400, "InvalidResourceReference", message)


def _check_public(configuration: Json) -> None:
    public = topology.referenced(configuration["properties"], "publicIPAddress")
    if public is None:
        return
    holder = _holder(public)
    if holder and ids.key(holder) != ids.key(configuration["id"]):
        message = f"Resource {public.id} is already allocated to resource {holder}."
        raise ArmError(400, "PublicIPAddressInUse", message)
    _allocate(public)


def _mac() -> str:
    number = uuid.uuid4().hex[:6].upper()
    return f"00-0D-3A-{number[:2]}-{number[2:4]}-{number[4:]}"


def _uses() -> Iterator[tuple[str, str]]:
    """Yield (public address id, IP configuration id) of every association."""
    for nic in store.list(resource_type=topology.NICS):
        for each in nic.properties.get("ipConfigurations", ()):
            reference = (each["properties"].get("publicIPAddress") or {}).get("id")
            if reference:
                yield ids.key(reference), f"{nic.id}/ipConfigurations/{each['name']}"


def _holder(public: Item) -> str:
    return next((user for ref, user in _uses() if ref == ids.key(public.id)), "")


def _allocate(public: Item) -> None:
    if public.properties.get("ipAddress"):
        return
    taken = {each.properties.get("ipAddress") for each in store.list(resource_type=PUBLIC)}
    hosts = ip_network(PUBLIC_RANGE).hosts()
    public.properties["ipAddress"] = next(str(each) for each in hosts if str(each) not in taken)


def _put_public(_call: Call, item: Item, before: Item | None) -> None:
    properties, old = item.properties, before.properties if before else {}
    properties.pop("ipConfiguration", None)
    properties.setdefault("publicIPAllocationMethod", "Static")
    properties.pop("ipAddress", None)
    if old.get("ipAddress"):
        properties["ipAddress"] = old["ipAddress"]
    if properties["publicIPAllocationMethod"] == "Static":
        _allocate(item)


def _view_public(item: Item) -> Json:
    holder = _holder(item)
    if not holder and item.properties.get("publicIPAllocationMethod") == "Dynamic":
        item.properties.pop("ipAddress", None)  # "Public IP addresses": released when dissociated
    document = item.document()
    if holder:
        document["properties"]["ipConfiguration"] = {"id": holder}
    return document


def _delete_public(_call: Call, item: Item) -> None:
    if _holder(item):
        message = f"Public IP address {item.id} can not be deleted since it is still allocated."
        raise ArmError(400, "PublicIPAddressCannotBeDeleted", message)


def _delete(_call: Call, item: Item) -> None:
    if item.properties.get("virtualMachine"):
        message = f"Nic(s) {item.id} are attached to a virtual machine and cannot be deleted."
        raise ArmError(400, "NicInUse", message)


def _put_endpoint(call: Call, item: Item, before: Item | None) -> None:
    properties = item.properties
    join(call, properties, {"subnet": CONFIGURATION_JOINS["subnet"]})
    properties.pop("networkInterfaces", None)
    name = properties.get("customNetworkInterfaceName") or f"{item.name}.nic"
    nic_id = f"{item.id.rsplit('/providers/', 1)[0]}/providers/{topology.NICS}/{name}"
    if before is None:
        address = free_address(store.need(properties["subnet"]["id"]))
        values = {"privateIPAddress": address, "primary": True, "subnet": properties["subnet"]}
        body = {
            "location": item.location,
            "properties": {
                "macAddress": _mac(),
                "privateEndpoint": {"id": item.id},
                "ipConfigurations": [{"name": "privateEndpointIpConfig", "properties": values}],
            },
        }
        store.put(nic_id, body)
    properties["networkInterfaces"] = [{"id": nic_id}]
    for each in properties.get("privateLinkServiceConnections", ()):
        state = {"status": "Approved", "description": "Auto-approved", "actionsRequired": "None"}
        each["properties"].setdefault("privateLinkServiceConnectionState", state)


def _delete_endpoint(_call: Call, item: Item) -> None:
    for each in item.properties.get("networkInterfaces", ()):
        store.delete(each["id"])


def address_of(endpoint: Item) -> str:
    """Return a private endpoint's address."""
    nic = store.need(endpoint.properties["networkInterfaces"][0]["id"])
    return str(ip_address(nic.properties["ipConfigurations"][0]["properties"]["privateIPAddress"]))


network_type(topology.NICS, "Network Interfaces", on_put=_put, on_delete=_delete)
network_type(PUBLIC, "Public IP Addresses", on_put=_put_public, on_delete=_delete_public, view=_view_public)
network_type(ENDPOINTS, "Private Endpoints", on_put=_put_endpoint, on_delete=_delete_endpoint)
for _name in ("applicationSecurityGroups", "natGateways", "ipGroups"):
    network_type(f"Microsoft.Network/{_name}", _name)
