"""Know which addresses a service tag stands for.

Source: "Virtual network service tags"; "Azure network security groups overview", section "Azure platform
considerations".
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from drills.sandbox.packets import IPAddress, IPNetwork

HOST = ip_address("168.63.129.16")
METADATA = ip_address("169.254.169.254")
LICENSING = ip_address("23.102.135.246")
DNS_PORT = 53
EVERYTHING = frozenset({"*", "any", "0.0.0.0/0", "::/0"})
PRIVATE = tuple(
    ip_network(cidr)
    for cidr in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "169.254.0.0/16",
        "fc00::/7",
    )
)
# A few of the published ranges ("Azure IP ranges and service tags", public cloud), enough to tell tags apart.
PUBLISHED = {
    "azurecloud": ("20.0.0.0/8", "40.64.0.0/10"),
    "storage": ("20.150.0.0/17", "20.60.0.0/16"),
    "azureactivedirectory": ("20.190.128.0/18", "40.126.0.0/18"),
    "azuremonitor": ("20.42.65.64/26",),
    "azureresourcemanager": ("20.45.0.0/18",),
    "sql": ("40.79.128.0/18",),
}
PLATFORM = frozenset({"azureplatformdns", "azureplatformimds", "azureplatformlkm"})
KNOWN = frozenset({"virtualnetwork", "internet", "azureloadbalancer", *PUBLISHED, *PLATFORM})


@dataclass(frozen=True)
class Surroundings:
    """The address spaces that the VirtualNetwork tag stands for at one interface."""

    spaces: tuple[IPNetwork, ...]

    def contains(self, address: IPAddress) -> bool:
        """Tell whether an address is in the virtual network or in one that is connected to it."""
        return address == HOST or inside(address, self.spaces)


def is_platform(address: IPAddress) -> bool:
    """Tell whether an address is the host's own, which security groups leave alone unless a tag names it."""
    return address in (HOST, METADATA, LICENSING)


def inside(address: IPAddress, networks: Iterable[IPNetwork]) -> bool:
    """Tell whether an address is in any of the networks."""
    return any(address.version == network.version and address in network for network in networks)


def is_known(prefix: str) -> bool:
    """Tell whether a prefix is everything, an address, a range or a tag that the sandbox knows."""
    name = prefix.lower()
    if name in EVERYTHING or name.partition(".")[0] in KNOWN:
        return True
    try:
        ip_network(prefix, strict=False)
    except ValueError:
        return False
    return True


def names_platform(prefix: str) -> bool:
    """Tell whether a prefix is one of the tags that reach the platform's own traffic."""
    return prefix.lower() in PLATFORM


def matches(prefix: str, address: IPAddress, port: int, around: Surroundings) -> bool:
    """Tell whether an address, asked on a port, is what a prefix or tag stands for."""
    name = prefix.lower()
    if name in EVERYTHING:
        return True
    if name in PLATFORM or name == "azureloadbalancer":
        return _platform(name, address, port)
    if name.partition(".")[0] in KNOWN:
        return _tagged(name.partition(".")[0], address, around)
    return address in ip_network(prefix, strict=False)


def _platform(name: str, address: IPAddress, port: int) -> bool:
    """Only tags that target a service of the platform reach its traffic."""
    if name == "azureplatformdns":
        return address == HOST and port == DNS_PORT
    wanted = {"azureplatformimds": METADATA, "azureplatformlkm": LICENSING, "azureloadbalancer": HOST}
    return wanted.get(name) == address


def _tagged(name: str, address: IPAddress, around: Surroundings) -> bool:
    if name == "virtualnetwork":
        return around.contains(address)
    if name == "internet":
        return not around.contains(address) and not inside(address, PRIVATE)
    return inside(address, (ip_network(each) for each in PUBLISHED.get(name, ())))
