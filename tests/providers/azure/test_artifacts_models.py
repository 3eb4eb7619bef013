from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any
from uuid import uuid4

import pytest

from firebreak.errors import PermanentCloudError, TransientCloudError
from firebreak.model import Change, JsonObject
from providers.azure.answers import RestError
from providers.azure.resources.artifacts import BlobContainer, LockedResource, MlModel
from tests.providers.azure.driving import Step
from tests.providers.driving import holds, patiently, proved

ML, STORAGE, LOCKS = "2024-10-01", "2025-06-01", "2020-05-01"


class Models:
    """One workspace with one model version, whose files are in one container."""

    def __init__(self, world: Any, *, place: str = "workspaces") -> None:
        self.arm = world.admin()
        group, mark = world.group(), uuid4().hex[:10]
        account = f"{group}/providers/Microsoft.Storage/storageAccounts/ml{mark}"
        self.arm.put(account, {"location": "westeurope", "kind": "StorageV2"}, STORAGE)
        self.container = f"{account}/blobServices/default/containers/azureml"
        self.arm.put(self.container, {}, STORAGE)
        self.home = f"{group}/providers/Microsoft.MachineLearningServices/{place}/home{mark}"
        self.arm.put(self.home, {"location": "westeurope"}, ML)
        self.arm.put(f"{self.home}/models/ranker", {"properties": {}}, ML)
        self.ref = f"{self.home}/models/ranker/versions/3"
        self.properties = {
            "modelUri": f"https://ml{mark}.blob.core.windows.net/azureml/ranker/3/",
            "modelType": "custom_model",
            "tags": {"stage": "production"},
        }
        self.arm.put(self.ref, {"properties": self.properties}, ML)

    def step(self, world: Any, *, owner: str = "agent", declared: bool = True) -> Step:
        model = MlModel(kind="ml-model", ref=self.ref)
        files = BlobContainer(kind="blob-container", ref=self.container)
        artifacts = (model, files) if declared else (model,)
        return Step(world, "azure.archive-model", owner=owner, artifacts=artifacts)

    def hold(self) -> None:
        self.arm.post(f"{self.container}/setLegalHold", {"tags": ["incident"]}, STORAGE)

    def activate(self) -> None:
        self.arm.put(self.ref, {"properties": {**self.properties, "isArchived": False}}, ML)

    def opened(self, change: Change) -> tuple[str, JsonObject]:
        """Take our lock away and activate the version; returns the lock's id and what it was."""
        lock = f"{self.ref}/providers/Microsoft.Authorization/locks/{change.after['lock']}"
        properties: JsonObject = self.arm.get(lock, LOCKS)["properties"]
        self.arm.delete(lock, LOCKS)
        self.activate()
        return lock, properties

    def shown(self) -> dict[str, Any]:
        properties: dict[str, Any] = self.arm.get(self.ref, ML)["properties"]
        return properties


def test_a_model_is_archived_locked_and_released(world: Any) -> None:
    models = Models(world)
    models.hold()
    step = models.step(world)
    before = step.snapshot()
    change = step.apply()
    assert change.changed
    findings = step.verify(change)
    assert holds(findings), [each.observed for each in findings]
    assert models.shown()["isArchived"] is True
    with pytest.raises(RestError, match="ScopeLocked"):
        models.activate()
    with pytest.raises(RestError, match="ScopeLocked"):
        models.arm.delete(models.ref, ML)
    assert not step.apply().changed
    step.assert_goes_back(change, before)
    assert models.shown()["isArchived"] is False
    assert models.shown()["tags"] == {"stage": "production"}


def test_archiving_alone_is_no_proof(world: Any) -> None:
    models = Models(world)
    models.hold()
    step = models.step(world)
    change = step.apply()
    name = change.after["lock"]
    models.arm.delete(f"{models.ref}/providers/Microsoft.Authorization/locks/{name}", LOCKS)
    update, configured, *_ = step.verify(change)
    assert "not refused" in update.observed
    assert not configured.holds
    assert holds(step.verify(step.apply()))


@pytest.mark.parametrize(("declared", "seen"), [(True, "NOT held"), (False, "not declared")])
def test_without_a_hold_on_the_files_the_model_is_not_frozen(world: Any, declared: bool, seen: str) -> None:
    step = Models(world).step(world, declared=declared)
    findings = step.verify(step.apply())
    assert [each.holds for each in findings] == [True, True, True, True, False]
    assert seen in findings[-1].observed


def test_an_activated_version_is_seen(world: Any) -> None:
    models = Models(world)
    models.hold()
    step = models.step(world)
    change = step.apply()
    models.opened(change)
    observed = [each.observed for each in step.verify(change)]
    assert "still among the active versions" in observed


def test_a_lock_over_an_active_version_does_not_bar_its_archiving(world: Any) -> None:
    """What an attempt leaves that was killed after somebody had activated the version under its hands."""
    models = Models(world)
    models.hold()
    step = models.step(world)
    change = step.apply()
    lock, properties = models.opened(change)
    models.arm.put(lock, {"properties": properties}, LOCKS)
    assert holds(step.verify(step.apply()))
    assert step.revert(change).holds
    assert models.shown()["isArchived"] is False


def test_a_version_that_others_keep_activating_is_archived_all_the_same(world: Any) -> None:
    models = Models(world)
    models.hold()
    step, refused = models.step(world), Event()

    def promote() -> None:
        while not refused.is_set():
            try:
                models.activate()
            except RestError:
                refused.wait(0.01)
            refused.wait(0.02)

    with ThreadPoolExecutor(1) as others:
        others.submit(promote)
        try:
            change = patiently(step.apply)
        finally:
            refused.set()
    assert models.shown()["isArchived"] is True
    assert holds(step.verify(change))


def test_under_anothers_lock_an_active_version_is_not_called_archived(world: Any) -> None:
    models = Models(world)
    lock = f"{models.ref}/providers/Microsoft.Authorization/locks/theirs"
    models.arm.put(lock, {"properties": {"level": "ReadOnly"}}, LOCKS)
    with pytest.raises(TransientCloudError, match="has locked it"):
        models.step(world).apply()


def test_files_of_a_datastore_are_found(world: Any) -> None:
    models = Models(world)
    models.hold()
    account = models.container.split("/")[8]
    datastore = {"properties": {"accountName": account, "containerName": "azureml"}}
    models.arm.put(f"{models.home}/datastores/store", datastore, ML)
    models.ref = f"{models.home}/models/ranker/versions/4"
    uri = f"azureml:/{models.home}/datastores/store/paths/ranker/4"
    models.arm.put(models.ref, {"properties": {"modelUri": uri}}, ML)
    step = models.step(world)
    findings = step.verify(step.apply())
    assert holds(findings), [each.observed for each in findings]


def test_a_registrys_model_needs_no_hold_of_ours(world: Any) -> None:
    models = Models(world, place="registries")
    step = models.step(world, declared=False)
    before = step.snapshot()
    change = step.apply()
    findings = step.verify(change)
    assert holds(findings), [each.observed for each in findings]
    assert step.revert(change).holds
    assert step.snapshot() == before


def test_an_archived_version_stays_archived(world: Any) -> None:
    models = Models(world)
    models.hold()
    models.arm.put(models.ref, {"properties": {**models.properties, "isArchived": True}}, ML)
    step = models.step(world)
    change = step.apply()
    assert holds(step.verify(change))
    assert step.revert(change).holds
    assert models.shown()["isArchived"] is True


def test_workloads_that_share_a_model_do_not_undo_each_other(world: Any) -> None:
    models = Models(world)
    models.hold()
    first, second = (models.step(world, owner=f"agent-{uuid4().hex[:8]}") for _ in "12")
    one = first.apply()
    two = second.apply()
    assert two.before == {"archived": False}
    released = first.revert(one)
    assert released.holds
    assert released.detail["kept_for_others"]
    assert holds(second.verify(two))
    assert second.revert(two).holds
    assert models.shown()["isArchived"] is False


def test_a_missing_version_is_refused_before_the_first_change(world: Any) -> None:
    models = Models(world)
    models.ref = models.ref.replace("/versions/3", "/versions/9")
    with pytest.raises(PermanentCloudError, match="does not exist"):
        models.step(world).snapshot()


def test_every_permission_of_the_model_is_needed(world: Any) -> None:
    kind = Models(world).step(world)
    for permission in kind.measure.needed(kind.target):
        if "datastores" in permission.action:
            continue  # only for files that the version names by a datastore
        models = Models(world)
        models.hold()
        step = models.step(world)
        bound = world.least(step.workload, "azure.archive-model", without=permission.action)
        step.measure = type(step.measure)(world.context(bound))
        assert not proved(step), permission.action


class Locked:
    """A storage account that is to be locked."""

    def __init__(self, world: Any) -> None:
        self.arm = world.admin()
        self.ref = f"{world.group()}/providers/Microsoft.Storage/storageAccounts/lk{uuid4().hex[:10]}"
        self.arm.put(self.ref, {"location": "westeurope", "kind": "StorageV2"}, STORAGE)

    def step(self, world: Any, *, owner: str = "agent") -> Step:
        resource = LockedResource(kind="locked-resource", ref=self.ref)
        return Step(world, "azure.lock-resource", owner=owner, artifacts=(resource,))

    def locks(self) -> list[str]:
        path = f"{self.ref}/providers/Microsoft.Authorization/locks"
        return sorted(each["name"] for each in self.arm.pages(path, LOCKS))


def test_a_resource_is_locked_proved_and_released(world: Any) -> None:
    locked = Locked(world)
    step = locked.step(world)
    before = step.snapshot()
    change = step.apply()
    assert change.changed
    assert holds(step.verify(change))
    with pytest.raises(RestError, match="ScopeLocked"):
        locked.arm.delete(locked.ref, STORAGE)
    assert not step.apply().changed
    step.assert_goes_back(change, before)
    assert locked.locks() == []
    assert locked.arm.delete(locked.ref, STORAGE)


def test_a_missing_lock_is_seen(world: Any) -> None:
    locked = Locked(world)
    step = locked.step(world)
    change = step.apply()
    locked.arm.delete(f"{locked.ref}/providers/Microsoft.Authorization/locks/{change.after['lock']}", LOCKS)
    attempt, configured = step.verify(change)
    assert "not refused" in attempt.observed
    assert not configured.holds
    assert holds(step.verify(step.apply()))


def test_each_workload_has_a_lock_of_its_own_beside_the_owners(world: Any) -> None:
    locked = Locked(world)
    body = {"properties": {"level": "CanNotDelete"}}
    locked.arm.put(f"{locked.ref}/providers/Microsoft.Authorization/locks/owners", body, LOCKS)
    first, second = (locked.step(world, owner=f"agent-{uuid4().hex[:8]}") for _ in "12")
    one, two = first.apply(), second.apply()
    assert one.after["control"] == "locked by somebody else before"
    assert holds(first.verify(one))
    assert first.revert(one).holds
    assert holds(second.verify(two))
    assert second.revert(two).holds
    assert locked.locks() == ["owners"]


def test_a_whole_resource_group_is_never_locked() -> None:
    group = "/subscriptions/f1aeb1a0-0000-4000-8000-000000000001/resourceGroups/rg"
    with pytest.raises(ValueError, match="should match pattern"):
        LockedResource(kind="locked-resource", ref=group)


def test_every_permission_of_the_lock_is_needed(world: Any) -> None:
    for permission in Locked(world).step(world).measure.permissions:
        step = Locked(world).step(world)
        bound = world.least(step.workload, "azure.lock-resource", without=permission.action)
        step.measure = type(step.measure)(world.context(bound))
        assert not (is_there(step) and proved(step)), permission.action


def is_there(step: Step) -> bool:
    """Whether the plan finds the resource."""
    try:
        return bool(step.measure.discover(step.target))
    except PermanentCloudError:
        return False
