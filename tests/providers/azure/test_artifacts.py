from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any
from uuid import uuid4

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobServiceClient

from firebreak.errors import PermanentCloudError, TransientCloudError
from firebreak.model import Method
from providers.azure.answers import error_code
from providers.azure.resources.artifacts import BlobContainer
from tests.providers.azure.driving import Step
from tests.providers.driving import holds, patiently, proved

STORAGE = "2025-06-01"
BODIES = {"models/a.bin": b"weights", "prompts/p.txt": b"be good", "memory/1": b"one"}


class Admin:
    """The administrator's credential, who may do everything but break a hold."""

    def __init__(self, world: Any) -> None:
        self.world = world

    def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        return AccessToken(self.world.token("https://storage.azure.com/"), 4102444800)


class Store:
    """One storage account with one container, filled."""

    def __init__(self, world: Any, *, versioned: bool = False, version_level: bool = False) -> None:
        self.arm = world.admin()
        name = f"st{uuid4().hex[:12]}"
        self.account = f"{world.group()}/providers/Microsoft.Storage/storageAccounts/{name}"
        sku = {"name": "Standard_LRS"}
        self.arm.put(self.account, {"location": "westeurope", "kind": "StorageV2", "sku": sku}, STORAGE)
        service = {"properties": {"isVersioningEnabled": versioned or version_level}}
        self.arm.put(f"{self.account}/blobServices/default", service, STORAGE)
        self.ref = f"{self.account}/blobServices/default/containers/artifacts"
        worm = {"immutableStorageWithVersioning": {"enabled": True}} if version_level else {}
        self.arm.put(self.ref, {"properties": worm}, STORAGE)
        service_client = BlobServiceClient(
            f"https://{name}.blob.core.windows.net", credential=Admin(world), retry_total=0
        )
        self.blobs = service_client.get_container_client("artifacts")
        for key, body in BODIES.items():
            self.blobs.upload_blob(key, body)
        self.version_level = version_level

    def declared(self, **fields: Any) -> tuple[BlobContainer, ...]:
        given = {"version_level": self.version_level, **fields}
        return (BlobContainer(kind="blob-container", ref=self.ref, **given),)

    def step(self, world: Any, *, owner: str = "agent", **fields: Any) -> Step:
        return Step(world, "azure.hold-blobs", owner=owner, artifacts=self.declared(**fields))

    def tags(self) -> list[str]:
        shown = self.arm.get(self.ref, STORAGE)
        return sorted(each["tag"] for each in shown["properties"]["legalHold"]["tags"])

    def hold(self, *tags: str) -> None:
        self.arm.post(f"{self.ref}/setLegalHold", {"tags": list(tags)}, STORAGE)

    def clear(self, *tags: str) -> None:
        self.arm.post(f"{self.ref}/clearLegalHold", {"tags": list(tags)}, STORAGE)

    def ours(self) -> list[str]:
        return [each.name for each in self.blobs.list_blobs(".firebreak/", include=["versions"])]


def code_of(call: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(HttpResponseError) as caught:
        call(*arguments, **options)
    return error_code(caught.value)


KINDS = [{}, {"versioned": True}, {"version_level": True}]


@pytest.mark.parametrize("kind", KINDS, ids=["plain", "versioned", "version-level"])
def test_blobs_are_held_proved_and_released(world: Any, kind: dict[str, bool]) -> None:
    store = Store(world, **kind)
    step = store.step(world, approved_sha256={"models/a.bin": sha256(b"weights").hexdigest()})
    before = step.snapshot()
    change = step.apply()
    assert change.changed
    findings = step.verify(change)
    assert holds(findings), [f.observed for f in findings]
    assert sum(finding.method is Method.LIVE_PROBE for finding in findings) == (3 if kind else 2)
    for key in BODIES:  # an administrator, who may do everything, may not
        assert code_of(store.blobs.delete_blob, key) == "BlobImmutableDueToLegalHold"
        blob = store.blobs.get_blob_client(key)
        assert code_of(blob.set_blob_metadata, {"a": "b"}) == "BlobImmutableDueToLegalHold"
        if not store.version_level:
            written = code_of(store.blobs.upload_blob, key, b"poison", overwrite=True)
            assert written == "BlobImmutableDueToLegalHold"
    recorded = {each["name"]: each["sha256"] for each in change.after["objects"]}
    assert recorded == {key: sha256(body).hexdigest() for key, body in BODIES.items()}
    assert [(a["role"], a["matches"]) for a in change.after["artifacts"]] == [("model", True)]
    again = step.apply()
    assert not again.changed
    assert again.after["objects"] == change.after["objects"]
    step.assert_goes_back(change, before)
    assert store.ours() == []
    store.blobs.upload_blob("models/a.bin", b"new weights", overwrite=True)


@pytest.mark.parametrize("fault", ["throttle", "error503"])
def test_every_call_may_fail_once(world: Any, fault: str) -> None:
    store = Store(world, versioned=True)
    step = store.step(world)
    before = step.snapshot()
    world.sandbox.inject(fault, times=-1, once_per_operation=True, retry_after=0)
    try:
        change = patiently(step.apply)
        assert patiently(lambda: holds(step.verify(change)) or None)
        assert patiently(lambda: step.revert(change)).holds
    finally:
        world.sandbox.clear_faults()
    assert step.snapshot() == before
    assert store.ours() == []


def test_a_worker_killed_between_canary_and_hold_goes_on(world: Any) -> None:
    store = Store(world)
    step = store.step(world)
    before = step.snapshot()
    world.sandbox.inject("denied", host="arm", operation="*setLegalHold*", times=1)
    with pytest.raises(PermanentCloudError, match="AuthorizationFailed"):
        step.apply()
    world.sandbox.clear_faults()
    change = step.apply()
    assert holds(step.verify(change))
    assert step.revert(change).holds
    assert step.snapshot() == before
    assert store.ours() == []


def test_a_container_that_somebody_else_holds_stays_held(world: Any) -> None:
    store = Store(world)
    store.hold("lawsuit42")
    step = store.step(world)
    before = step.snapshot()
    assert before == {"tags": ["lawsuit42"]}
    change = step.apply()
    assert holds(step.verify(change))
    released = step.revert(change)
    assert released.holds
    assert released.detail["canary_left_under_another_hold"] is True
    assert step.snapshot() == before
    assert code_of(store.blobs.delete_blob, "memory/1") == "BlobImmutableDueToLegalHold"
    assert holds(step.verify(step.apply()))  # beside the canary that was left


def test_ten_tags_leave_no_room(world: Any) -> None:
    store = Store(world)
    store.hold(*(f"case{number}" for number in range(10)))
    with pytest.raises(PermanentCloudError, match="10 legal hold tags"):
        store.step(world).snapshot()


@pytest.mark.parametrize("version_level", [False, True])
def test_workloads_that_share_a_container_do_not_undo_each_other(world: Any, version_level: bool) -> None:
    store = Store(world, version_level=version_level)
    first, second = (store.step(world, owner=f"agent-{uuid4().hex[:8]}") for _ in "12")
    before = first.snapshot()
    one = first.apply()
    two = second.apply()
    assert holds(first.verify(one))
    assert holds(second.verify(two))
    assert first.revert(one).holds
    assert holds(second.verify(two)), second.verify(two)  # the first release leaves the second hold in force
    assert second.intact(two).holds
    assert code_of(store.blobs.delete_blob, "memory/1") == "BlobImmutableDueToLegalHold"
    assert second.revert(two).holds
    assert first.snapshot() == before
    assert store.ours() == []
    store.blobs.delete_blob("memory/1")


def test_many_workloads_hold_and_release_at_once(world: Any) -> None:
    store = Store(world)
    steps = [store.step(world, owner=f"agent-{uuid4().hex[:8]}") for _ in range(5)]
    states = [step.snapshot() for step in steps]
    with ThreadPoolExecutor(5) as pool:
        changes = list(pool.map(Step.apply, steps))
    for step, change in zip(steps, changes, strict=True):
        findings = step.verify(change)
        assert holds(findings), [f.observed for f in findings]
    with ThreadPoolExecutor(5) as pool:
        released = list(pool.map(Step.revert, steps, changes))
    assert all(finding.holds for finding in released)
    assert [step.snapshot() for step in steps] == states
    assert store.ours() == []


def test_versions_that_somebody_holds_stay_held(world: Any) -> None:
    store = Store(world, version_level=True)
    store.blobs.get_blob_client("prompts/p.txt").set_legal_hold(True)
    step = store.step(world)
    change = step.apply()
    assert store.blobs.get_blob_client("models/a.bin").get_blob_properties().has_legal_hold
    assert step.revert(change).holds
    assert not store.blobs.get_blob_client("models/a.bin").get_blob_properties().has_legal_hold
    assert store.blobs.get_blob_client("prompts/p.txt").get_blob_properties().has_legal_hold


@pytest.mark.parametrize("kind", KINDS, ids=["plain", "versioned", "version-level"])
def test_a_missing_hold_is_seen_at_the_canary(world: Any, kind: dict[str, bool]) -> None:
    store = Store(world, **kind)
    step = store.step(world)
    change = step.apply()
    assert holds(step.verify(change))
    if store.version_level:
        for each in store.blobs.list_blobs(include=["versions"]):
            store.blobs.get_blob_client(each.name).set_legal_hold(False, version_id=each.version_id)
    else:
        store.clear(*store.tags())
    findings = step.verify(change)
    assert "not refused" in findings[0].observed
    assert not findings[0].holds
    configured = next(each for each in findings if each.method is Method.CONFIGURATION)
    assert not configured.holds
    assert holds(step.verify(step.apply()))


def test_a_refused_permission_is_no_proof(world: Any) -> None:
    store = Store(world)
    step = store.step(world)
    change = step.apply()
    world.sandbox.inject("denied", host="blob", operation="PUT*", times=1)
    try:
        (overwrite, *_) = step.verify(change)
    finally:
        world.sandbox.clear_faults()
    assert overwrite.inconclusive
    assert not overwrite.holds


def test_what_is_added_after_the_freeze_is_reported(world: Any) -> None:
    store = Store(world)
    step = store.step(world)
    change = step.apply()
    store.blobs.upload_blob("models/poison.bin", b"poison")  # a hold keeps no new blob out
    *_, added = step.verify(change)
    assert not added.holds
    assert added.detail["added"] == ["models/poison.bin"]
    assert step.intact(change).holds  # nobody can remove it while the hold lasts
    assert step.intact(change).detail["added_since_the_freeze"] == ["models/poison.bin"]


def test_what_was_added_is_not_forgotten_by_applying_again(world: Any) -> None:
    store = Store(world)
    step = store.step(world)
    step.apply()
    world.sandbox.request("POST", "/clock", {"advance_seconds": 2})
    store.blobs.upload_blob("models/poison.bin", b"poison")
    *_, added = step.verify(step.apply())
    assert not added.holds
    assert added.detail["added"] == ["models/poison.bin"]


def test_an_artifact_changed_after_the_freeze_is_seen(world: Any) -> None:
    store = Store(world, version_level=True)
    step = store.step(world)
    change = step.apply()
    store.blobs.upload_blob("models/a.bin", b"poison", overwrite=True)  # a new version is not refused
    findings = step.verify(change)
    assert not holds(findings)
    assert not step.intact(change).holds
    assert step.intact(change).detail["differences"] == ["models/a.bin: the current version is another one"]


def test_deployed_is_compared_with_approved(world: Any) -> None:
    step = Store(world).step(world, approved_sha256={"models/a.bin": "0" * 64})
    change = step.apply()
    assert change.after["artifacts"][0]["matches"] is False
    assert holds(step.verify(change))  # what is deployed is held, whatever it is


def test_a_wrong_declaration_is_refused_before_the_first_change(world: Any) -> None:
    store = Store(world)
    with pytest.raises(PermanentCloudError, match="does not exist"):
        store.step(world, approved_sha256={"models/none.bin": "0" * 64}).snapshot()
    with pytest.raises(PermanentCloudError, match="does not have immutable storage"):
        store.step(world, version_level=True).snapshot()


def test_only_the_declared_prefix_is_hashed_and_all_is_held(world: Any) -> None:
    store = Store(world)
    step = store.step(
        world, prefix="models/", approved_sha256={"prompts/p.txt": sha256(b"be good").hexdigest()}
    )
    change = step.apply()
    assert [each["name"] for each in change.after["objects"]] == ["models/a.bin", "prompts/p.txt"]
    assert holds(step.verify(change))
    assert code_of(store.blobs.delete_blob, "memory/1") == "BlobImmutableDueToLegalHold"


def test_beyond_the_limit_blobs_are_held_without_a_hash(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("providers.azure.artifacts.blobs.HASH_LIMIT", 2)
    store = Store(world)
    step = store.step(world, approved_sha256={"prompts/p.txt": sha256(b"be good").hexdigest()})
    change = step.apply()
    assert change.after["without_hash"] == 1
    assert change.after["artifacts"][0]["matches"] is True
    assert holds(step.verify(change))


def test_a_lost_answer_to_the_hold_is_found_done(world: Any) -> None:
    store = Store(world)
    step = store.step(world)
    world.sandbox.inject("drop_after", host="arm", operation="*setLegalHold*", times=1)
    with pytest.raises(TransientCloudError):
        step.apply()
    world.sandbox.clear_faults()
    change = step.apply()
    assert holds(step.verify(change))
    assert step.revert(change).holds


@pytest.mark.parametrize("kind", [{"versioned": True}, {"version_level": True}], ids=["container", "version"])
def test_every_declared_permission_is_needed(world: Any, kind: dict[str, bool]) -> None:
    store = Store(world, **kind)
    full = store.step(world)
    needed = full.measure.needed(full.target)
    assert len(needed) == (7 if "versioned" in kind else 6)
    for permission in needed:
        step = Store(world, **kind).step(world)
        bound = world.least(step.workload, "azure.hold-blobs", without=permission.action)
        step.measure = type(step.measure)(world.context(bound))
        assert not proved(step), permission.action
