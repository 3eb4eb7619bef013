"""Build the sample workload's network: a machine with two interfaces, firewall, private endpoint, canary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drills.sandbox.azure.network.build import Builder, Watched, network_rules, rule, watched_network
from drills.sandbox.azure.sample.admin import Admin

if TYPE_CHECKING:
    from collections.abc import Mapping

Json = dict[str, Any]
CANARY_PORT = 443
VNET_RANGE = "10.42.0.0/16"
SHARED_RANGE, DEDICATED_RANGE = "10.42.1.0/24", "10.42.2.0/24"
FIREWALL_RANGE, ENDPOINT_RANGE = "10.42.8.0/26", "10.42.3.0/24"
FIREWALL_ADDRESS = "10.42.8.4"
FIRST_ADDRESS, SECOND_ADDRESS, THIRD_ADDRESS = "10.42.1.10", "10.42.2.10", "10.42.2.11"
PEER_ADDRESS = "10.42.1.20"
DISKS_VERSION, NETWORK_VERSION = "2024-03-02", "2025-07-01"


@dataclass(frozen=True)
class Host:
    """The agent's machine and everything that leads to it."""

    machine: str
    first: str
    second: str
    public_address: str
    dedicated_subnet: str
    peer: str
    firewall_policy: str
    private_endpoint: str
    endpoint_address: str


def builder_of(admin: Admin, group: str) -> Builder:
    """Return the builder of networks in a resource group."""

    def put(ref: str, body: Json, version: str) -> Any:
        return admin.put(ref, body, version)

    return Builder(put, group, admin.location)


def create_watched(admin: Admin, group: str, name: str, account: str) -> Watched:
    """Make a network with flow logs and a canary."""
    return watched_network(builder_of(admin, group), name, account)


def create_host(
    admin: Admin, group: str, name: str, watched: Watched, identities: Mapping[str, Json]
) -> Host:
    """Make the agent's machine with a public and a private interface, a peer, firewall and endpoint."""
    build = builder_of(admin, group)
    shared = build.subnet(watched.network, "shared", SHARED_RANGE)
    policy, routes = _firewall(build, name, watched)
    dedicated = build.subnet(watched.network, "dedicated", DEDICATED_RANGE, routeTable=routes)
    public_group = build.security_group(f"{name}-public", rule("web", 100, port=str(CANARY_PORT)))
    private_group = build.security_group(
        f"{name}-private", rule("inside", 100, port=str(CANARY_PORT), source="VirtualNetwork")
    )
    public = build.public_address(f"{name}-ip")
    first = build.interface(
        f"{name}-nic-public", shared, FIRST_ADDRESS, group=public_group, public={FIRST_ADDRESS: public}
    )
    second = build.interface(
        f"{name}-nic-private", dedicated, SECOND_ADDRESS, THIRD_ADDRESS, group=private_group
    )
    peer = build.interface(f"{name}-peer-nic", shared, PEER_ADDRESS)
    build.machine("planner-agent", peer)
    endpoint = _endpoint(build, name, watched)
    return Host(
        machine=_machine(admin, build, name, (first, second), identities),
        first=first,
        second=second,
        public_address=str(admin.arm("GET", public, NETWORK_VERSION)["properties"]["ipAddress"]),
        dedicated_subnet=dedicated,
        peer=peer,
        firewall_policy=policy,
        private_endpoint=endpoint,
        endpoint_address=_address_of(admin, endpoint),
    )


def _firewall(build: Builder, name: str, watched: Watched) -> tuple[str, str]:
    """Make the firewall that the dedicated subnet's traffic passes; returns policy and route table."""
    policy = build.firewall_policy(f"{name}-egress")
    allowed = network_rules("egress", 200, "Allow", ([DEDICATED_RANGE], ["*"]))
    build.collection_group(policy, "baseline", 300, allowed)
    subnet = build.subnet(watched.network, "AzureFirewallSubnet", FIREWALL_RANGE)
    build.firewall(f"{name}-firewall", subnet, policy)
    routes = build.route_table(f"{name}-egress", ("0.0.0.0/0", "VirtualAppliance", FIREWALL_ADDRESS))
    return policy, routes


def _endpoint(build: Builder, name: str, watched: Watched) -> str:
    subnet = build.subnet(watched.network, "endpoints", ENDPOINT_RANGE)
    return build.private_endpoint(f"{name}-artifacts", subnet, watched.account)


def _address_of(admin: Admin, endpoint: str) -> str:
    nic = admin.arm("GET", endpoint, NETWORK_VERSION)["properties"]["networkInterfaces"][0]["id"]
    shown = admin.arm("GET", nic, NETWORK_VERSION)["properties"]["ipConfigurations"][0]["properties"]
    return str(shown["privateIPAddress"])


def _machine(
    admin: Admin, build: Builder, name: str, interfaces: tuple[str, ...], identities: Mapping[str, Json]
) -> str:
    disks = [create_disk(admin, build.group, f"{name}-{kind}") for kind in ("os", "data")]
    identity = {"type": "UserAssigned", "userAssignedIdentities": dict(identities)}
    machine = build.machine(f"{name}-vm", *interfaces, identity=identity)
    shown = admin.arm("GET", machine, "2024-11-01")
    storage = {
        "osDisk": {"osType": "Linux", "createOption": "Attach", "managedDisk": {"id": disks[0]}},
        "dataDisks": [{"lun": 0, "createOption": "Attach", "managedDisk": {"id": disks[1]}}],
    }
    properties = {**shown["properties"], "storageProfile": storage}
    admin.resource(machine, "2024-11-01", properties, identity=identity)
    return machine


def create_disk(admin: Admin, group: str, name: str) -> str:
    """Make an empty managed disk; returns its id."""
    ref = f"{group}/providers/Microsoft.Compute/disks/{name}"
    admin.resource(
        ref,
        DISKS_VERSION,
        {"creationData": {"createOption": "Empty"}, "diskSizeGB": 32},
        sku={"name": "Premium_LRS"},
    )
    return ref
