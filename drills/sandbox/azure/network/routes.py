"""Decide where a packet goes next: system routes, private endpoints, and what a route table says instead.

Source: "Virtual network traffic routing" (longest prefix first, then user-defined before system routes; a
next hop of None drops); "Manage network policies for private endpoints" (which user-defined routes invalidate
a private endpoint's own route).
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING

from drills.sandbox.azure.network.tags import is_platform

if TYPE_CHECKING:
    from collections.abc import Iterable

    from drills.sandbox.packets import IPAddress, IPNetwork

LOCAL, PEERING, INTERNET = "VnetLocal", "VNetPeering", "Internet"
NONE, APPLIANCE, ENDPOINT = "None", "VirtualAppliance", "InterfaceEndpoint"
SYSTEM, USER = "Default", "User"
ROUTES_APPLY = frozenset({"enabled", "routetableenabled"})
# "System routes": the ranges that are dropped unless the virtual network's address space covers them.
UNUSED = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")


@dataclass(frozen=True)
class Route:
    """One effective route."""

    prefix: IPNetwork
    next_hop: str
    source: str = SYSTEM
    appliance: str = ""
    name: str = ""

    @property
    def precedence(self) -> tuple[int, int]:
        """Order routes for the same packet: the longest prefix, then the user's own."""
        return (self.prefix.prefixlen, int(self.source == USER))


@dataclass(frozen=True)
class Endpoint:
    """A private endpoint's address, and what its subnet and network say about routes to it."""

    address: IPAddress
    policies: str
    spaces: tuple[IPNetwork, ...]


def system_routes(own: Iterable[IPNetwork], peered: Iterable[IPNetwork]) -> list[Route]:
    """Return the routes that Azure gives every subnet of a virtual network."""
    return [
        *(Route(each, LOCAL) for each in own),
        *(Route(each, PEERING) for each in peered),
        Route(ip_network("0.0.0.0/0"), INTERNET),
        Route(ip_network("::/0"), INTERNET),
        *(Route(ip_network(each), NONE) for each in UNUSED),
    ]


def effective(
    system: Iterable[Route], user: Iterable[Route], endpoints: Iterable[Endpoint]
) -> tuple[Route, ...]:
    """Return the routes in force: a user's route of the same prefix replaces the system's."""
    own = list(user)
    replaced = {each.prefix for each in own}
    return (
        *own,
        *(each for each in system if each.prefix not in replaced),
        *(
            Route(ip_network(f"{each.address}"), ENDPOINT)
            for each in endpoints
            if not any(_invalidates(route, each) for route in own)
        ),
    )


def _invalidates(route: Route, endpoint: Endpoint) -> bool:
    if endpoint.policies.lower() not in ROUTES_APPLY:
        return False
    if endpoint.address.version != route.prefix.version or endpoint.address not in route.prefix:
        return False
    lengths = [
        each.prefixlen
        for each in endpoint.spaces
        if each.version == endpoint.address.version and endpoint.address in each
    ]
    return route.prefix.prefixlen >= max(lengths, default=0)


def lookup(routes: Iterable[Route], address: IPAddress) -> Route:
    """Return the route that a packet to an address takes; the platform's own addresses take none of them."""
    if is_platform(address):
        return Route(ip_network(f"{address}"), LOCAL)
    fitting = [each for each in routes if each.prefix.version == address.version and address in each.prefix]
    return max(fitting, key=lambda each: each.precedence, default=Route(ip_network(f"{address}"), NONE))
