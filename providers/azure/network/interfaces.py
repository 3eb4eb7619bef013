"""Find the workload's network interfaces and read what the network measures need of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from firebreak.declarations import of_kind, targets_of
from firebreak.errors import PermanentCloudError
from firebreak.measure import on_any, on_target
from firebreak.model import JsonObject, Target, Workload
from providers.azure.answers import translated
from providers.azure.ids import ResourceId, same
from providers.azure.network.documents import COMPUTE, find, properties, read, reference
from providers.azure.resources.network import NetworkInterface, VirtualMachine
from providers.azure.session import AzureAccess

FIND_INTERFACES = on_any(
    "Microsoft.Compute/virtualMachines/read",
    "Microsoft.Compute/virtualMachines/instanceView/read",
    "Microsoft.Network/networkInterfaces/read",
    "Microsoft.Network/publicIPAddresses/read",
)
# Azure checks, for every write of an interface, that the writer may use each resource that it refers to, also
# those that stay as they are (Azure RBAC, "Microsoft.Network" operations: the join actions).
CHANGE_INTERFACE = (
    *on_target("Microsoft.Network/networkInterfaces/write"),
    *on_any(
        "Microsoft.Network/networkSecurityGroups/join/action",
        "Microsoft.Network/virtualNetworks/subnets/join/action",
        "Microsoft.Network/publicIPAddresses/join/action",
        "Microsoft.Network/applicationSecurityGroups/joinIpConfiguration/action",
        "Microsoft.Network/loadBalancers/backendAddressPools/join/action",
        "Microsoft.Network/loadBalancers/inboundNatRules/join/action",
    ),
)
RUNNING = "PowerState/running"


@dataclass(frozen=True)
class Interface:
    """One network interface as it is now."""

    id: str
    location: str
    mac: str
    machine: str
    group: str
    """Its own security group, empty where it has none."""
    configurations: tuple[JsonObject, ...]
    managed_by: str
    """The service that made it and alone may change it; empty for an ordinary interface."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its private addresses, the primary configuration's first."""
        ordered = sorted(self.configurations, key=lambda each: not properties(each).get("primary", False))
        return tuple(properties(each)["privateIPAddress"] for each in ordered)

    @property
    def subnets(self) -> tuple[str, ...]:
        """The subnets of its configurations."""
        return tuple(dict.fromkeys(reference(each, "subnet") for each in self.configurations))

    @property
    def public(self) -> dict[str, str]:
        """Configuration name to the public address resource in front of it."""
        found = {each["name"]: reference(each, "publicIPAddress") for each in self.configurations}
        return {name: ref for name, ref in found.items() if ref}

    @property
    def network(self) -> str:
        """Its virtual network."""
        return str(ResourceId.parse(self.subnets[0]).parent)


def declared_hosts(workload: Workload) -> list[Target]:
    """List the declared machines and interfaces as targets."""
    resources = (*of_kind(workload.network, VirtualMachine), *of_kind(workload.network, NetworkInterface))
    return targets_of(workload, resources)


def interface_targets(access: AzureAccess, target: Target) -> list[Target]:
    """Replace a machine by each of its interfaces; an interface stands for itself."""
    if target.kind == "network-interface":
        found = [interface(access, target.ref)]
    else:
        found = interfaces_of(access, target.ref)
    return [
        target.model_copy(update={"kind": "network-interface", "ref": each.id, "parent": each.machine})
        for each in found
    ]


def interfaces_of(access: AzureAccess, machine: str) -> list[Interface]:
    """Read every interface attached to a machine; raises PermanentCloudError for an unknown machine."""
    profile = properties(read(access, machine, COMPUTE)).get("networkProfile", {})
    return [interface(access, each["id"]) for each in profile.get("networkInterfaces", ())]


def interface(access: AzureAccess, ref: str) -> Interface:
    """Read one interface."""
    return _interface(read(access, ref))


def all_of(access: AzureAccess) -> list[Interface]:
    """Read every interface of the workload's declared machines and interfaces, each once."""
    found: dict[str, Interface] = {}
    for target in declared_hosts(access.run.workload):
        here = (
            interfaces_of(access, target.ref)
            if target.kind == "virtual-machine"
            else [interface(access, target.ref)]
        )
        found.update({each.id.lower(): each for each in here})
    return list(found.values())


def is_running(access: AzureAccess, machine: str) -> bool:
    """Tell whether a machine runs: Network Watcher looks at running machines only."""
    with translated(machine):
        view = access.arm().get(f"{machine}/instanceView", COMPUTE) or {}
    return any(each.get("code") == RUNNING for each in view.get("statuses", ()))


def public_addresses(access: AzureAccess, found: Interface) -> dict[str, str]:
    """Read the public address of each public address resource of an interface."""
    resources = {ref: find(access, ref) or {} for ref in found.public.values()}
    return {ref: str(properties(each).get("ipAddress") or "") for ref, each in resources.items()}


def require_ours_to_change(found: Interface) -> None:
    """Refuse an interface that only the service that made it may change."""
    # "Manage private endpoints" and "Private Link service": their interfaces are read-only.
    if found.managed_by:
        raise PermanentCloudError(
            f"the interface belongs to {found.managed_by}",
            resource=found.id,
            remedy="declare it as a private-endpoint, or contain the service itself",
        )


def refers(refs: Any, wanted: str) -> bool:
    """Tell whether a list of references holds one to a resource."""
    return any(same(str(each.get("id", "")), wanted) for each in refs or ())


def _interface(raw: JsonObject) -> Interface:
    values = properties(raw)
    return Interface(
        id=raw["id"],
        location=str(raw.get("location", "")),
        mac=str(values.get("macAddress", "")),
        machine=reference(raw, "virtualMachine"),
        group=reference(raw, "networkSecurityGroup"),
        configurations=tuple(values.get("ipConfigurations", ())),
        managed_by=reference(raw, "privateEndpoint") or reference(raw, "privateLinkService"),
    )
