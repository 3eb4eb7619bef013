"""Phase 1 on Azure where only a virtual machine itself gets the identity's tokens: asked by run command."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from firebreak.measure import measure
from firebreak.model import JsonObject
from tests.providers.azure.identities import REGION, TENANT, Estate, Step, certificate

ASSIGNMENTS, DISABLE = "azure.remove-role-assignments", "azure.disable-service-principal"
COMPUTE = "2024-07-01"


@pytest.fixture
def estate(world: Any) -> Iterator[Estate]:
    yield Estate(world)
    world.sandbox.clear_faults()


def machine(world: Any, group: str, identity: JsonObject, *, system: str = "Linux") -> JsonObject:
    ref = f"{group}/providers/Microsoft.Compute/virtualMachines/vm-{uuid4().hex[:6]}"
    properties = {"storageProfile": {"osDisk": {"osType": system}}}
    body = {"location": REGION, "identity": identity, "properties": properties}
    made: JsonObject = world.admin().put(ref, body, COMPUTE)
    return made


@pytest.fixture
def own(world: Any, estate: Estate) -> JsonObject:
    return own_identity(world, estate)


def own_identity(world: Any, estate: Estate, *, system: str = "Linux") -> JsonObject:
    """The system-assigned identity of a machine, which reads its resource group."""
    group = estate.group()
    made = machine(world, group, {"type": "SystemAssigned"}, system=system)
    principal = made["identity"]["principalId"]
    estate.assign(group, principal)
    return {
        "kind": "service-principal",
        "ref": principal,
        "client_id": estate.directory(f"/servicePrincipals/{principal}")["appId"],
        "tenant_id": TENANT,
        "probe_vm": made["id"],
        "probes": [estate.probe(group)],
    }


@pytest.mark.parametrize("system", ["Linux", "Windows"])
def test_a_machines_own_identity_is_proved_powerless(world: Any, estate: Estate, system: str) -> None:
    own = own_identity(world, estate, system=system)
    step = Step(world, ASSIGNMENTS, own)
    state = step.snapshot()
    assert state.values["control"]["works"]
    change = step.apply(state)
    assert step.holds(change)
    assert estate.as_identity(own).status_code == 403
    assert step.measure.revert(change).holds
    assert not step.holds(change)


def test_the_platforms_certificate_of_a_machines_identity_is_left_alone(
    world: Any, estate: Estate, own: JsonObject
) -> None:
    place, key = f"/servicePrincipals/{own['ref']}", certificate()
    world.admin_graph().patch(place, {"keyCredentials": [key]})
    step = Step(world, "azure.remove-app-credentials", own)
    change = step.apply(step.snapshot())
    assert not change.changed
    assert step.holds(change)
    assert step.measure.revert(change).holds
    assert estate.directory(place)["keyCredentials"] == [key]


def test_a_machines_own_identity_gets_no_fresh_token(world: Any, own: JsonObject) -> None:
    step = Step(world, DISABLE, own)
    change = step.apply(step.snapshot())
    assert step.holds(change)
    assert "AADSTS7000112" in step.verify(change)[0].observed
    assert step.measure.revert(change).holds


def test_a_token_that_the_metadata_service_kept_proves_nothing(world: Any, own: JsonObject) -> None:
    step = Step(world, DISABLE, own)
    state = step.snapshot()
    for audience in step_audiences(step):
        world.sandbox.host_token(own["probe_vm"], resource=audience)
    world.sandbox.advance(5)
    pretended = step.measure.done(step.target, state, changed=True)
    later = pretended.model_copy(update={"applied_at": pretended.applied_at.replace(year=2099)})
    probe, listed = step.verify(later)
    assert probe.inconclusive
    assert "kept" in probe.observed
    assert not listed.holds


def step_audiences(step: Step) -> tuple[str, ...]:
    at = step.context.access.endpoints
    return tuple(
        each.removesuffix(".default")
        for each in (at.arm_scope, at.vault_scope, at.storage_scope, at.graph_scope)
    )


def test_a_user_assigned_identity_is_asked_for_by_name(world: Any, estate: Estate) -> None:
    managed = estate.managed(federated=False)
    others: JsonObject = {each["ref"]: {} for each in (managed, estate.managed(federated=False))}
    made = machine(world, estate.group(), {"type": "UserAssigned", "userAssignedIdentities": others})
    managed = {**managed, "probe_vm": made["id"]}
    # The inventory's usual way comes first, fails, and the machine's follows.
    for name in (ASSIGNMENTS, DISABLE):
        step = Step(world, name, managed)
        change = step.apply(step.snapshot())
        assert step.holds(change), name
        assert step.measure.revert(change).holds


def test_a_machine_that_lost_the_identity_leaves_it_unproven(world: Any, estate: Estate) -> None:
    managed = estate.managed(federated=False)
    made = machine(world, estate.group(), {"type": "None"})
    step = Step(world, ASSIGNMENTS, {**managed, "probe_vm": made["id"]})
    state = step.snapshot()
    assert "invalid_request" in state.values["control"]["why_not"]
    assert step.verify(step.apply(state))[0].inconclusive


def test_the_declared_permissions_suffice(world: Any, own: JsonObject) -> None:
    for name in (ASSIGNMENTS, DISABLE):
        limited = world.least(world.workload(identities=(own,)), name)
        step = Step(world, name, own, access=limited.access)
        state = step.snapshot()
        assert state.values["control"]["works"], name
        change = step.apply(state)
        assert step.measure.revert(change).holds
        run = "Microsoft.Compute/virtualMachines/runCommand/action"
        less = world.least(world.workload(identities=(own,)), name, without=run)
        assert not Step(world, name, own, access=less.access).snapshot().values["control"]["works"]
        assert run in {each.action for each in measure(name).permissions}
