"""Build networks through Azure Resource Manager: what the samples and the tests of the sandbox start from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
Put = Callable[[str, Json, str], Any]
"""Writes a document under an id with an api-version."""
NETWORK, COMPUTE, STORAGE = "2025-07-01", "2024-11-01", "2025-06-01"


@dataclass(frozen=True)
class Builder:
    """Makes resources in one resource group; every method returns the id of what it made."""

    put: Put
    group: str
    """The resource group's id."""
    location: str

    def _id(self, kind: str, name: str) -> str:
        return f"{self.group}/providers/Microsoft.Network/{kind}/{name}"

    def _network(self, kind: str, name: str, properties: Json, **more: Any) -> str:
        made = self._id(kind, name)
        self.put(made, {"location": self.location, "properties": properties, **more}, NETWORK)
        return made

    def security_group(self, name: str, *rules: Json) -> str:
        """Make a security group with these rules."""
        return self._network("networkSecurityGroups", name, {"securityRules": list(rules)})

    def virtual_network(self, name: str, space: str) -> str:
        """Make a virtual network without subnets."""
        return self._network("virtualNetworks", name, {"addressSpace": {"addressPrefixes": [space]}})

    def subnet(self, network: str, name: str, prefix: str, **properties: Any) -> str:
        """Make a subnet; references are given as ids (`networkSecurityGroup=...`)."""
        made = f"{network}/subnets/{name}"
        values = {key: {"id": value} if _is_id(value) else value for key, value in properties.items()}
        self.put(made, {"properties": {"addressPrefix": prefix, **values}}, NETWORK)
        return made

    def public_address(self, name: str, allocation: str = "Static") -> str:
        """Make a public address."""
        properties = {"publicIPAllocationMethod": allocation}
        return self._network("publicIPAddresses", name, properties, sku={"name": "Standard"})

    def interface(
        self, name: str, subnet: str, *addresses: str, group: str = "", public: dict[str, str] | None = None
    ) -> str:
        """Make an interface with an IP configuration for each address; `public` by private address."""
        configurations = []
        for number, address in enumerate(addresses):
            values: Json = {
                "subnet": {"id": subnet},
                "privateIPAddress": address,
                "privateIPAllocationMethod": "Static",
                "primary": number == 0,
            }
            if public and address in public:
                values["publicIPAddress"] = {"id": public[address]}
            configurations.append({"name": f"ipconfig{number + 1}", "properties": values})
        properties: Json = {"ipConfigurations": configurations}
        if group:
            properties["networkSecurityGroup"] = {"id": group}
        return self._network("networkInterfaces", name, properties)

    def machine(self, name: str, *interfaces: str, **more: Any) -> str:
        """Make a running machine with these interfaces, the first one primary."""
        made = f"{self.group}/providers/Microsoft.Compute/virtualMachines/{name}"
        listed = [
            {"id": each, "properties": {"primary": number == 0}} for number, each in enumerate(interfaces)
        ]
        properties = {
            "hardwareProfile": {"vmSize": "Standard_D2s_v5"},
            "networkProfile": {"networkInterfaces": listed},
        }
        self.put(made, {"location": self.location, "properties": properties, **more}, COMPUTE)
        return made

    def route_table(self, name: str, *routes: tuple[str, str, str]) -> str:
        """Make a route table of (prefix, next hop type, appliance or nothing)."""
        listed = [
            {
                "name": f"route-{number}",
                "properties": {
                    "addressPrefix": prefix,
                    "nextHopType": hop,
                    **({"nextHopIpAddress": appliance} if appliance else {}),
                },
            }
            for number, (prefix, hop, appliance) in enumerate(routes)
        ]
        return self._network("routeTables", name, {"routes": listed})

    def firewall_policy(self, name: str, **properties: Any) -> str:
        """Make a firewall policy."""
        return self._network("firewallPolicies", name, properties)

    def collection_group(self, policy: str, name: str, priority: int, *collections: Json) -> str:
        """Make a rule collection group of a policy."""
        made = f"{policy}/ruleCollectionGroups/{name}"
        properties = {"priority": priority, "ruleCollections": list(collections)}
        self.put(made, {"properties": properties}, NETWORK)
        return made

    def firewall(self, name: str, subnet: str, policy: str) -> str:
        """Make an Azure Firewall; it has the first free address of its subnet."""
        configuration = {"name": "fw", "properties": {"subnet": {"id": subnet}}}
        properties = {"ipConfigurations": [configuration], "firewallPolicy": {"id": policy}}
        return self._network("azureFirewalls", name, properties)

    def private_endpoint(self, name: str, subnet: str, service: str) -> str:
        """Make a private endpoint to a platform service."""
        connection = {"name": name, "properties": {"privateLinkServiceId": service, "groupIds": ["blob"]}}
        properties = {"subnet": {"id": subnet}, "privateLinkServiceConnections": [connection]}
        return self._network("privateEndpoints", name, properties)

    def storage_account(self, name: str) -> str:
        """Make a storage account."""
        made = f"{self.group}/providers/Microsoft.Storage/storageAccounts/{name}"
        body = {"location": self.location, "kind": "StorageV2", "sku": {"name": "Standard_LRS"}}
        self.put(made, {**body, "properties": {}}, STORAGE)
        return made

    def watcher(self, name: str) -> str:
        """Make a network watcher."""
        return self._network("networkWatchers", name, {})

    def flow_log(self, watcher: str, name: str, target: str, account: str, **properties: Any) -> str:
        """Record what a network, subnet or interface sees; makes the watcher too."""
        made = f"{self.watcher(watcher)}/flowLogs/{name}"
        values = {"targetResourceId": target, "storageId": account, "enabled": True, **properties}
        self.put(made, {"location": self.location, "properties": values}, NETWORK)
        return made


def rule(  # noqa: PLR0913 - a rule has that many fields
    name: str,
    priority: int,
    *,
    access: str = "Allow",
    direction: str = "Inbound",
    protocol: str = "Tcp",
    source: str = "*",
    destination: str = "*",
    port: str = "*",
) -> Json:
    """Return a security rule."""
    return {
        "name": name,
        "properties": {
            "access": access,
            "direction": direction,
            "priority": priority,
            "protocol": protocol,
            "sourceAddressPrefix": source,
            "sourcePortRange": "*",
            "destinationAddressPrefix": destination,
            "destinationPortRange": port,
        },
    }


def network_rules(name: str, priority: int, action: str, *rules: tuple[list[str], list[str]]) -> Json:
    """Return a filter collection of network rules from (sources, destinations) on every port."""
    return {
        "ruleCollectionType": "FirewallPolicyFilterRuleCollection",
        "name": name,
        "priority": priority,
        "action": {"type": action},
        "rules": [
            {
                "ruleType": "NetworkRule",
                "name": f"{name}-{number}",
                "ipProtocols": ["Any"],
                "sourceAddresses": sources,
                "destinationAddresses": destinations,
                "destinationPorts": ["*"],
            }
            for number, (sources, destinations) in enumerate(rules)
        ],
    }


@dataclass(frozen=True)
class Watched:
    """A network whose traffic is logged, with a canary machine in it."""

    network: str
    account: str
    flow_log: str
    canary: str
    canary_address: str


def watched_network(builder: Builder, name: str, account: str) -> Watched:
    """Make 10.42.0.0/16 with a flow log, and the canary in a subnet of its own."""
    network = builder.virtual_network(f"{name}-vnet", "10.42.0.0/16")
    subnet = builder.subnet(network, "canary", "10.42.9.0/24")
    nic = builder.interface(f"{name}-canary-nic", subnet, "10.42.9.10")
    storage = builder.storage_account(account)
    return Watched(
        network=network,
        account=storage,
        flow_log=builder.flow_log(f"{name}-watcher", "flows", network, storage),
        canary=builder.machine(f"{name}-firebreak-canary", nic),
        canary_address="10.42.9.10",
    )


def _is_id(value: object) -> bool:
    return isinstance(value, str) and value.startswith("/subscriptions/")
