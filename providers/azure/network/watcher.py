"""Ask Network Watcher: which rule decides about a packet, and does a connection come about."""

from __future__ import annotations

from dataclasses import dataclass

from firebreak.declarations import of_kind
from firebreak.measure import on_any
from firebreak.model import JsonObject
from providers.azure.answers import translated
from providers.azure.ids import ResourceId
from providers.azure.network.documents import NETWORK
from providers.azure.resources.evidence import FlowLog
from providers.azure.session import AzureAccess

ASK_WATCHER = on_any(
    "Microsoft.Network/networkWatchers/ipFlowVerify/action",
    "Microsoft.Network/networkWatchers/connectivityCheck/action",
)


@dataclass(frozen=True)
class Question:
    """One packet that IP flow verify is asked about."""

    machine: str
    interface: str
    direction: str
    protocol: str
    local: str
    local_port: int
    remote: str
    remote_port: int

    @property
    def text(self) -> str:
        """The packet in words."""
        there = f"{self.protocol} {self.remote}:{self.remote_port}"
        return (
            f"to {there}"
            if self.direction == "Outbound"
            else f"from {self.remote} to {self.local}:{self.local_port}"
        )

    def json(self) -> JsonObject:
        """The request's body."""
        return {
            "targetResourceId": self.machine,
            "targetNicResourceId": self.interface,
            "direction": self.direction,
            "protocol": self.protocol,
            "localIPAddress": self.local,
            "localPort": str(self.local_port),
            "remoteIPAddress": self.remote,
            "remotePort": str(self.remote_port),
        }


@dataclass(frozen=True)
class Watcher:
    """The network watcher of the workload's region."""

    access: AzureAccess

    @property
    def ref(self) -> str:
        """Its id: the one that holds the declared flow log, or the one that Azure makes by itself."""
        declared = of_kind(self.access.run.workload.evidence_sources, FlowLog)
        if declared:
            return str(ResourceId.parse(declared[0].ref).parent)
        # "Enable or disable Azure Network Watcher": group and name of the automatically made instance.
        group = f"{self.access.scope}/resourceGroups/NetworkWatcherRG"
        return f"{group}/providers/Microsoft.Network/networkWatchers/NetworkWatcher_{self.access.region}"

    def verify_flow(self, question: Question) -> JsonObject:
        """Have a packet judged; returns ``access`` and ``ruleName``."""
        with translated(question.interface):
            return self.access.arm().post(f"{self.ref}/ipFlowVerify", question.json(), NETWORK)

    def check_connectivity(self, machine: str, address: str, port: int) -> JsonObject:
        """Have a machine try a TCP connection."""
        body = {
            "source": {"resourceId": machine},
            "destination": {"address": address, "port": port},
            "protocol": "Tcp",
        }
        with translated(machine):
            return self.access.arm().post(f"{self.ref}/connectivityCheck", body, NETWORK)
