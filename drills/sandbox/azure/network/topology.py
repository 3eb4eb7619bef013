"""Read the store's Microsoft.Network resources as the rules that the packet simulator applies."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

from drills.sandbox.azure import ids
from drills.sandbox.azure.network import routes
from drills.sandbox.azure.network.firewalls import Firewall
from drills.sandbox.azure.network.groups import Group, Viewpoint, group_of
from drills.sandbox.azure.network.routes import Endpoint, Route
from drills.sandbox.azure.network.tags import Surroundings
from drills.sandbox.azure.store import store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drills.sandbox.azure.store import Item
    from drills.sandbox.packets import IPAddress, IPNetwork

Json = dict[str, Any]
NICS = "Microsoft.Network/networkInterfaces"
NETWORKS = "Microsoft.Network/virtualNetworks"
SUBNETS = f"{NETWORKS}/subnets"
PUBLIC_ADDRESSES = "Microsoft.Network/publicIPAddresses"
PEERINGS = f"{NETWORKS}/virtualNetworkPeerings"
GROUPS = "Microsoft.Network/networkSecurityGroups"
FIREWALLS = "Microsoft.Network/azureFirewalls"
COLLECTION_GROUPS = "Microsoft.Network/firewallPolicies/ruleCollectionGroups"
IP_GROUPS = "Microsoft.Network/ipGroups"
NSG_APPLIES = frozenset({"enabled", "networksecuritygroupenabled"})
# "Default outbound access in Azure": an address that belongs to Microsoft and may change.
DEFAULT_OUTBOUND = ip_address("20.199.0.4")
RUNNING = "PowerState/running"


@dataclass(frozen=True)
class Interface:
    """One network interface with everything that judges its packets at this moment."""

    id: str
    mac: str
    subnet_id: str
    network_id: str
    address: IPAddress
    addresses: frozenset[IPAddress]
    public: tuple[tuple[IPAddress, IPAddress], ...]
    """Private address and the public one in front of it."""
    nic_group: Group | None
    subnet_group: Group | None
    view: Viewpoint
    routes: tuple[Route, ...]
    running: bool = True
    machine_id: str = ""
    endpoint: bool = False
    """A private endpoint's interface."""
    outbound: IPAddress | None = field(default=None)
    """The address that it shows the internet where it has no public one."""

    @property
    def groups(self) -> tuple[Group, ...]:
        """The security groups in force, the interface's own first."""
        return tuple(each for each in (self.nic_group, self.subnet_group) if each is not None)

    def public_of(self, private: IPAddress) -> IPAddress | None:
        """Return the public address in front of a private one."""
        return dict(self.public).get(private)

    def leaves_as(self, private: IPAddress) -> IPAddress | None:
        """Return the address that the internet sees a packet of this private address come from."""
        return self.public_of(private) or self.outbound

    def private_of(self, address: IPAddress) -> IPAddress | None:
        """Return the private address behind one of its public addresses."""
        return next((private for private, public in self.public if public == address), None)


def referenced(properties: Json, name: str) -> Item | None:
    """Return the resource that a property refers to by id."""
    reference = properties.get(name) or {}
    return store.get(reference["id"]) if reference.get("id") else None


def interface(nic_id: str) -> Interface | None:
    """Return an interface as it is now, or None when it does not exist."""
    item = store.get(nic_id)
    return describe(item) if item is not None and item.type.lower() == NICS.lower() else None


def interfaces_in(holders: set[str]) -> Iterator[str]:
    """Yield the interfaces that are among these ids, or in a subnet that is (as of `ids.key`)."""
    for item in store.list(resource_type=NICS):
        subnets = {
            ids.key(each["properties"]["subnet"]["id"]) for each in item.properties["ipConfigurations"]
        }
        if ids.key(item.id) in holders or subnets & holders:
            yield item.id


def interface_at(address: IPAddress, network_id: str | None) -> Interface | None:
    """Return the owner of an address that a virtual network reaches privately, or of a public address."""
    reached = set(_reached(network_id)) if network_id else set()
    for item in store.list(resource_type=NICS):
        if str(address) not in _known_as(item):
            continue
        each = describe(item)
        if address in each.addresses and ids.key(each.network_id) in reached:
            return each
        if each.private_of(address) is not None:
            return each
    return None


def is_unassigned(address: IPAddress) -> bool:
    """Tell whether a public address is somebody's and in front of nothing, so that nobody answers there."""
    held = store.list(resource_type=PUBLIC_ADDRESSES)
    return any(each.properties.get("ipAddress") == str(address) for each in held)


def _known_as(item: Item) -> Iterator[str]:
    """Yield the private and public addresses of an interface's document."""
    for each in item.properties["ipConfigurations"]:
        yield str(each["properties"]["privateIPAddress"])
        public = referenced(each["properties"], "publicIPAddress")
        if public is not None:
            yield str(public.properties.get("ipAddress", ""))


def describe(item: Item) -> Interface:
    """Return one interface with its groups, routes and addresses as they are now."""
    properties = item.properties
    configurations = [each["properties"] for each in properties["ipConfigurations"]]
    primary = next((each for each in configurations if each.get("primary")), configurations[0])
    subnet = store.need(primary["subnet"]["id"])
    network_id = subnet.id.rsplit("/", 2)[0]
    machine = referenced(properties, "virtualMachine")
    is_endpoint = bool(properties.get("privateEndpoint"))
    applies = not is_endpoint or _policies(subnet).lower() in NSG_APPLIES
    return Interface(
        id=item.id,
        mac=str(properties.get("macAddress", "")),
        subnet_id=subnet.id,
        network_id=network_id,
        address=ip_address(primary["privateIPAddress"]),
        addresses=frozenset(ip_address(each["privateIPAddress"]) for each in configurations),
        public=tuple(_public(configurations)),
        nic_group=_group(properties) if applies else None,
        subnet_group=_group(subnet.properties) if applies else None,
        view=_viewpoint(network_id, subnet),
        routes=_routes(network_id, subnet),
        running=is_endpoint or (machine is not None and machine.extra.get("power", RUNNING) == RUNNING),
        machine_id=machine.id if machine else "",
        endpoint=is_endpoint,
        outbound=None if subnet.properties.get("defaultOutboundAccess") is False else DEFAULT_OUTBOUND,
    )


def _policies(subnet: Item) -> str:
    # "Manage network policies for private endpoints": disabled unless somebody enables them.
    return str(subnet.properties.get("privateEndpointNetworkPolicies") or "Disabled")


def _public(configurations: list[Json]) -> Iterator[tuple[IPAddress, IPAddress]]:
    for each in configurations:
        item = referenced(each, "publicIPAddress")
        if item is not None and item.properties.get("ipAddress"):
            yield ip_address(each["privateIPAddress"]), ip_address(item.properties["ipAddress"])


def _group(properties: Json) -> Group | None:
    item = referenced(properties, "networkSecurityGroup")
    return group_of(item.document()) if item else None


def spaces_of(network_id: str) -> tuple[IPNetwork, ...]:
    """Return a virtual network's address spaces."""
    item = store.get(network_id)
    prefixes = item.properties.get("addressSpace", {}).get("addressPrefixes", ()) if item else ()
    return tuple(ip_network(each) for each in prefixes)


def _peers(network_id: str) -> Iterator[str]:
    for item in store.list(network_id, PEERINGS):
        remote = item.properties.get("remoteVirtualNetwork", {}).get("id", "")
        if remote and item.properties.get("peeringState", "Connected") == "Connected":
            yield ids.key(remote)


def _reached(network_id: str) -> Iterator[str]:
    yield ids.key(network_id)
    yield from _peers(network_id)


def _viewpoint(network_id: str, subnet: Item) -> Viewpoint:
    connected = tuple(space for each in _reached(network_id) for space in spaces_of(each))
    # "Virtual network service tags": VirtualNetwork also covers the prefixes of user-defined routes.
    routed = tuple(each.prefix for each in _user_routes(subnet))
    return Viewpoint(Surroundings((*connected, *routed)), _members())


def _members() -> dict[str, frozenset[IPAddress]]:
    found: dict[str, set[IPAddress]] = {}
    for item in store.list(resource_type=NICS):
        for configuration in item.properties["ipConfigurations"]:
            values = configuration["properties"]
            for group in values.get("applicationSecurityGroups") or ():
                found.setdefault(group["id"].lower(), set()).add(ip_address(values["privateIPAddress"]))
    return {group: frozenset(addresses) for group, addresses in found.items()}


def _routes(network_id: str, subnet: Item) -> tuple[Route, ...]:
    peered = [space for each in _peers(network_id) for space in spaces_of(each)]
    system = routes.system_routes(spaces_of(network_id), peered)
    reached = set(_reached(network_id))
    return routes.effective(system, _user_routes(subnet), list(_endpoints(reached)))


def _user_routes(subnet: Item) -> list[Route]:
    table = referenced(subnet.properties, "routeTable")
    if table is None:
        return []
    return [
        Route(
            ip_network(each["properties"]["addressPrefix"]),
            each["properties"]["nextHopType"],
            routes.USER,
            str(each["properties"].get("nextHopIpAddress") or ""),
            each["name"],
        )
        for each in table.properties.get("routes", ())
    ]


def _endpoints(reached: set[str]) -> Iterator[Endpoint]:
    for item in store.list(resource_type=NICS):
        if not item.properties.get("privateEndpoint"):
            continue
        for configuration in item.properties["ipConfigurations"]:
            values = configuration["properties"]
            subnet = store.need(values["subnet"]["id"])
            network_id = subnet.id.rsplit("/", 2)[0]
            if ids.key(network_id) in reached:
                address = ip_address(values["privateIPAddress"])
                yield Endpoint(address, _policies(subnet), spaces_of(network_id))


def firewall_at(address: str, network_id: str) -> Firewall | None:
    """Return the Azure Firewall whose private address a route of a virtual network names, or None."""
    reached = set(_reached(network_id))
    for item in store.list(resource_type=FIREWALLS):
        for each in item.properties.get("ipConfigurations", ()):
            values = each["properties"]
            near = ids.key(values["subnet"]["id"].rsplit("/", 2)[0]) in reached
            if near and values.get("privateIPAddress") == address:
                return Firewall(item.id, tuple(_policy_chain(item.properties)), _ip_groups())
    return None


def _policy_chain(properties: Json) -> list[tuple[Json, ...]]:
    """The collection groups of a policy, its base policies' first ("Azure Firewall policy hierarchy")."""
    chain: list[tuple[Json, ...]] = []
    policy = referenced(properties, "firewallPolicy")
    while policy is not None:
        chain.insert(0, tuple(each.document() for each in store.list(policy.id, COLLECTION_GROUPS)))
        policy = referenced(policy.properties, "basePolicy")
    return chain


def _ip_groups() -> dict[str, tuple[str, ...]]:
    return {
        item.id.lower(): tuple(item.properties.get("ipAddresses", ()))
        for item in store.list(resource_type=IP_GROUPS)
    }
