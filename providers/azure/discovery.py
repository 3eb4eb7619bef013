"""Propose an inventory from what a subscription's resources are tagged with, without changing anything."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from firebreak.discovery import drafts_of, is_wanted, note_shared, own_run, proposal_of
from firebreak.model import Cloud, JsonObject
from firebreak.provider import Proposal, Search
from firebreak.settings import Settings
from providers.azure.answers import translated
from providers.azure.drafting import Draft
from providers.azure.ids import same
from providers.azure.session import AzureAccess

DISCOVERY_ACTIONS = (
    "Microsoft.CognitiveServices/accounts/read",
    "Microsoft.Compute/virtualMachines/read",
    "Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers/read",
    "Microsoft.DocumentDB/databaseAccounts/sqlDatabases/read",
    "Microsoft.ManagedIdentity/userAssignedIdentities/read",
    "Microsoft.Network/networkInterfaces/read",
    "Microsoft.Network/networkWatchers/flowLogs/read",
    "Microsoft.OperationalInsights/workspaces/read",
    "Microsoft.Resources/subscriptions/resources/read",
    "Microsoft.ServiceBus/namespaces/queues/read",
    "Microsoft.ServiceBus/namespaces/topics/read",
    "Microsoft.Storage/storageAccounts/blobServices/containers/read",
)
"""What the identity that discovers must be allowed in the subscription."""

RESOURCES_VERSION = "2021-04-01"
VERSIONS = {
    "microsoft.compute/virtualmachines": "2024-07-01",
    "microsoft.documentdb/databaseaccounts": "2024-05-15",
    "microsoft.managedidentity/userassignedidentities": "2024-11-30",
    "microsoft.network/networkinterfaces": "2025-07-01",
    "microsoft.network/networkwatchers/flowlogs": "2025-07-01",
    "microsoft.operationalinsights/workspaces": "2023-09-01",
    "microsoft.servicebus/namespaces": "2024-01-01",
    "microsoft.storage/storageaccounts": "2025-06-01",
}
"""The api-version by which each type is read."""
FLOW_LOGS = "microsoft.network/networkwatchers/flowlogs"
PLAIN = {
    "microsoft.cognitiveservices/accounts": ("identities", "ai-account"),
    "microsoft.network/firewallpolicies": ("network", "firewall-policy"),
    "microsoft.network/networkinterfaces": ("network", "network-interface"),
    "microsoft.network/privateendpoints": ("network", "private-endpoint"),
}
"""Types that are parts as they are."""
TO_DECLARE = {
    "microsoft.containerregistry/registries": "declare the repositories of the images that are deployed",
    "microsoft.machinelearningservices/registries": "declare the model versions that are deployed",
    "microsoft.machinelearningservices/workspaces": "declare the model versions that are deployed",
    "microsoft.eventgrid/topics": "declare the event subscriptions that wake an agent",
}
"""Types whose parts only their users know."""


@dataclass(frozen=True)
class Tagged:
    """A resource that carries the tag."""

    ref: str
    type: str
    """In lower case."""


def discover(search: Search, settings: Settings) -> Proposal:
    """Read the subscription and propose its workloads; every call only reads."""
    access = AzureAccess(own_run(search, Cloud.AZURE), settings)
    by_value: dict[str, list[Tagged]] = defaultdict(list)
    flow_logs: list[str] = []
    for each in _resources(access):
        kind = str(each.get("type", "")).lower()
        tags = each.get("tags") or {}
        if is_wanted(search, tags):
            by_value[tags[search.tag]].append(Tagged(each["id"], kind))
        if kind == FLOW_LOGS:
            flow_logs.append(each["id"])
    drafts = drafts_of(Draft, by_value, search)
    for value, draft in drafts.items():
        _Explorer(access, draft, flow_logs).explore(by_value[value])
    advice = "containing one cuts off the other"
    note_shared(drafts.values(), "managed-identity", "identity", advice)
    return proposal_of(drafts.values())


def _resources(access: AzureAccess) -> list[JsonObject]:
    """Every resource with its tags: a filter by tag would leave the tags out (Resources, List)."""
    with translated(access.scope):
        return list(access.arm().pages(f"{access.scope}/resources", RESOURCES_VERSION))


class _Explorer:
    """Turns what is tagged into parts of a draft, and follows what leads further."""

    def __init__(self, access: AzureAccess, draft: Draft, flow_logs: list[str]) -> None:
        self.access = access
        self.draft = draft
        self._flow_logs = flow_logs
        self._watched: set[str] = set()
        """Interfaces, subnets and networks whose flow logs show this workload's traffic."""
        self._follow: dict[str, Callable[[str], None]] = {
            "microsoft.compute/virtualmachines": self._machine,
            "microsoft.documentdb/databaseaccounts": self._database,
            "microsoft.managedidentity/userassignedidentities": self._identity,
            "microsoft.operationalinsights/workspaces": self._logs,
            "microsoft.servicebus/namespaces": self._bus,
            "microsoft.storage/storageaccounts": self._storage,
        }

    def explore(self, tagged: list[Tagged]) -> None:
        """Fill the draft: what is a part as it is comes first, so that machines can take their interfaces."""
        for each in sorted(tagged, key=lambda one: one.type in self._follow):
            self._place(each)
        for ref in self.draft.refs("network", "network-interface"):
            with self.draft.looking_at(ref):
                self._watch(ref)
        for ref in self._flow_logs if self._watched else ():
            with self.draft.looking_at(ref):
                self._flow_log(ref)
        self.draft.add("evidence_sources", "activity-log", self.access.account)
        self.draft.note_gaps()
        self.draft.note("check access: the responder's application goes there, not one that may only read")

    def _place(self, each: Tagged) -> None:
        if each.type in PLAIN:
            self.draft.add(*PLAIN[each.type], each.ref)
        elif each.type in TO_DECLARE:
            self.draft.note(f"{each.ref}: {TO_DECLARE[each.type]}")
        elif each.type in self._follow:
            with self.draft.looking_at(each.ref):
                self._follow[each.type](each.ref)
        elif each.type != FLOW_LOGS:
            self.draft.left_out.append(f"{each.ref}: the inventory has no kind for it")

    # leads

    def _read(self, ref: str, kind: str) -> JsonObject:
        with translated(ref):
            return self.access.arm().get(ref, VERSIONS[kind]) or {}

    def _listed(self, ref: str, kind: str) -> list[JsonObject]:
        with translated(ref):
            return list(self.access.arm().pages(ref, VERSIONS[kind]))

    def _identity(self, ref: str) -> None:
        found = self._read(ref, "microsoft.managedidentity/userassignedidentities").get("properties", {})
        self.draft.add(
            "identities",
            "managed-identity",
            ref,
            principal_id=found.get("principalId", ""),
            client_id=found.get("clientId", ""),
            tenant_id=found.get("tenantId", ""),
        )

    def _machine(self, ref: str) -> None:
        machine = self._read(ref, "microsoft.compute/virtualmachines")
        self.draft.add("network", "virtual-machine", ref)
        identity = machine.get("identity") or {}
        for each in identity.get("userAssignedIdentities") or {}:
            self._identity(each)
            self.draft.use("managed-identity", each, ref)
        if "SystemAssigned" in str(identity.get("type", "")):
            self.draft.note(
                f"{ref} also has an identity of its own: declare the service-principal "
                f"{identity.get('principalId', '')} with probe_vm"
            )
        profile = machine.get("properties", {}).get("networkProfile", {})
        for interface in profile.get("networkInterfaces", ()):
            # An interface of the machine is isolated with it, so it is no part of its own.
            self.draft.drop("network", "network-interface", interface["id"])
            self._watch(interface["id"])

    def _watch(self, ref: str) -> None:
        properties = self._read(ref, "microsoft.network/networkinterfaces").get("properties", {})
        self._watched.add(ref)
        for each in properties.get("ipConfigurations", ()):
            subnet = str(each.get("properties", {}).get("subnet", {}).get("id", ""))
            if subnet:
                self._watched.update((subnet, subnet.rpartition("/subnets/")[0] or subnet))

    def _flow_log(self, ref: str) -> None:
        watched = str(self._read(ref, FLOW_LOGS).get("properties", {}).get("targetResourceId", ""))
        if any(same(watched, each) for each in self._watched):
            self.draft.add("evidence_sources", "flow-log", ref)

    def _bus(self, ref: str) -> None:
        for plural, kind in (("queues", "service-bus-queue"), ("topics", "service-bus-topic")):
            for each in self._listed(f"{ref}/{plural}", "microsoft.servicebus/namespaces"):
                self.draft.add("channels", kind, each["id"])

    def _storage(self, ref: str) -> None:
        containers = f"{ref}/blobServices/default/containers"
        for each in self._listed(containers, "microsoft.storage/storageaccounts"):
            self.draft.add("artifacts", "blob-container", each["id"])

    def _database(self, ref: str) -> None:
        kind = "microsoft.documentdb/databaseaccounts"
        for database in self._listed(f"{ref}/sqlDatabases", kind):
            for each in self._listed(f"{database['id']}/containers", kind):
                self.draft.add("stores", "cosmos-container", each["id"])

    def _logs(self, ref: str) -> None:
        found = self._read(ref, "microsoft.operationalinsights/workspaces").get("properties", {})
        self.draft.add("evidence_sources", "log-analytics", ref, workspace_id=found.get("customerId", ""))
        self.draft.note(f"{ref}: declare the tables that hold the workload's own logs")
