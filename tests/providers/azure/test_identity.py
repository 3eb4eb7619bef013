"""Phase 1 on Azure, authorization: no role reaches the workload, its own tokens say so, and all returns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from firebreak.errors import ContainmentError, PermanentCloudError, TransientCloudError
from firebreak.model import JsonObject
from providers.azure.cosmosroles import ASSIGN_ROLES
from tests.providers.azure.identities import BLOB_READER, Estate, Step, group_of

NAME = "azure.remove-role-assignments"


@pytest.fixture
def estate(world: Any) -> Iterator[Estate]:
    yield Estate(world)
    world.sandbox.configure(role_propagation_seconds=0)
    world.sandbox.clear_faults()


@pytest.fixture
def managed(estate: Estate) -> JsonObject:
    return estate.managed()


def test_a_live_token_loses_everything_and_each_assignment_returns_as_it_was(
    world: Any, estate: Estate, managed: JsonObject
) -> None:
    group = group_of(managed)
    conditional = estate.assign(
        group,
        managed["principal_id"],
        BLOB_READER,
        condition="((!(ActionMatches{'x'})))",
        conditionVersion="2.0",
        description="reads prompts",
    )
    below = estate.assign(managed["ref"], managed["principal_id"])
    before = [estate.assignment(each) for each in (conditional, below)]
    step = Step(world, NAME, managed)
    state = step.snapshot()
    assert estate.as_identity(managed).status_code == 200
    change = step.apply(state)
    assert change.changed
    assert len(change.after["removed"]) == 3
    assert estate.as_identity(managed).status_code == 403
    assert step.holds(change)
    assert "AuthorizationFailed (403)" in step.verify(change)[0].observed
    assert not step.apply(state).changed
    for _ in range(2):
        assert step.measure.revert(change).holds
    after = [estate.assignment(each) for each in (conditional, below)]
    for old, new in zip(before, after, strict=True):
        assert old is not None
        assert new is not None
        for name in ("createdOn", "updatedOn", "createdBy", "updatedBy"):
            old["properties"].pop(name), new["properties"].pop(name)
        assert old == new
    assert step.observed() == {name: each for name, each in state.values.items() if name != "control"}
    assert estate.as_identity(managed).status_code == 200
    assert not step.holds(change)


def test_nothing_is_proved_before_the_change(world: Any, managed: JsonObject) -> None:
    step = Step(world, NAME, managed)
    pretended = step.measure.done(
        step.target, step.snapshot(), changed=True, kept={}, principal_id=managed["principal_id"]
    )
    assert [(each.holds, each.inconclusive) for each in step.verify(pretended)] == [
        (False, False),
        (False, False),
    ]


def test_propagation_is_awaited_not_assumed(world: Any, managed: JsonObject) -> None:
    step = Step(world, NAME, managed)
    state = step.snapshot()
    world.sandbox.advance(30)  # what was granted before is in effect
    world.sandbox.configure(role_propagation_seconds=20)
    change = step.apply(state)
    probe, listed = step.verify(change)
    assert listed.holds
    assert not probe.holds
    assert not probe.inconclusive
    world.sandbox.advance(21)
    assert step.holds(change)


def test_a_data_plane_is_probed_with_a_token_of_its_own(world: Any, estate: Estate) -> None:
    account = estate.ai_account()
    name = account["ref"].rsplit("/", 1)[-1]
    managed = estate.managed()
    models = {"url": f"https://{name}.openai.azure.com/openai/models?api-version=2024-10-21"}
    managed["probes"] = [*managed["probes"], models]
    world.sandbox.grant(managed["principal_id"], "Cognitive Services OpenAI User", account["ref"])
    step = Step(world, NAME, managed)
    state = step.snapshot()
    assert len(state.values["control"]["works"]) == 2
    change = step.apply(state)
    assert step.holds(change)
    assert "PermissionDenied (401)" in step.verify(change)[0].observed


def test_a_service_principal_is_proved_by_its_secret(world: Any, estate: Estate) -> None:
    service = estate.service()
    step = Step(world, NAME, service)
    change = step.apply(step.snapshot())
    assert estate.as_identity(service).status_code == 403
    assert step.holds(change)
    assert step.measure.revert(change).holds


def test_a_token_of_somebody_else_is_no_witness(world: Any, estate: Estate) -> None:
    first, second = estate.service(application_object_id=""), estate.service()
    step = Step(world, NAME, {**first, "credential_secret": second["credential_secret"]})
    state = step.snapshot()
    assert state.values["control"]["works"] == []
    assert "AADSTS7000215" in state.values["control"]["why_not"]


@pytest.mark.parametrize("change", [{"probes": []}, {}])
def test_without_a_way_or_a_probe_it_is_contained_but_never_proved(
    world: Any, estate: Estate, change: JsonObject
) -> None:
    managed = {**estate.managed(federated=bool(change)), **change}
    step = Step(world, NAME, managed)
    state = step.snapshot()
    reason = "declares no probe" if change else "AADSTS70021"
    assert reason in state.values["control"]["why_not"]
    probe, listed = step.verify(step.apply(state))
    assert probe.inconclusive
    assert reason in probe.observed
    assert listed.holds


def test_blast_radius_names_carriers_and_subjects_but_not_the_workloads_own(
    world: Any, estate: Estate
) -> None:
    managed = estate.managed(shared_with=["billing"])
    group = group_of(managed)
    carried = {"type": "UserAssigned", "userAssignedIdentities": {managed["ref"].upper(): {}}}
    machines = [f"{group}/providers/Microsoft.Compute/virtualMachines/{name}" for name in ("ours", "theirs")]
    for each in machines:
        body = {"location": "westeurope", "identity": carried, "properties": {}}
        world.admin().put(each, body, "2024-07-01")
    estate.trust(managed["ref"], "aks", "system:serviceaccount:agents:main")
    estate.trust(managed["ref"], "ci", "repo:other/repo:ref:refs/heads/main")
    used_by = [machines[0].upper(), "system:serviceaccount:agents:main"]
    step = Step(world, NAME, {**managed, "used_by": used_by})
    radius = step.measure.blast_radius(step.target)
    assert radius == ("billing", machines[1], "repo:other/repo:ref:refs/heads/main")


def test_firebreaks_own_and_protected_principals_are_never_touched(world: Any, estate: Estate) -> None:
    own = {
        "kind": "service-principal",
        "ref": world.responder.object_id.upper(),
        "client_id": world.responder.client_id,
        "tenant_id": world.responder.tenant_id,
    }
    with pytest.raises(PermanentCloudError, match="Firebreak's own"):
        Step(world, NAME, own)
    managed = estate.managed()
    guard = world.settings.guard.model_copy(update={"protected_principals": (managed["principal_id"],)})
    settings = world.settings
    world.settings = settings.model_copy(update={"guard": guard})
    try:
        with pytest.raises(PermanentCloudError, match="a protected principal"):
            Step(world, NAME, {**managed, "ref": managed["ref"].upper()})
    finally:
        world.settings = settings
    assert estate.as_identity(managed).status_code == 200


def test_another_principal_behind_the_name_is_refused_before_the_first_change(
    world: Any, estate: Estate
) -> None:
    one, other = estate.managed(), estate.managed()
    for wrong in ({"principal_id": other["principal_id"]}, {"client_id": other["client_id"]}):
        with pytest.raises(PermanentCloudError, match="correct the inventory"):
            Step(world, NAME, {**one, **wrong}).snapshot()
    with pytest.raises(PermanentCloudError, match="the managed identity does not exist"):
        Step(world, NAME, {**one, "ref": f"{one['ref']}x"}).snapshot()


def test_a_lost_or_ended_token_is_inconclusive(world: Any, managed: JsonObject) -> None:
    step = Step(world, NAME, managed)
    change = step.apply(step.snapshot())
    step.context.vault.forget(f"sealed/{step.context.run.incident_id}/")
    probe, _ = step.verify(change)
    assert probe.inconclusive
    assert "gone" in probe.observed


def test_the_token_is_kept_out_of_every_record(world: Any, managed: JsonObject) -> None:
    step = Step(world, NAME, managed)
    state = step.snapshot()
    change = step.apply(state)
    assert "eyJ" not in step.text(state, change, *step.verify(change))


def test_a_snapshot_changes_nothing(world: Any, managed: JsonObject) -> None:
    step = Step(world, NAME, managed)
    since = world.sandbox.calls().next
    step.snapshot()
    step.measure.blast_radius(step.target)
    made = world.sandbox.calls(since, mutating=True, principal=world.responder.object_id).calls
    assert made == []


def test_throttling_is_transient_and_a_retry_finishes_the_work(
    world: Any, estate: Estate, managed: JsonObject
) -> None:
    estate.assign(managed["ref"], managed["principal_id"])
    step = Step(world, NAME, managed)
    state = step.snapshot()
    world.sandbox.inject(
        "throttle",
        host="arm",
        operation="Microsoft.Authorization/roleAssignments/delete",
        times=-1,
        retry_after=0,
    )
    with pytest.raises(TransientCloudError):
        step.apply(state)
    world.sandbox.clear_faults()
    change = step.apply(state)
    assert len(change.after["removed"]) == 2
    assert step.holds(change)
    assert step.measure.revert(change).holds


def test_a_busy_service_leaves_no_half_taken_control(world: Any, managed: JsonObject) -> None:
    step = Step(world, NAME, managed)
    world.sandbox.inject("error503", host="login", times=-1)
    with pytest.raises(ContainmentError) as caught:
        step.snapshot()
    assert caught.value.retryable


def test_a_denial_that_nobody_caused_is_not_counted_when_reads_are_throttled(
    world: Any, managed: JsonObject
) -> None:
    step = Step(world, NAME, managed)
    change = step.apply(step.snapshot())
    operation = "Microsoft.Resources/subscriptions/resourceGroups/read"
    world.sandbox.inject("throttle", host="arm", operation=operation, times=-1, retry_after=0)
    probe, _ = step.verify(change)
    assert probe.inconclusive


def test_the_declared_permissions_suffice_and_none_is_too_many(world: Any, estate: Estate) -> None:
    managed = estate.managed()
    limited = world.least(world.workload(identities=(managed,)), NAME)
    step = Step(world, NAME, managed, access=limited.access)
    change = step.apply(step.snapshot())
    assert step.holds(change)
    assert step.measure.revert(change).holds
    for permission in sorted({each.action for each in step.measure.needed(step.target)} - UNUSED):
        with pytest.raises(PermanentCloudError):
            lifeless(world, estate.managed(), permission)


UNUSED = {
    # used only where the inventory declares probe_vm, or where a group leads to an assignment
    "Microsoft.Compute/virtualMachines/read",
    "Microsoft.Compute/virtualMachines/runCommand/action",
    "graph:Application.Read.All",
    "graph:GroupMember.Read.All",
    "graph:GroupMember.ReadWrite.All",
    # used only where the inventory declares a Cosmos DB container: see test_identity_datarights.py
    *ASSIGN_ROLES,
}


def lifeless(world: Any, managed: JsonObject, permission: str) -> None:
    """A whole life with one permission missing; raises for what the responder may not do."""
    workload = world.least(world.workload(identities=(managed,)), NAME, without=permission)
    step = Step(world, NAME, managed, access=workload.access)
    step.measure.blast_radius(step.target)
    change = step.apply(step.snapshot())
    if change.after["kept"]:
        raise PermanentCloudError("; ".join(change.after["kept"].values()))
    finding = step.measure.revert(change)
    if not finding.holds:
        raise PermanentCloudError(finding.observed)
