"""Tags lead to a proposal that an inventory accepts; looking changes nothing and hides nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from drills.sandbox.azure.network.build import Builder, Watched, watched_network
from firebreak.model import JsonObject, Resource, Workload
from firebreak.provider import Proposal, Search, provider
from providers.azure.discovery import discover
from providers.azure.permissions import documents
from tests.providers.azure.conftest import REGION, TENANT, WORKLOAD, World

TAG = "ai-workload"


@dataclass
class Place:
    """One tagged workload in a group of its own."""

    value: str
    build: Builder
    watched: Watched
    identity: str
    machine: str
    first: str
    alone: str
    bus: str
    account: str


def tag(world: World, ref: str, value: str, name: str = TAG) -> None:
    body = {"operation": "Merge", "properties": {"tags": {name: value}}}
    world.admin().patch(f"{ref}/providers/Microsoft.Resources/tags/default", body, "2021-04-01")


def search(world: World, value: str = "", **access: str) -> Search:
    own = {"tenant_id": TENANT, "client_id": world.responder.client_id, **access}
    return Search(account=WORKLOAD, region=REGION, access=own, tag=TAG, value=value)


def parts(workload: Workload, group: str, kind: str) -> list[Any]:
    found: tuple[Resource, ...] = getattr(workload, group)
    return [each for each in found if each.kind == kind]


@pytest.fixture(scope="module")
def place(world: World) -> Place:
    value, admin = f"agent-{uuid4().hex[:8]}", world.admin()
    group = world.group(value)
    token = world.token()
    build = Builder(
        lambda ref, body, version: world.sandbox.arm("PUT", ref, version, body, token=token), group, REGION
    )
    watched = watched_network(build, value, f"flows{uuid4().hex[:12]}")
    subnet = build.subnet(watched.network, "agents", "10.42.9.0/24")
    first = build.interface(f"{value}-first", subnet, "10.42.9.10")
    alone = build.interface(f"{value}-alone", subnet, "10.42.9.11")
    machine = build.machine(value, first)
    identity = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{value}"
    admin.put(identity, {"location": REGION}, "2024-11-30")
    attached: JsonObject = {"type": "UserAssigned", "userAssignedIdentities": {identity: {}}}
    admin.patch(machine, {"identity": attached}, "2024-07-01")
    bus = f"{group}/providers/Microsoft.ServiceBus/namespaces/{value}"
    admin.put(bus, {"location": REGION, "sku": {"name": "Standard"}}, "2024-01-01")
    admin.put(f"{bus}/queues/tasks", {"properties": {}}, "2024-01-01")
    account = f"{group}/providers/Microsoft.Storage/storageAccounts/models{uuid4().hex[:8]}"
    admin.put(
        account, {"location": REGION, "kind": "StorageV2", "sku": {"name": "Standard_LRS"}}, "2025-06-01"
    )
    admin.put(f"{account}/blobServices/default/containers/models", {"properties": {}}, "2025-06-01")
    vault = f"{group}/providers/Microsoft.KeyVault/vaults/{value}"
    admin.put(vault, {"location": REGION, "properties": {"tenantId": TENANT}}, "2023-07-01")
    for ref in (machine, first, alone, identity, bus, account, vault):
        tag(world, ref, value)
    return Place(value, build, watched, identity, machine, first, alone, bus, account)


@pytest.fixture(scope="module")
def proposal(world: World, place: Place) -> Proposal:
    return discover(search(world, place.value), world.settings)


def only(proposal: Proposal) -> Workload:
    (workload,) = proposal.workloads
    return workload


def test_the_proposal_is_a_workload_that_the_inventory_accepts(proposal: Proposal, place: Place) -> None:
    workload = only(proposal)
    assert workload.id == place.value
    assert provider(workload.cloud).check(workload) == []


def test_a_machine_brings_its_identity_and_takes_its_interfaces(proposal: Proposal, place: Place) -> None:
    workload = only(proposal)
    assert [each.ref for each in parts(workload, "network", "virtual-machine")] == [place.machine]
    assert [each.ref for each in parts(workload, "network", "network-interface")] == [place.alone]
    (identity,) = parts(workload, "identities", "managed-identity")
    assert identity.ref == place.identity
    assert identity.used_by == (place.machine,)
    assert identity.tenant_id == TENANT


def test_what_holds_parts_is_followed(proposal: Proposal, place: Place) -> None:
    workload = only(proposal)
    assert [each.ref for each in parts(workload, "channels", "service-bus-queue")] == [
        f"{place.bus}/queues/tasks"
    ]
    assert [each.ref for each in parts(workload, "artifacts", "blob-container")] == [
        f"{place.account}/blobServices/default/containers/models"
    ]


def test_the_flow_log_of_its_network_is_found_though_it_has_no_tag(proposal: Proposal, place: Place) -> None:
    workload = only(proposal)
    assert [each.ref for each in parts(workload, "evidence_sources", "flow-log")] == [place.watched.flow_log]
    assert [each.ref for each in parts(workload, "evidence_sources", "activity-log")] == [WORKLOAD]


def test_what_has_no_kind_is_said(proposal: Proposal) -> None:
    assert any("Microsoft.KeyVault/vaults" in each and "no kind" in each for each in proposal.left_out)


def test_what_only_a_person_knows_is_noted(proposal: Proposal, place: Place) -> None:
    notes = "\n".join(proposal.notes[place.value])
    assert f"declare probes for {place.identity}" in notes
    assert "approved hashes" in notes
    assert "no Log Analytics workspace found" in notes


def test_looking_changes_nothing(world: World, place: Place) -> None:
    since = world.sandbox.calls().next
    discover(search(world, place.value), world.settings)
    assert world.sandbox.calls(since, mutating=True).calls == []


def test_the_printed_role_suffices(world: World, place: Place, fresh: Callable[[str], str]) -> None:
    finder = world.principal(fresh("finder"))
    roles = documents([], [world.workload()], world.settings)["discovery"]["roles"]
    world.assign(finder, roles)
    found = discover(search(world, place.value, client_id=finder.client_id), world.settings)
    assert not [each for each in found.notes[place.value] if "INCOMPLETE" in each]
    assert parts(only(found), "channels", "service-bus-queue")


def test_what_cannot_be_looked_at_is_said(world: World, place: Place, fresh: Callable[[str], str]) -> None:
    finder = world.principal(fresh("finder"))
    (role, *others) = documents([], [world.workload()], world.settings)["discovery"]["roles"]
    assert not others
    actions = [each for each in role["definition"]["Actions"] if "ServiceBus" not in each]
    world.assign(finder, [{**role, "definition": {**role["definition"], "Actions": actions}}])
    found = discover(search(world, place.value, client_id=finder.client_id), world.settings)
    assert any("INCOMPLETE" in each and place.bus in each for each in found.notes[place.value])


def test_two_values_are_two_workloads_and_a_shared_identity_is_noted(world: World, place: Place) -> None:
    admin = world.admin()
    other = f"{place.value}-b"
    subnet = place.build.subnet(place.watched.network, "others", "10.42.10.0/24")
    machine = place.build.machine(other, place.build.interface(other, subnet, "10.42.10.10"))
    attached: JsonObject = {"type": "UserAssigned", "userAssignedIdentities": {place.identity: {}}}
    admin.patch(machine, {"identity": attached}, "2024-07-01")
    tag(world, machine, other)
    found = discover(search(world), world.settings)
    assert {place.value, other} <= {each.id for each in found.workloads}
    assert any(f"is also the identity of {place.value}" in each for each in found.notes[other])


def test_a_value_that_is_no_id_becomes_one(world: World, place: Place) -> None:
    group = place.machine.partition("/providers/")[0]
    ref = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/odd"
    world.admin().put(ref, {"location": REGION, "tags": {TAG: "Odd Agent!"}}, "2024-11-30")
    found = discover(search(world, "Odd Agent!"), world.settings)
    assert only(found).id == "odd-agent"
    assert any("'Odd Agent!', which is no id" in each for each in found.notes["odd-agent"])


def test_nothing_tagged_is_nothing_proposed(world: World, fresh: Callable[[str], str]) -> None:
    assert discover(search(world, fresh("nobody")), world.settings).workloads == ()
