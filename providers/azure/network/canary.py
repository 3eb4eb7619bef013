"""Use the workload owner's canary machine: Network Watcher tries one TCP connection from it.

"Connection troubleshoot overview": the check runs on a machine with the Network Watcher agent extension, and
answers Reachable or Unreachable with the hops that it saw. The machine is declared in the inventory as
``canary``; nothing is installed on or asked of the workload itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from firebreak.declarations import of_kind
from firebreak.measure import now
from firebreak.model import JsonObject
from providers.azure.network.interfaces import interfaces_of
from providers.azure.network.watcher import Watcher
from providers.azure.resources.network import Canary
from providers.azure.session import AzureAccess


class Reach(StrEnum):
    """How far an attempt came."""

    CONNECTED = "connected"
    BLOCKED = "unreachable"
    UNKNOWN = "inconclusive"
    """Some packets were lost and others not, or Network Watcher does not know."""


MEANING = {"reachable": Reach.CONNECTED, "unreachable": Reach.BLOCKED}


@dataclass(frozen=True)
class Attempt:
    """What the canary saw."""

    reach: Reach
    told: str
    address: str
    port: int
    source_address: str = ""
    sent_at: str = ""

    @property
    def arrived(self) -> bool:
        """True when the connection was made."""
        return self.reach is Reach.CONNECTED

    def json(self) -> JsonObject:
        """The attempt for a state or a finding."""
        return {
            "address": self.address,
            "port": self.port,
            "reach": str(self.reach),
            "arrived": self.arrived,
            "told": self.told,
            "source_address": self.source_address,
            "sent_at": self.sent_at,
        }


class CanaryMachine:
    """One declared canary."""

    def __init__(self, access: AzureAccess, canary: Canary, watcher: Watcher) -> None:
        self._access = access
        self._watcher = watcher
        self.ref = canary.ref
        self.port = canary.port

    def try_to_reach(self, address: str, port: int) -> Attempt:
        """Have one connection tried."""
        sent_at = now().isoformat()
        answer = self._watcher.check_connectivity(self.ref, address, port)
        status = str(answer.get("connectionStatus", "Unknown"))
        hops = answer.get("hops") or [{}]
        return Attempt(
            MEANING.get(status.lower(), Reach.UNKNOWN),
            _told(status, hops),
            address,
            port,
            str(hops[0].get("address") or ""),
            sent_at,
        )

    def addresses(self) -> frozenset[str]:
        """The private addresses that its packets may come from."""
        found = interfaces_of(self._access, self.ref)
        return frozenset(address for each in found for address in each.addresses)


def declared_canary(access: AzureAccess, watcher: Watcher) -> CanaryMachine | None:
    """Return the workload's canary, or None where none is declared."""
    found = of_kind(access.run.workload.network, Canary)
    return CanaryMachine(access, found[0], watcher) if found else None


def _told(status: str, hops: list[JsonObject]) -> str:
    issues = [str(each.get("type", "")) for hop in hops for each in hop.get("issues") or ()]
    return f"{status} ({', '.join(issues)})" if issues else status
