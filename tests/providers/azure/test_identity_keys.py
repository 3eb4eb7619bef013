"""Phase 1 on Azure: keys of AI accounts, and the deny assignment that is nothing but an extra layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from firebreak.errors import Irreversible, PermanentCloudError, TransientCloudError
from firebreak.measure import measure
from firebreak.model import JsonObject
from tests.providers.azure.identities import GROUPS, SUBSCRIPTION, Estate, Step, group_of

LOCAL_AUTH, DENY = "azure.disable-local-auth", "azure.deny-assignment"
PREVIEW = "2024-07-01-preview"


@pytest.fixture
def estate(world: Any) -> Iterator[Estate]:
    yield Estate(world)
    world.sandbox.clear_faults()


def ask(estate: Estate, account: JsonObject, key: str) -> int:
    name = account["ref"].rsplit("/", 1)[-1]
    url = f"https://{name}.openai.azure.com/openai/models?api-version=2024-10-21"
    return estate.ask(url, {"api-key": key}).status_code


def test_keys_are_refused_until_release(world: Any, estate: Estate) -> None:
    account = estate.ai_account(shared_with=["billing"])
    key = estate.keys(account["ref"])["key1"]
    step = Step(world, LOCAL_AUTH, account)
    assert step.measure.blast_radius(step.target) == ("billing",)
    state = step.snapshot()
    assert not any(each.holds for each in step.verify(step.measure.done(step.target, state, changed=True)))
    assert ask(estate, account, key) == 200
    change = step.apply(state)
    assert ask(estate, account, key) == 403
    assert step.holds(change)
    assert not step.apply(state).changed
    for _ in range(2):
        assert step.measure.revert(change).holds
    assert ask(estate, account, key) == 200
    assert estate.keys(account["ref"])["key1"] == key
    assert not step.holds(change)
    assert key not in step.text(state, change, *step.verify(change))


def test_keys_made_anew_are_lost_and_said_to_be(world: Any, estate: Estate) -> None:
    account = estate.ai_account(regenerate_keys=True)
    old = estate.keys(account["ref"])
    step = Step(world, LOCAL_AUTH, account)
    change = step.apply(step.snapshot())
    assert change.after["regenerated"] == ["Key1", "Key2"]
    assert step.holds(change)
    for _ in range(2):
        with pytest.raises(Irreversible, match="gone for good") as kept:
            step.measure.revert(change)
        assert "new keys" in kept.value.remedy
    assert [ask(estate, account, each) for each in old.values()] == [401, 401]
    new = estate.keys(account["ref"])
    assert ask(estate, account, new["key2"]) == 200


def test_keys_that_were_off_before_stay_off(world: Any, estate: Estate) -> None:
    account = estate.ai_account(regenerate_keys=True)
    off = {"properties": {"disableLocalAuth": True}}
    world.admin().patch(account["ref"], off, "2024-10-01")
    step = Step(world, LOCAL_AUTH, account)
    change = step.apply(step.snapshot())
    assert not change.changed
    assert step.holds(change)
    assert step.measure.revert(change).holds
    assert step.observed() == {"disabled": True}


def test_two_workloads_on_one_account(world: Any, estate: Estate) -> None:
    account = estate.ai_account()
    one, other = (Step(world, LOCAL_AUTH, account, workload=name) for name in ("one", "other"))
    first = one.apply(one.snapshot())
    second = other.apply(other.snapshot())
    assert "other" in one.measure.revert(first).observed
    assert other.holds(second)
    assert other.measure.revert(second).holds
    assert one.observed() == {"disabled": False}


def test_an_unknown_account_is_refused_before_the_first_change(world: Any, estate: Estate) -> None:
    account = estate.ai_account()
    with pytest.raises(PermanentCloudError, match="the AI account does not exist"):
        Step(world, LOCAL_AUTH, {**account, "ref": f"{account['ref']}x"}).snapshot()


@pytest.mark.parametrize("anew", [False, True])
def test_the_declared_permissions_suffice_and_none_is_too_many(
    world: Any, estate: Estate, anew: bool
) -> None:
    wanted = [*measure(LOCAL_AUTH).permissions] if anew else [*measure(LOCAL_AUTH).permissions][:-1]
    lived(world, LOCAL_AUTH, estate.ai_account(regenerate_keys=anew), "")
    for permission in wanted:
        with pytest.raises(PermanentCloudError):
            lived(world, LOCAL_AUTH, estate.ai_account(regenerate_keys=anew), permission.action)


def lived(world: Any, name: str, resource: JsonObject, without: str) -> None:
    """A whole life behind the printed roles, with one permission missing."""
    workload = world.least(world.workload(identities=(resource,)), name, without=without)
    step = Step(world, name, resource, access=workload.access)
    step.measure.blast_radius(step.target)
    change = step.apply(step.snapshot())
    if change.after.get("skipped"):
        raise PermanentCloudError(change.after["skipped"])
    assert step.holds(change)
    try:
        assert step.measure.revert(change).holds
    except Irreversible:
        return


def denials(world: Any, principal: str) -> list[JsonObject]:
    listed = world.admin().pages(f"{SUBSCRIPTION}/providers/Microsoft.Authorization/denyAssignments", PREVIEW)
    meant = [each for each in listed if each["properties"]["principals"][0]["id"] == principal]
    return [each["properties"] for each in meant]


def test_writes_are_denied_to_the_workload_alone(world: Any, estate: Estate) -> None:
    managed = estate.managed()
    group = group_of(managed)
    world.sandbox.grant(managed["principal_id"], "Contributor", group)
    step = Step(world, DENY, managed)
    state = step.snapshot()
    assert not step.holds(
        step.measure.done(step.target, state, changed=True, skipped="", principal_id=managed["principal_id"])
    )
    change = step.apply(state)
    assert step.holds(change)
    (deny,) = denials(world, managed["principal_id"])
    assert deny["permissions"][0]["actions"] == ["*/write", "*/delete", "*/action"]
    assert world.responder.object_id in [each["id"] for each in deny["excludePrincipals"]]
    token = world.sandbox.mint(managed["principal_id"])
    url = f"https://management.azure.com{group}?api-version={GROUPS}"
    body = {"location": "westeurope"}
    assert world.sandbox.send("PUT", url, body, token=token).status == 403
    assert world.sandbox.send("GET", url, token=token).status == 200  # reads cannot be denied by it
    assert not step.apply(state).changed
    for _ in range(2):
        assert step.measure.revert(change).holds
    assert denials(world, managed["principal_id"]) == []
    assert world.sandbox.send("PUT", url, body, token=token).status == 200


def test_each_workload_has_a_deny_assignment_of_its_own(world: Any, estate: Estate) -> None:
    managed = estate.managed()
    one, other = (Step(world, DENY, managed, workload=name) for name in ("one", "other"))
    first = one.apply(one.snapshot())
    second = other.apply(other.snapshot())
    assert len(denials(world, managed["principal_id"])) == 2
    assert one.measure.revert(first).holds
    assert other.holds(second)
    assert other.measure.revert(second).holds
    assert denials(world, managed["principal_id"]) == []


@pytest.mark.parametrize("operation", ["read", "write"])
def test_where_the_preview_refuses_it_is_skipped_with_the_reason(
    world: Any, estate: Estate, operation: str
) -> None:
    managed = estate.managed()
    refused = f"Microsoft.Authorization/denyAssignments/{operation}"
    world.sandbox.inject("denied", host="arm", operation=refused, times=-1)
    step = Step(world, DENY, managed)
    change = step.apply(step.snapshot())
    world.sandbox.clear_faults()
    assert not change.changed
    (finding,) = step.verify(change)
    assert finding.detail == {"skipped": True}
    assert "not counted on" in finding.observed
    assert "AuthorizationFailed" in finding.observed
    assert denials(world, managed["principal_id"]) == []
    assert step.measure.revert(change).holds


def test_an_altered_deny_assignment_does_not_hold(world: Any, estate: Estate) -> None:
    managed = estate.managed()
    step = Step(world, DENY, managed)
    change = step.apply(step.snapshot())
    (deny,) = denials(world, managed["principal_id"])
    path = step.measure._path(managed["principal_id"])  # type: ignore[attr-defined]
    audit = {**deny, "denyAssignmentEffect": "audit"}
    world.admin().put(path, {"properties": audit}, PREVIEW)
    (finding,) = step.verify(change)
    assert not finding.holds
    assert "altered" in finding.observed
    assert step.measure.revert(change).holds


def test_throttling_is_transient(world: Any, estate: Estate) -> None:
    for name, resource in ((LOCAL_AUTH, estate.ai_account()), (DENY, estate.managed())):
        step = Step(world, name, resource)
        state = step.snapshot()
        world.sandbox.inject("throttle", host="arm", times=-1, retry_after=0)
        with pytest.raises(TransientCloudError):
            step.apply(state)
        world.sandbox.clear_faults()
        assert step.holds(step.apply(state))


def test_the_deny_assignments_permissions_suffice_and_none_is_too_many(world: Any, estate: Estate) -> None:
    lived(world, DENY, estate.managed(), "")
    for permission in measure(DENY).needed(Step(world, DENY, estate.managed()).target):  # type: ignore[attr-defined]
        with pytest.raises(PermanentCloudError):
            lived(world, DENY, estate.managed(), permission.action)
