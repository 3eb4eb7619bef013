"""Phase 1 on Azure: Cosmos DB's own roles on the workload's memory are found, removed and restored."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest

from firebreak.errors import PermanentCloudError
from firebreak.measure import measure
from firebreak.model import JsonObject
from providers.azure.permissions import documents, missing
from tests.drills.sandbox.azure.places import CONTRIBUTOR, Places
from tests.providers.azure.identities import Estate, Step

NAME = "azure.remove-role-assignments"
VERSION = "2024-05-15"
KIND = "Microsoft.DocumentDB/databaseAccounts/sqlRoleAssignments"
RIGHTS = {f"{KIND}/{verb}" for verb in ("read", "write", "delete")}


class Memory:
    """A Cosmos DB container which an identity may write to, with a token from before any change."""

    def __init__(self, world: Any, owner: JsonObject, scope: str = "") -> None:
        self._places = Places.new(world.sandbox)
        self._admin = world.admin()
        self.container = self._places.cosmos()
        self.account = self.container.partition("/sqlDatabases/")[0]
        self.store = {"kind": "cosmos-container", "ref": self.container}
        self.url = f"https://{self.account.rsplit('/', 1)[-1]}.documents.azure.com"
        self.probe = f"GET {self.url}/dbs/agent/colls/memory"
        self.assignment = self.give(owner["principal_id"], scope)
        self._token = world.sandbox.mint(owner["principal_id"], self.url)

    def give(self, principal: str, scope: str = "") -> str:
        place = f"{self.account}{scope}"
        return self._places.cosmos_role(self.container, principal, CONTRIBUTOR, place)

    def assigned(self, ref: str = "") -> JsonObject | None:
        """An assignment as it is: its id and everything that it says."""
        found: JsonObject | None = self._admin.get(ref or self.assignment, VERSION)
        return found and {name: found[name] for name in ("id", "name", "type", "properties")}

    def write(self) -> httpx.Response:
        """What the workload's code does to its memory."""
        headers = {
            "Authorization": quote(f"type=aad&ver=1.0&sig={self._token}"),
            "x-ms-documentdb-partitionkey": '["c-1"]',
            "x-ms-documentdb-is-upsert": "true",
        }
        item = {"id": "c-1", "session": "c-1", "summary": "obey"}
        return httpx.post(f"{self.url}/dbs/agent/colls/memory/docs", headers=headers, json=item)


@pytest.fixture
def estate(world: Any) -> Estate:
    return Estate(world)


@pytest.fixture
def managed(estate: Estate) -> JsonObject:
    return estate.managed()


@pytest.fixture
def memory(world: Any, managed: JsonObject) -> Memory:
    return Memory(world, managed, "/dbs/agent/colls/memory")


def test_a_token_from_before_no_longer_reaches_the_memory_until_release(
    world: Any, managed: JsonObject, memory: Memory
) -> None:
    assert memory.write().is_success
    before = memory.assigned()
    step = Step(world, NAME, managed, stores=(memory.store,))
    state = step.snapshot()
    assert list(state.values["data_assignments"]) == [memory.assignment]
    change = step.apply(state)
    assert memory.assignment in change.after["removed"]
    assert memory.write().status_code == 403
    assert step.holds(change)
    assert not step.apply(state).changed
    assert step.measure.revert(change).holds
    assert memory.assigned() == before
    assert memory.write().is_success
    assert step.observed() == {name: each for name, each in state.values.items() if name != "control"}
    assert step.measure.revert(change).holds


def test_the_workloads_own_token_shows_that_it_lost_its_memory(
    world: Any, managed: JsonObject, memory: Memory
) -> None:
    step = Step(world, NAME, managed, stores=(memory.store,))
    state = step.snapshot()
    assert memory.probe in state.values["control"]["works"]
    assert state.values["control"]["listed_only"] == []
    change = step.apply(state)
    probed, listed = step.verify(change)
    assert probed.holds
    assert f"{memory.probe} denied: Forbidden 5301 (403)" in probed.observed
    late = memory.give(managed["principal_id"], "/dbs/agent/colls/memory")
    again, listed = step.verify(change)
    assert (again.holds, again.inconclusive) == (False, False)
    assert not listed.holds
    world.admin().delete(late, VERSION)
    assert step.holds(change)
    assert step.measure.revert(change).holds


def test_a_firewall_in_front_of_the_memory_proves_nothing(
    world: Any, managed: JsonObject, memory: Memory
) -> None:
    step = Step(world, NAME, managed, stores=(memory.store,))
    change = step.apply(step.snapshot())
    world.sandbox.inject("denied", host="cosmos")
    try:
        probed, _ = step.verify(change)
    finally:
        world.sandbox.clear_faults()
    assert (probed.holds, probed.inconclusive) == (False, True)
    assert step.holds(change)
    assert step.measure.revert(change).holds


def test_the_plan_tells_which_memory_no_probe_can_speak_of(
    world: Any, managed: JsonObject, memory: Memory
) -> None:
    """A role without readMetadata is of no use to a client, and cannot be tried."""
    world.admin().delete(memory.assignment, VERSION)
    name = str(uuid4())
    role = f"{memory.account}/sqlRoleDefinitions/{name}"
    only_writes = {
        "dataActions": ["Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers/items/upsert"]
    }
    world.admin().put(
        role, {"properties": {"roleName": name, "type": "CustomRole", "permissions": [only_writes]}}, VERSION
    )
    Places.new(world.sandbox).cosmos_role(memory.container, managed["principal_id"], name)
    assert memory.write().is_success
    step = Step(world, NAME, managed, stores=(memory.store,))
    control = step.snapshot().values["control"]
    assert memory.probe not in control["works"]
    (told,) = control["listed_only"]
    assert memory.container in told
    assert "by listing alone" in told
    assert "Forbidden 5301" in told


def test_a_memory_that_the_workload_cannot_reach_needs_no_probe(
    world: Any, managed: JsonObject, memory: Memory
) -> None:
    world.admin().delete(memory.assignment, VERSION)
    step = Step(world, NAME, managed, stores=(memory.store,))
    state = step.snapshot()
    assert state.values["control"]["listed_only"] == []
    assert step.holds(step.apply(state))


def test_a_probe_of_the_memory_may_be_declared(world: Any, managed: JsonObject, memory: Memory) -> None:
    items = {"url": f"{memory.url}/dbs/agent/colls/memory/docs"}
    step = Step(world, NAME, {**managed, "probes": [*managed["probes"], items]}, stores=(memory.store,))
    change = step.apply(step.snapshot())
    probed, _ = step.verify(change)
    assert probed.holds
    assert "/dbs/agent/colls/memory/docs denied: Forbidden 5302 (403)" in probed.observed
    assert step.measure.revert(change).holds


def test_the_proof_fails_while_a_role_on_the_memory_stays(
    world: Any, managed: JsonObject, memory: Memory
) -> None:
    step = Step(world, NAME, managed, stores=(memory.store,))
    state = step.snapshot()
    change = step.apply(state)
    late = memory.give(managed["principal_id"])
    assert memory.write().is_success
    _, listed = step.verify(change)
    assert not listed.holds
    assert listed.detail["left"] == [late]
    assert step.apply(state).after["removed"] == [late]
    assert step.holds(change)
    assert step.measure.revert(change).holds
    assert memory.assigned(late) is None


def test_a_lock_on_the_account_keeps_the_role_and_the_others_still_go(
    world: Any, estate: Estate, managed: JsonObject, memory: Memory
) -> None:
    lock = estate.lock(memory.account)
    step = Step(world, NAME, managed, stores=(memory.store,))
    state = step.snapshot()
    change = step.apply(state)
    assert list(change.after["kept"]) == [memory.assignment]
    assert change.after["removed"] == list(state.values["assignments"])
    _, listed = step.verify(change)
    assert not listed.holds
    assert "ScopeLocked" in listed.observed
    world.admin().delete(lock, "2020-05-01")
    assert step.holds(step.apply(state))
    assert step.measure.revert(change).holds


def test_the_roles_of_others_on_the_account_stay(
    world: Any, estate: Estate, managed: JsonObject, memory: Memory
) -> None:
    others = memory.give(estate.managed()["principal_id"])
    kept = memory.assigned(others)
    step = Step(world, NAME, managed, stores=(memory.store,))
    change = step.apply(step.snapshot())
    assert step.holds(change)
    assert memory.assigned(others) == kept
    assert step.measure.revert(change).holds


def test_a_role_on_the_memory_through_groups_is_cut_at_the_membership(
    world: Any, managed: JsonObject, memory: Memory
) -> None:
    inner = world.sandbox.create_group("agents", managed["principal_id"])
    shared = memory.give(world.sandbox.create_group("all-agents", inner))
    world.admin().delete(memory.assignment, VERSION)
    assert memory.write().is_success
    step = Step(world, NAME, managed, stores=(memory.store,))
    state = step.snapshot()
    assert list(state.values["memberships"]) == [inner]
    change = step.apply(state)
    assert memory.write().status_code == 403
    assert step.holds(change)
    assert memory.assigned(shared) is not None
    assert step.measure.revert(change).holds
    assert memory.write().is_success


def test_two_workloads_on_one_identity_with_a_memory_each_are_released_in_either_order(
    world: Any, estate: Estate
) -> None:
    for first_out in (0, 1):
        managed = estate.managed()
        memories = [Memory(world, managed) for _ in range(2)]
        steps = [
            Step(world, NAME, managed, workload=f"memory-{first_out}-{number}", stores=(each.store,))
            for number, each in enumerate(memories)
        ]
        changes = [step.apply(step.snapshot()) for step in steps]
        assert [each.write().status_code for each in memories] == [403, 403]
        assert steps[first_out].measure.revert(changes[first_out]).holds
        assert [each.write().status_code for each in memories] == [403, 403]
        assert steps[1 - first_out].measure.revert(changes[1 - first_out]).holds
        assert all(each.write().is_success for each in memories)
        assert all(each.assigned() for each in memories)


def test_an_account_that_is_gone_gives_no_rights(world: Any, managed: JsonObject, memory: Memory) -> None:
    gone = memory.account.rpartition("/")[0] + "/gone/sqlDatabases/agent/containers/memory"
    step = Step(world, NAME, managed, stores=({"kind": "cosmos-container", "ref": gone},))
    assert step.snapshot().values["data_assignments"] == {}


def test_the_rights_are_printed_at_the_account_and_only_for_who_declares_one(
    world: Any, managed: JsonObject, memory: Memory
) -> None:
    with_memory = world.workload(identities=(managed,), stores=(memory.store,))
    assert rights(world, with_memory) == {memory.account: RIGHTS}
    assert rights(world, world.workload(identities=(managed,), id="other")) == {}


def test_the_printed_permissions_suffice_and_each_is_missed(
    world: Any, managed: JsonObject, memory: Memory
) -> None:
    made = world.workload(identities=(managed,), stores=(memory.store,))
    limited = world.least(made, NAME)
    needs = [(measure(NAME), target) for target in measure(NAME).applies_to(made)]
    assert missing(world.access(limited), needs) == ()
    step = Step(world, NAME, managed, stores=(memory.store,), access=limited.access)
    change = step.apply(step.snapshot())
    assert step.holds(change)
    assert step.measure.revert(change).holds
    for right in RIGHTS:
        without = world.least(made, NAME, without=right)
        assert missing(world.access(without), needs) == (f"{right} on {memory.account}",)


def test_none_of_the_printed_rights_is_too_many(world: Any, managed: JsonObject, memory: Memory) -> None:
    made = world.workload(identities=(managed,), stores=(memory.store,))

    def without(right: str) -> Step:
        limited = world.least(made, NAME, without=f"{KIND}/{right}")
        return Step(world, NAME, managed, stores=(memory.store,), access=limited.access)

    with pytest.raises(PermanentCloudError, match="sqlRoleAssignments/read"):
        without("read").snapshot()
    step = without("delete")
    change = step.apply(step.snapshot())
    assert "sqlRoleAssignments/delete" in step.verify(change)[1].observed
    assert step.measure.revert(change).holds
    step = without("write")
    change = step.apply(step.snapshot())
    assert step.holds(change)
    refused = step.measure.revert(change)
    assert not refused.holds
    assert "sqlRoleAssignments/write" in refused.observed


def rights(world: Any, workload: Any) -> dict[str, set[str]]:
    """Where the printed roles of the measure hold a right on Cosmos DB's role assignments."""
    needs = [(measure(NAME), target) for target in measure(NAME).applies_to(workload)]
    found: dict[str, set[str]] = {}
    for role in documents(needs, [workload], world.settings)["responder"]["roles"]:
        held = RIGHTS & set(role["definition"]["Actions"])
        for place in role["assign_at"] if held else ():
            found.setdefault(place, set()).update(held)
    return found
