"""Phase 1 on Azure: every way that a role takes to a principal is found, cut and restored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from firebreak.measure import measure
from firebreak.model import JsonObject
from providers.azure.permissions import grants
from tests.providers.azure.identities import BLOB_READER, SUBSCRIPTION, Estate, Step, group_of

NAME = "azure.remove-role-assignments"


@pytest.fixture
def estate(world: Any) -> Iterator[Estate]:
    yield Estate(world)
    world.sandbox.configure(role_propagation_seconds=0)
    world.sandbox.clear_faults()


@pytest.fixture
def managed(estate: Estate) -> JsonObject:
    return estate.managed()


def test_what_comes_through_groups_is_cut_at_the_membership(
    world: Any, estate: Estate, managed: JsonObject
) -> None:
    other = estate.managed()
    inner = world.sandbox.create_group("agents", managed["principal_id"], other["principal_id"])
    outer = world.sandbox.create_group("all-agents", inner)
    idle = world.sandbox.create_group("newsletter", managed["principal_id"])
    shared = estate.assign(group_of(managed), outer, BLOB_READER)
    step = Step(world, NAME, managed)
    state = step.snapshot()
    assert state.values["memberships"] == {inner: {"display_name": "agents", "other_members": 1}}
    change = step.apply(state)
    assert step.holds(change)
    assert estate.assignment(shared) is not None
    members = [each["id"] for each in world.admin_graph().pages(f"/groups/{inner}/members")]
    assert members == [other["principal_id"]]
    assert [each["id"] for each in world.admin_graph().pages(f"/groups/{idle}/members")]
    assert step.measure.revert(change).holds
    assert step.observed() == {name: each for name, each in state.values.items() if name != "control"}


def test_the_printed_permissions_end_a_membership(world: Any, estate: Estate, managed: JsonObject) -> None:
    group = world.sandbox.create_group("agents", managed["principal_id"])
    estate.assign(group_of(managed), group)
    other = world.workload(identities=(estate.managed(),), id="other")
    asked = grants(
        [
            (measure(NAME), target)
            for target in measure(NAME).applies_to(world.workload(identities=(managed,)))
        ],
        [world.workload(identities=(managed,)), other],
    )
    assert "graph:GroupMember.ReadWrite.All" in asked
    assert "Microsoft.Compute/virtualMachines/runCommand/action" not in asked
    limited = world.least(world.workload(identities=(managed,)), NAME)
    step = Step(world, NAME, managed, access=limited.access)
    change = step.apply(step.snapshot())
    assert step.holds(change)
    assert step.measure.revert(change).holds


def test_a_membership_that_may_not_be_ended_leaves_it_unproven_with_the_reason(
    world: Any, estate: Estate, managed: JsonObject
) -> None:
    group = world.sandbox.create_group("agents", managed["principal_id"])
    estate.assign(group_of(managed), group)
    managed = {**managed, "leave_groups": False}
    limited = world.least(world.workload(identities=(managed,)), NAME)
    step = Step(world, NAME, managed, access=limited.access)
    change = step.apply(step.snapshot())
    _, listed = step.verify(change)
    assert not listed.holds
    assert group in listed.observed
    assert "GroupMember.ReadWrite.All" in listed.observed
    assert step.measure.revert(change).holds


def test_timed_assignments_end_and_return_with_their_end(
    world: Any, estate: Estate, managed: JsonObject
) -> None:
    estate.timed(group_of(managed), managed["principal_id"])
    step = Step(world, NAME, managed)
    state = step.snapshot()
    assert len(state.values["schedules"]) == 1
    assert len(state.values["assignments"]) == 1
    change = step.apply(state)
    assert step.holds(change)
    assert not step.apply(state).changed
    assert step.measure.revert(change).holds
    assert step.observed() == {name: each for name, each in state.values.items() if name != "control"}


def test_an_assignment_of_a_management_group_reaches_down_and_is_removed_there(
    world: Any, estate: Estate, managed: JsonObject
) -> None:
    tenant = managed["tenant_id"]
    world.sandbox.grant(world.responder.object_id, "User Access Administrator", root(tenant))
    above = world.sandbox.grant(managed["principal_id"], "Reader", root(tenant))
    step = Step(world, NAME, managed)
    state = step.snapshot()
    assert above in state.values["assignments"]
    change = step.apply(state)
    assert step.holds(change)
    assert step.measure.revert(change).holds
    assert estate.assignment(above) is not None


def root(tenant: str) -> str:
    return f"/providers/Microsoft.Management/managementGroups/{tenant}"


def test_a_lock_keeps_one_assignment_and_the_others_still_go(
    world: Any, estate: Estate, managed: JsonObject
) -> None:
    place = estate.group()
    kept = estate.assign(place, managed["principal_id"])
    lock = estate.lock(place)
    step = Step(world, NAME, managed)
    state = step.snapshot()
    change = step.apply(state)
    assert len(change.after["removed"]) == 1
    _, listed = step.verify(change)
    assert not listed.holds
    assert "ScopeLocked" in listed.observed
    assert "remove it, then retry" in listed.observed
    world.admin().delete(lock, "2020-05-01")
    again = step.apply(state)
    assert again.after["removed"] == [kept]
    assert step.holds(again)
    assert step.measure.revert(again).holds


def test_the_last_owner_is_named_and_stays_unproven(world: Any, estate: Estate) -> None:
    managed = estate.managed()
    subscription = world.sandbox.create_subscription()
    scope = f"/subscriptions/{subscription}"
    world.sandbox.grant(world.responder.object_id, "User Access Administrator", scope)
    world.sandbox.grant(managed["principal_id"], "Owner", scope)
    step = Step(world, NAME, managed, account=subscription)
    change = step.apply(step.snapshot())
    _, listed = step.verify(change)
    assert not listed.holds
    assert "Cannot delete the last RBAC admin assignment" in listed.observed


def test_what_was_assigned_meanwhile_goes_too_and_does_not_return(
    world: Any, estate: Estate, managed: JsonObject
) -> None:
    step = Step(world, NAME, managed)
    state = step.snapshot()
    sneaked = estate.assign(SUBSCRIPTION, managed["principal_id"])
    change = step.apply(state)
    assert sneaked in change.after["removed"]
    assert step.holds(change)
    late = estate.assign(SUBSCRIPTION, managed["principal_id"])
    assert not step.holds(change)
    assert step.apply(state).after["removed"] == [late]
    assert step.measure.revert(change).holds
    assert estate.assignment(sneaked) is None


def test_two_workloads_on_one_identity_are_released_in_either_order(world: Any, estate: Estate) -> None:
    for first_out in (0, 1):
        managed = estate.managed()
        steps = [Step(world, NAME, managed, workload=f"{name}-{first_out}") for name in ("one", "other")]
        first = steps[0].apply(steps[0].snapshot())
        second = steps[1].apply(steps[1].snapshot())
        changes = [first, second]
        out, stays = first_out, 1 - first_out
        released = steps[out].measure.revert(changes[out])
        assert released.holds
        assert steps[stays].workload.id in released.observed
        assert estate.as_identity(managed).status_code == 403
        assert steps[stays].verify(changes[stays])[1].holds
        assert steps[stays].measure.revert(changes[stays]).holds
        assert estate.as_identity(managed).status_code == 200
        assert steps[out].measure.revert(changes[out]).holds
