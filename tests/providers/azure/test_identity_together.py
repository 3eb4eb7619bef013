"""Phase 1 on Azure as a run does it: every measure on the same identities at once, proved and given back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from firebreak.errors import Irreversible
from firebreak.measure import Measure, measures, now
from firebreak.model import Change, Cloud, Finding, Phase, State, Target
from providers.azure.identity.holders import Holders
from tests.providers.azure.identities import Estate

Planned = tuple[Measure[Any], Target]
KINDS = measures(Cloud.AZURE, Phase.IDENTITY_REVOKE)


@pytest.fixture
def estate(world: Any) -> Estate:
    return Estate(world)


def planned(world: Any, *resources: Any, workload: str = "agent") -> list[Planned]:
    made = world.workload(identities=resources, id=workload)
    context = world.context(made)
    measures_of = [kind(context) for kind in KINDS]
    return [(each, target) for each in measures_of for target in each.applies_to(made)]


def snapshot(step: Planned) -> State:
    kind, target = step
    return State(measure=kind.name, target=target, taken_at=now(), values=kind.snapshot(target))


def apply(step: Planned, state: State) -> Change:
    return step[0].apply(step[1], state)


def reverted(step: Planned, change: Change) -> Finding | None:
    try:
        return step[0].revert(change)
    except Irreversible:
        return None


def test_every_measure_at_once(world: Any, estate: Estate) -> None:
    user = world.sandbox.create_user("agent")
    resources = [estate.managed(), estate.service(agent_user=user), estate.ai_account(regenerate_keys=True)]
    steps = planned(world, *resources)
    names = {kind.name for kind, _ in steps}
    assert names == {kind.name for kind in KINDS}
    states = [snapshot(step) for step in steps]
    with ThreadPoolExecutor(8) as pool:
        changes = list(pool.map(apply, steps, states))
    for (kind, target), change in zip(steps, changes, strict=True):
        findings = kind.verify(target, change)
        assert all(each.holds for each in findings), (kind.name, target.key, findings)
    backwards = list(reversed(list(zip(steps, changes, strict=True))))
    for step, change in backwards:
        finding = reverted(step, change)
        assert finding is None or finding.holds, (step[0].name, finding)
    after = [snapshot(step).values for step in steps]
    for step, before, now_there in zip(steps, states, after, strict=True):
        if not step[0].irreversible:
            wanted = {name: each for name, each in before.values.items() if name != "control"}
            assert {name: each for name, each in now_there.items() if name != "control"} == wanted, step[
                0
            ].name


def test_looking_changes_nothing(world: Any, estate: Estate) -> None:
    steps = planned(world, estate.managed(), estate.service(), estate.ai_account())
    since = world.sandbox.calls().next
    for kind, target in steps:
        assert kind.discover(target) == [target]
        kind.blast_radius(target)
        kind.snapshot(target)
    made = world.sandbox.calls(since, mutating=True, principal=world.responder.object_id).calls
    assert made == []


def test_a_hold_is_kept_until_the_last_one_lets_go(world: Any, estate: Estate) -> None:
    managed = estate.managed()
    target = Target(kind="managed-identity", ref=managed["ref"], account="a", region="b")
    one, other, third = (
        Holders(world.context(world.workload(id=name)), "azure.x", target)
        for name in ("one", "other", "third")
    )
    one.hold({"is": "first"})
    other.hold({"is": "second"})
    third.hold({"is": "third"})
    assert one.others() == ("other", "third")
    one.hand_over({"is": "first"})
    assert third.others() == ("other",)
    other.hand_over({"is": "second"})
    assert third.others() == ()
    assert [each["is"] for each in third.owed({"is": "third"})] == ["first", "second", "third"]
    third.released()
    assert [each["is"] for each in third.owed({"is": "third"})] == ["third"]
    one.hold({"is": "again"})
    assert third.others() == ("one",)
