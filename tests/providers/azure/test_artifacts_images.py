from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from threading import Barrier
from typing import Any
from uuid import uuid4

import pytest

from firebreak.errors import PermanentCloudError
from firebreak.model import Method
from providers.azure.answers import RestError
from providers.azure.artifacts.images import LOCKED
from providers.azure.artifacts.registry import EMPTY, MANIFEST_TYPE, Repository
from providers.azure.resources.artifacts import ContainerRepository
from tests.providers.azure.driving import Step
from tests.providers.driving import holds, patiently, proved

VERSION = "2023-07-01"
DISALLOWED = "REGISTRY_DISALLOWED_OPERATION"


class Registry:
    """One registry with one repository of two images, as its administrator sees it."""

    def __init__(self, world: Any, *, quarantine: str = "disabled") -> None:
        self.id = f"{world.group()}/providers/Microsoft.ContainerRegistry/registries/reg{uuid4().hex[:12]}"
        properties = {"policies": {"quarantinePolicy": {"status": quarantine}}}
        body = {"location": "westeurope", "sku": {"name": "Premium"}, "properties": properties}
        world.admin().put(self.id, body, VERSION)
        self.ref = f"{self.id}/repositories/agents/research"
        self.images = Repository(world.access(), self.ref)  # the fixture's responder is the owner
        self.approved = self.push("prod", "approved")
        self.push("old", "earlier")

    def push(self, tag: str, content: str) -> str:
        body = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": EMPTY,
                "layers": [],
                "annotations": {"content": content},
            }
        ).encode()
        self.images.push_empty()
        self.images.push(tag, body)
        return f"sha256:{sha256(body).hexdigest()}"

    def declared(self, **fields: Any) -> tuple[ContainerRepository, ...]:
        return (ContainerRepository(kind="container-repository", ref=self.ref, tag="prod", **fields),)

    def step(self, world: Any, *, owner: str = "agent", **fields: Any) -> Step:
        return Step(world, "azure.lock-images", owner=owner, artifacts=self.declared(**fields))


def code_of(call: Any, *arguments: Any) -> str:
    with pytest.raises(RestError) as caught:
        call(*arguments)
    return caught.value.code


def test_images_are_locked_proved_and_released(world: Any) -> None:
    registry = Registry(world)
    step = registry.step(world, approved_digest=registry.approved)
    before = step.snapshot()
    change = step.apply()
    assert change.changed
    findings = step.verify(change)
    assert holds(findings), [each.observed for each in findings]
    assert sum(each.method is Method.LIVE_PROBE for each in findings) == 2
    assert code_of(registry.push, "prod", "poison") == DISALLOWED
    assert code_of(registry.push, "new", "poison") == DISALLOWED
    assert code_of(registry.images.untag, "old") == DISALLOWED
    assert code_of(registry.images.delete, registry.approved) == DISALLOWED
    assert change.after["artifacts"][0]["matches"] is True
    assert f"sha256:{change.after['artifacts'][0]['sha256']}" == registry.approved
    again = step.apply()
    assert not again.changed
    assert again.after == change.after
    step.assert_goes_back(change, before)
    assert set(registry.images.tags()) == {"old", "prod"}
    assert len(registry.images.manifests()) == 2
    registry.push("prod", "new")


def at_once(*steps: Step) -> list[Any]:
    """Apply at the same moment: a worker that was given up and its successor, or two workloads."""
    with ThreadPoolExecutor(len(steps)) as pool:
        together = Barrier(len(steps))

        def apply(step: Step) -> Any:
            together.wait()
            return step.apply()

        return [each.result() for each in [pool.submit(apply, step) for step in steps]]


@pytest.mark.parametrize("owners", [("agent", "agent"), ("agent", "other")])
def test_two_executions_at_once_lock_the_same_images(world: Any, owners: tuple[str, str]) -> None:
    for _ in range(6):
        registry = Registry(world)
        steps = [registry.step(world, owner=owner) for owner in owners]
        before = steps[0].snapshot()
        changes = at_once(*steps)
        for step, change in zip(steps, changes, strict=True):
            findings = step.verify(change)
            assert holds(findings), [each.observed for each in findings]
        for step, change in zip(steps, changes, strict=True):
            assert step.revert(change).holds
        assert steps[0].snapshot() == before
        assert set(registry.images.tags()) == {"old", "prod"}


def test_what_was_locked_before_stays_locked(world: Any) -> None:
    registry = Registry(world)
    registry.images.set("_tags/old", LOCKED)
    registry.images.set(f"_manifests/{registry.approved}", {"deleteEnabled": False})
    step = registry.step(world)
    before = step.snapshot()
    change = step.apply()
    assert holds(step.verify(change))
    assert step.revert(change).holds
    assert step.snapshot() == before
    assert before["not_open"]["_tags/old"] == LOCKED


def test_a_repository_that_its_owner_locked_stays_locked(world: Any) -> None:
    registry = Registry(world)
    registry.images.set("", LOCKED)
    step = registry.step(world)
    before = step.snapshot()
    change = step.apply()
    findings = step.verify(change)
    assert holds(findings), [each.observed for each in findings]
    assert step.revert(change).holds
    assert step.snapshot() == before
    assert registry.images.attributes() == LOCKED


def test_a_missing_lock_is_seen_at_the_canary(world: Any) -> None:
    registry = Registry(world)
    step = registry.step(world)
    change = step.apply()
    assert holds(step.verify(change))
    registry.images.set("", {"deleteEnabled": True, "writeEnabled": True})
    push, delete, locked, *_ = step.verify(change)
    assert not push.holds
    assert "not refused" in push.observed
    assert "not refused" in delete.observed
    assert not locked.holds
    assert holds(step.verify(step.apply()))


def test_an_unlocked_manifest_is_seen(world: Any) -> None:
    registry = Registry(world)
    step = registry.step(world)
    change = step.apply()
    registry.images.set(f"_manifests/{registry.approved}", {"deleteEnabled": True, "writeEnabled": True})
    assert not holds(step.verify(change))
    assert holds(step.verify(step.apply()))


def test_a_tag_moved_before_the_lock_held_is_seen(world: Any) -> None:
    registry = Registry(world)
    step = registry.step(world)
    change = step.apply()
    registry.images.set("", {"deleteEnabled": True, "writeEnabled": True})
    registry.images.set("_tags/prod", {"deleteEnabled": True, "writeEnabled": True})
    registry.push("prod", "poison")
    *_, pushed, intact = step.verify(change)
    assert not pushed.holds
    assert pushed.detail["moved"] == ["prod"]
    assert not intact.holds
    assert not step.intact(change).holds


def test_workloads_that_share_a_repository_do_not_undo_each_other(world: Any) -> None:
    registry = Registry(world)
    first, second = (registry.step(world, owner=f"agent-{uuid4().hex[:8]}") for _ in "12")
    before = first.snapshot()
    one = first.apply()
    two = second.apply()
    assert two.before == before  # the second one is to restore what the first one found
    assert holds(second.verify(two))
    released = first.revert(one)
    assert released.holds
    assert released.detail["kept_for_others"]
    assert holds(second.verify(two))
    assert second.revert(two).holds
    assert first.snapshot() == before
    registry.push("prod", "new")


def test_throttling_and_outages_are_only_delays(world: Any) -> None:
    registry = Registry(world)
    step = registry.step(world)
    before = step.snapshot()
    for fault in ("throttle", "error503"):
        world.sandbox.inject(fault, times=-1, once_per_operation=True, retry_after=0)
        try:
            change = patiently(step.apply)
            assert patiently(lambda: holds(step.verify(change)) or None)  # noqa: B023 - called at once
            assert patiently(lambda: step.revert(change)).holds  # noqa: B023 - called at once
        finally:
            world.sandbox.clear_faults()
        assert step.snapshot() == before


def test_a_worker_killed_before_the_lock_goes_on(world: Any) -> None:
    registry = Registry(world)
    step = registry.step(world)
    before = step.snapshot()
    world.sandbox.inject("denied", host="acr", operation="PATCH /acr/v1/{name:path}", times=1)
    with pytest.raises(PermanentCloudError):
        step.apply()
    world.sandbox.clear_faults()
    change = step.apply()
    assert holds(step.verify(change))
    assert step.revert(change).holds
    assert step.snapshot() == before


def test_a_wrong_declaration_is_refused_before_the_first_change(world: Any) -> None:
    registry = Registry(world)
    wrong = (ContainerRepository(kind="container-repository", ref=registry.ref, tag="none"),)
    with pytest.raises(PermanentCloudError, match="no image tagged none"):
        Step(world, "azure.lock-images", artifacts=wrong).snapshot()
    missing = (ContainerRepository(kind="container-repository", ref=f"{registry.id}/repositories/none"),)
    with pytest.raises(PermanentCloudError, match="repository does not exist"):
        Step(world, "azure.lock-images", artifacts=missing).snapshot()


def test_the_quarantine_policy_is_left_alone(world: Any) -> None:
    registry = Registry(world, quarantine="enabled")
    step = registry.step(world)
    change = step.apply()
    assert holds(step.verify(change))
    assert step.revert(change).holds
    shown = world.admin().get(registry.id, VERSION)
    assert shown["properties"]["policies"]["quarantinePolicy"]["status"] == "enabled"


def test_every_declared_permission_is_needed(world: Any) -> None:
    kind = Registry(world).step(world).measure
    for permission in kind.permissions:
        step = Registry(world).step(world)
        bound = world.least(step.workload, "azure.lock-images", without=permission.action)
        step.measure = type(step.measure)(world.context(bound))
        assert not proved(step), permission.action
