"""What an inventory may declare of an Azure workload's network and of the channels between agents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from firebreak.declarations import Declared
from firebreak.model import Resource
from providers.azure.resources.declared import arm_id


class VirtualMachine(Declared):
    """A virtual machine; every interface it has is isolated."""

    kind: Literal["virtual-machine"]
    ref: Annotated[str, Field(pattern=rf"^{arm_id('Microsoft.Compute/virtualMachines')}$")]


class NetworkInterface(Declared):
    """One network interface, with every IP configuration it has."""

    kind: Literal["network-interface"]
    ref: Annotated[str, Field(pattern=rf"^{arm_id('Microsoft.Network/networkInterfaces')}$")]


class Subnet(Declared):
    """A subnet; isolated as a whole only where it is the workload's alone."""

    kind: Literal["subnet"]
    ref: Annotated[str, Field(pattern=rf"^{arm_id('Microsoft.Network/virtualNetworks/subnets')}$")]
    dedicated: bool = False


class FirewallPolicy(Declared):
    """The Azure Firewall policy that the workload's traffic passes."""

    kind: Literal["firewall-policy"]
    ref: Annotated[str, Field(pattern=rf"^{arm_id('Microsoft.Network/firewallPolicies')}$")]


class PrivateEndpoint(Declared):
    """A private endpoint by which the workload reaches a platform service."""

    kind: Literal["private-endpoint"]
    ref: Annotated[str, Field(pattern=rf"^{arm_id('Microsoft.Network/privateEndpoints')}$")]


class Canary(Declared):
    """A virtual machine of the workload's owner from which Network Watcher tries connections."""

    kind: Literal["canary"]
    ref: Annotated[str, Field(pattern=rf"^{arm_id('Microsoft.Compute/virtualMachines')}$")]
    port: Annotated[int, Field(ge=1, le=65_535)] = 443
    """The port that is tried on the workload."""


BusStatus = Literal["SendDisabled", "Disabled"]


class ServiceBusQueue(Declared):
    """A queue through which agents talk."""

    kind: Literal["service-bus-queue"]
    ref: Annotated[str, Field(pattern=rf"^{arm_id('Microsoft.ServiceBus/namespaces/queues')}$")]
    cut: BusStatus = "SendDisabled"
    """Disabled also stops receivers, and with them the peeking by which phase 4 captures the messages."""


class ServiceBusTopic(Declared):
    """A topic through which agents talk."""

    kind: Literal["service-bus-topic"]
    ref: Annotated[str, Field(pattern=rf"^{arm_id('Microsoft.ServiceBus/namespaces/topics')}$")]
    cut: BusStatus = "SendDisabled"


class EventGridSubscription(Declared):
    """An event subscription that wakes an agent: an extension of any resource that emits events."""

    kind: Literal["event-grid-subscription"]
    ref: Annotated[
        str,
        Field(
            pattern=r"^/(?i:subscriptions)/[^\s?#]{36,900}"
            r"/(?i:providers/Microsoft\.EventGrid/eventSubscriptions)/[A-Za-z0-9-]{3,64}$"
        ),
    ]


KINDS: Mapping[str, Mapping[str, type[Resource]]] = {
    "network": {
        "virtual-machine": VirtualMachine,
        "network-interface": NetworkInterface,
        "subnet": Subnet,
        "firewall-policy": FirewallPolicy,
        "private-endpoint": PrivateEndpoint,
        "canary": Canary,
    },
    "channels": {
        "service-bus-queue": ServiceBusQueue,
        "service-bus-topic": ServiceBusTopic,
        "event-grid-subscription": EventGridSubscription,
    },
}
