"""What an inventory declares and Azure does not have is named as such before anything is done about it."""

from __future__ import annotations

from typing import Any

import pytest

from firebreak.errors import AbsentError, PermanentCloudError
from firebreak.measure import measure
from firebreak.model import JsonObject, Target, Workload
from providers.azure.permissions import missing
from tests.drills.sandbox.azure.places import Places
from tests.providers.azure.conftest import TENANT, WORKLOAD, World

NOBODY = "00000000-0000-4000-8000-00000000dead"
PROVIDERS = f"/subscriptions/{WORKLOAD}/resourceGroups/rg-existence/providers"
COSMOS = f"{PROVIDERS}/Microsoft.DocumentDB/databaseAccounts/gone/sqlDatabases/agent/containers/memory"
BLOBS = f"{PROVIDERS}/Microsoft.Storage/storageAccounts/gone/blobServices/default/containers/memory"
FLOW_LOG = f"{PROVIDERS}/Microsoft.Network/networkWatchers/gone/flowLogs/gone"
WORKSPACE = f"{PROVIDERS}/Microsoft.OperationalInsights/workspaces/gone"
QUEUE = f"{PROVIDERS}/Microsoft.ServiceBus/namespaces/gone/queues/gone"
TOPIC = f"{PROVIDERS}/Microsoft.ServiceBus/namespaces/gone/topics/gone"
GRID = f"{PROVIDERS}/Microsoft.EventGrid/topics/gone/providers/Microsoft.EventGrid/eventSubscriptions/gone"
REPOSITORY = f"{PROVIDERS}/Microsoft.ContainerRegistry/registries/gone/repositories/agent"
MODEL = f"{PROVIDERS}/Microsoft.MachineLearningServices/workspaces/gone/models/agent/versions/1"
MACHINE = f"{PROVIDERS}/Microsoft.Compute/virtualMachines/gone"
INTERFACE = f"{PROVIDERS}/Microsoft.Network/networkInterfaces/gone"
FIREWALL = f"{PROVIDERS}/Microsoft.Network/firewallPolicies/gone"
ENDPOINT = f"{PROVIDERS}/Microsoft.Network/privateEndpoints/gone"
AI = f"{PROVIDERS}/Microsoft.CognitiveServices/accounts/gone"
IDENTITY = f"{PROVIDERS}/Microsoft.ManagedIdentity/userAssignedIdentities/gone"
LOGS = {"kind": "log-analytics", "ref": WORKSPACE, "workspace_id": NOBODY, "tables": ["Agent_CL"]}
WHO = {"principal_id": NOBODY, "client_id": NOBODY, "tenant_id": TENANT}
GONE: dict[str, tuple[str, str, JsonObject]] = {
    "cosmos-container": ("azure.capture-memory-store", "stores", {"ref": COSMOS}),
    "blob-memory": ("azure.capture-memory-store", "stores", {"kind": "blob-container", "ref": BLOBS}),
    "blob-container": ("azure.hold-blobs", "artifacts", {"ref": BLOBS}),
    "flow-log": ("azure.capture-flow-logs", "evidence_sources", {"ref": FLOW_LOG}),
    "log-analytics": ("azure.capture-workload-logs", "evidence_sources", LOGS),
    "sentinel": ("azure.open-investigation", "evidence_sources", {"ref": WORKSPACE}),
    "service-bus-queue": ("azure.capture-channel-messages", "channels", {"ref": QUEUE}),
    "service-bus-topic": ("azure.cut-channels", "channels", {"ref": TOPIC}),
    "event-grid-subscription": ("azure.cut-channels", "channels", {"ref": GRID}),
    "container-repository": ("azure.lock-images", "artifacts", {"ref": REPOSITORY}),
    "ml-model": ("azure.archive-model", "artifacts", {"ref": MODEL}),
    "locked-resource": ("azure.lock-resource", "artifacts", {"ref": f"{PROVIDERS}/Microsoft.Web/sites/gone"}),
    "virtual-machine": ("azure.quarantine-nsg", "network", {"ref": MACHINE}),
    "network-interface": ("azure.quarantine-nsg", "network", {"ref": INTERFACE}),
    "private-endpoint": ("azure.private-endpoint-policies", "network", {"ref": ENDPOINT}),
    "ai-account": ("azure.disable-local-auth", "identities", {"ref": AI}),
    "managed-identity": ("azure.remove-role-assignments", "identities", {"ref": IDENTITY, **WHO}),
    "service-principal": (
        "azure.disable-service-principal",
        "identities",
        {"ref": NOBODY, "client_id": NOBODY, "tenant_id": TENANT},
    ),
}


@pytest.fixture(scope="module", autouse=True)
def _group(world: World) -> None:
    world.group("rg-existence")


def surveyed(world: World, workload: Workload, name: str) -> None:
    """What a plan and its preview read of a measure before they ask for rights."""
    one: Any = measure(name)(world.context(workload))
    for declared in one.applies_to(workload):
        for target in one.discover(declared):
            one.blast_radius(target)


@pytest.mark.parametrize("kind", GONE)
def test_what_does_not_exist_is_named_and_nothing_is_tried_on_it(world: World, kind: str) -> None:
    name, group, declared = GONE[kind]
    workload = world.workload(**{group: ({"kind": kind, **declared},)})
    since = world.sandbox.calls().next
    with pytest.raises(AbsentError, match="does not exist") as refused:
        surveyed(world, workload, name)
    assert declared["ref"].partition("/repositories/")[0] in str(refused.value)
    assert world.sandbox.calls(since, mutating=True).calls == []


def test_an_account_that_is_not_there_keeps_its_rights_from_nobody(world: World) -> None:
    workload = world.workload(stores=({"kind": "cosmos-container", "ref": COSMOS},))
    name = "azure.capture-memory-store"
    needs = [(measure(name), target) for target in measure(name).applies_to(workload)]
    assert missing(world.access(workload), needs) == ()


def test_a_workspace_under_another_id_is_not_the_declared_one(world: World) -> None:
    place, own = Places.new(world.sandbox).workspace(Agent_CL=[{"text": "x"}])
    logs = {**LOGS, "ref": place, "workspace_id": NOBODY}
    with pytest.raises(PermanentCloudError, match=f"workspace_id {NOBODY}, Azure says {own}"):
        surveyed(world, world.workload(evidence_sources=(logs,)), "azure.capture-workload-logs")


def test_a_table_that_the_workspace_has_not_is_named(world: World) -> None:
    place, own = Places.new(world.sandbox).workspace(Agent_CL=[{"text": "x"}])
    logs = {**LOGS, "ref": place, "workspace_id": own, "tables": ["Agent_CL", "Other_CL"]}
    with pytest.raises(PermanentCloudError, match="the table Other_CL does not exist"):
        surveyed(world, world.workload(evidence_sources=(logs,)), "azure.capture-workload-logs")


def test_a_flow_log_that_is_off_is_told_from_one_that_is_not_there(world: World) -> None:
    places = Places.new(world.sandbox)
    watcher = places.put("Microsoft.Network/networkWatchers/nw", "2025-07-01", {"properties": {}})["id"]
    network = places.put(
        "Microsoft.Network/virtualNetworks/vnet",
        "2025-07-01",
        {"properties": {"addressSpace": {"addressPrefixes": ["10.9.0.0/16"]}}},
    )["id"]
    sku = {"sku": {"name": "Standard_LRS"}, "kind": "StorageV2", "properties": {}}
    account = places.put("Microsoft.Storage/storageAccounts/stexistence", "2025-06-01", sku)["id"]
    properties = {"targetResourceId": network, "storageId": account, "enabled": False}
    ref = places.put(f"{watcher}/flowLogs/off", "2025-07-01", {"properties": properties})["id"]
    workload = world.workload(evidence_sources=({"kind": "flow-log", "ref": ref},))
    with pytest.raises(PermanentCloudError, match="switched off"):
        surveyed(world, workload, "azure.capture-flow-logs")


def test_a_responder_that_may_not_look_is_told_so(world: World) -> None:
    """A refusal says nothing about existence."""
    place, own = Places.new(world.sandbox).workspace(Agent_CL=[{"text": "x"}])
    logs = {**LOGS, "ref": place, "workspace_id": own}
    right = "Microsoft.OperationalInsights/workspaces/read"
    workload = world.least(
        world.workload(evidence_sources=(logs,)), "azure.capture-workload-logs", without=right
    )
    with pytest.raises(PermanentCloudError, match="may not do this"):
        surveyed(world, workload, "azure.capture-workload-logs")
    target: Target = measure("azure.capture-workload-logs").applies_to(workload)[0]
    needs = [(measure("azure.capture-workload-logs"), target)]
    assert missing(world.access(workload), needs) == (f"{right} on {place}",)
