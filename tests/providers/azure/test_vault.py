"""The blob store keeps what it is given, refuses to give it up, and forgets what it must."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest

from firebreak.errors import EvidenceError, PermanentCloudError, SettingsError
from firebreak.measure import now
from firebreak.model import Cloud, Stored
from firebreak.settings import EvidenceSettings, Settings
from providers.azure import storecheck
from providers.azure.vault import BLOCK_BYTES, AzureBlobVault
from tests.providers.azure.conftest import TENANT, World
from tests.providers.storing import assert_forgets_one_incident_alone

MIB = 1024 * 1024
STORAGE = "2025-06-01"


def changed(world: World, **fields: Any) -> Settings:
    evidence = world.settings.evidence_of(Cloud.AZURE).model_copy(update=fields)
    return world.settings.model_copy(update={"evidence_by_cloud": {Cloud.AZURE: evidence}})


def container(world: World, name: str, properties: dict[str, Any]) -> str:
    """Another container of the evidence account; returns the store's uri."""
    place = f"{world.account_id}/blobServices/default/containers/{name}"
    world.admin().put(place, {"properties": properties}, STORAGE)
    world.grant(world.keeper, "Storage Blob Data Contributor", place)
    account = world.account_id.rpartition("/")[2]
    return f"https://{account}.blob.core.windows.net/{name}"


def contents(size: int) -> Iterator[bytes]:
    block = bytes(range(256)) * 4096
    for _ in range(size // MIB):
        yield block
    yield block[: size % MIB]


@pytest.fixture
def vault(world: World) -> AzureBlobVault:
    return world.vault()


@pytest.fixture
def key(fresh: Callable[[str], str]) -> str:
    return f"{fresh('INC')}/data/phases/1/measure/exhibit.json"


def test_what_is_put_is_locked_and_read_back_whole(vault: AzureBlobVault, key: str) -> None:
    stored = vault.put(key, b'{"a": 1}')
    assert stored.uri == vault.uri(key)
    assert (stored.size, stored.sha256) == (8, hashlib.sha256(b'{"a": 1}').hexdigest())
    assert stored.version_id
    assert stored.locked_until is not None
    assert stored.locked_until > now() + timedelta(hours=23)
    assert b"".join(vault.read(stored)) == b'{"a": 1}'


@pytest.mark.parametrize("size", [0, BLOCK_BYTES, BLOCK_BYTES + 1, 2 * BLOCK_BYTES, 20 * MIB])
def test_streams_of_any_size_arrive_whole(vault: AzureBlobVault, key: str, size: int) -> None:
    stored = vault.put(key, contents(size), media_type="application/octet-stream")
    assert stored.size == size
    digest = hashlib.sha256()
    for chunk in vault.read(stored):
        digest.update(chunk)
    assert digest.hexdigest() == stored.sha256


def test_memory_stays_flat(vault: AzureBlobVault, key: str) -> None:
    vault.put(key, contents(MIB))
    tracemalloc.start()
    try:
        stored = vault.put(key, contents(96 * MIB))
        for _ in vault.read(stored):
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 48 * MIB


def test_a_second_put_never_replaces_the_first(vault: AzureBlobVault, key: str) -> None:
    first, second = vault.put(key, b"one"), vault.put(key, b"two")
    assert first.version_id != second.version_id
    assert b"".join(vault.read(first)) == b"one"
    assert vault.find(first.uri) == second


def test_concurrent_writers_of_one_key_each_keep_their_own(vault: AzureBlobVault, key: str) -> None:
    bodies = [f"writer {each}".encode() for each in range(8)]
    with ThreadPoolExecutor(8) as pool:
        stored = list(pool.map(lambda body: vault.put(key, body), bodies))
    assert [b"".join(vault.read(each)) for each in stored] == bodies


def test_a_delete_of_the_current_version_is_refused_by_the_lock(vault: AzureBlobVault, key: str) -> None:
    stored = vault.put(key, b"evidence")
    finding = vault.prove_locked(stored)
    assert finding.holds, finding.observed
    assert "BlobImmutableDueToPolicy (409)" in finding.observed
    assert b"".join(vault.read(stored)) == b"evidence"


def test_a_delete_of_an_older_version_is_refused_by_the_lock(vault: AzureBlobVault, key: str) -> None:
    stored = vault.put(key, b"evidence")
    vault.put(key, b"newer")
    assert vault.prove_locked(stored).holds
    assert b"".join(vault.read(stored)) == b"evidence"


def test_what_has_no_lock_is_not_tried(world: World, vault: AzureBlobVault, key: str) -> None:
    name = f"firebreak/{key}"
    blob = vault._blob(name)
    version = blob.upload_blob(b"unlocked")["version_id"]
    stored = Stored(uri=vault.uri(key), version_id=version, sha256="0" * 64, size=8)
    since = world.sandbox.calls().next
    finding = vault.prove_locked(stored)
    assert not finding.holds
    assert finding.observed == "not locked: no retention"
    assert world.sandbox.calls(since, mutating=True).calls == []


def test_a_missing_right_to_delete_proves_nothing(
    world: World, fresh: Callable[[str], str], key: str
) -> None:
    reader = world.principal(fresh("reader"))
    world.grant(reader, "Storage Blob Data Reader", world.account_id)
    stored = world.vault().put(key, b"evidence")
    access = {"tenant_id": TENANT, "client_id": reader.client_id}
    finding = AzureBlobVault.open(changed(world, access=access)).prove_locked(stored)
    assert not finding.holds
    assert finding.inconclusive
    assert "AuthorizationPermissionMismatch (403)" in finding.observed


class Lying(AzureBlobVault):
    """Believes that everything is locked."""

    def _read_lock(self, name: str, version: str) -> datetime | None:
        return now() + timedelta(days=1)


@pytest.mark.parametrize("versions", [1, 2])
def test_a_store_that_deletes_is_told_apart(world: World, key: str, versions: int) -> None:
    vault = Lying.open(world.settings)
    written = [vault._blob(f"firebreak/{key}").upload_blob(b"x", overwrite=True) for _ in range(versions)]
    stored = Stored(uri=vault.uri(key), version_id=written[0]["version_id"], sha256="0" * 64, size=1)
    finding = vault.prove_locked(stored)
    assert (finding.holds, finding.inconclusive) == (False, False)
    assert finding.observed == "the store deleted a locked version"


@pytest.mark.parametrize("body", [b"x", b"x" * (BLOCK_BYTES + 1)])
def test_a_container_without_version_level_immutability_is_refused(world: World, body: bytes) -> None:
    settings = changed(world, store=container(world, "plain", {}))
    with pytest.raises(EvidenceError, match="no immutable versions") as raised:
        AzureBlobVault.open(settings).put("INC-1/x", body)
    assert "version-level immutability" in raised.value.remedy


def test_an_unlocked_retention_does_not_count_where_a_locked_one_is_asked_for(world: World, key: str) -> None:
    governed = AzureBlobVault.open(changed(world, retention_mode="GOVERNANCE"))
    stored = governed.put(key, b"x")
    assert governed.prove_locked(stored).holds
    strict = world.vault()
    assert strict.find(stored.uri).locked_until is None
    assert not strict.prove_locked(stored).holds


def test_reading_what_is_gone_or_altered_is_an_error(vault: AzureBlobVault, key: str) -> None:
    stored = vault.put(key, b"evidence")
    with pytest.raises(EvidenceError, match="hash to"):
        list(vault.read(stored.model_copy(update={"sha256": "0" * 64})))
    gone = stored.model_copy(update={"uri": f"{stored.uri}.gone"})
    with pytest.raises(EvidenceError, match="gone from the store"):
        list(vault.read(gone))
    with pytest.raises(EvidenceError, match="there is no evidence"):
        vault.find(gone.uri)


def test_listing_is_sorted_and_hides_secrets(vault: AzureBlobVault, fresh: Callable[[str], str]) -> None:
    incident = fresh("INC")
    for name in ("b", "a/2", "a/1"):
        vault.put(f"{incident}/{name}", b"x")
    vault.put(f"{incident}/b", b"again")
    vault.hide(f"{incident}/secret", b"token")
    assert list(vault.list(f"{incident}/")) == [vault.uri(f"{incident}/{n}") for n in ("a/1", "a/2", "b")]


def test_a_deleted_current_version_hides_nothing(vault: AzureBlobVault, key: str) -> None:
    governed = vault.put(key, b"evidence")
    assert list(vault.list(key)) == [governed.uri]


def test_a_secret_is_revealed_until_it_is_forgotten(
    vault: AzureBlobVault, fresh: Callable[[str], str]
) -> None:
    incident = fresh("INC")
    vault.hide(f"{incident}/token", b"first")
    vault.hide(f"{incident}/token", b"second")
    assert vault.reveal(f"{incident}/token") == b"second"
    assert vault.reveal(f"{incident}/other") is None
    vault.forget(f"{incident}/")
    vault.forget(f"{incident}/")
    assert vault.reveal(f"{incident}/token") is None
    left = list(vault._versions(f"firebreak/.hidden/{incident}"))
    assert left == []


def test_the_secrets_of_one_incident_are_forgotten_alone(
    vault: AzureBlobVault, fresh: Callable[[str], str]
) -> None:
    assert_forgets_one_incident_alone(vault, fresh("INC"))


def test_the_store_alone_does_not_reveal_a_secret(vault: AzureBlobVault, key: str) -> None:
    vault.hide(key, b"the-token")
    raw = vault._blob(f"firebreak/.hidden/{key}").download_blob().readall()
    assert b"the-token" not in raw
    moved = f"{key}.moved"
    vault._blob(f"firebreak/.hidden/{moved}").upload_blob(raw)
    with pytest.raises(EvidenceError, match="altered"):
        vault.reveal(moved)


@pytest.mark.parametrize("key", ["", "/x", "../x", "a/../b", "a b", "a\n", "a%2fb", "a?b"])
def test_keys_that_could_escape_the_prefix_are_refused(vault: AzureBlobVault, key: str) -> None:
    with pytest.raises(EvidenceError, match="is not a key"):
        vault.put(key, b"x")


def test_uris_of_other_places_are_refused(vault: AzureBlobVault) -> None:
    for uri in ("https://other.blob.core.windows.net/evidence/firebreak/x", "s3://evidence/firebreak/x"):
        with pytest.raises(EvidenceError, match="not in the evidence store"):
            vault.find(uri)


@pytest.mark.parametrize(
    "store",
    [
        "",
        "s3://bucket/x",
        "http://a.blob.core.windows.net/evidence",
        "https://evidence.blob.core.windows.net",
        "https://evidence.blob.core.windows.net/a--b",
        "https://evidence.blob.core.windows.net@elsewhere.example/evidence",
    ],
)
def test_a_store_that_is_none_is_named_by_its_setting(store: str) -> None:
    settings = Settings(evidence_by_cloud={Cloud.AZURE: EvidenceSettings(store=store)})
    with pytest.raises(SettingsError, match="EVIDENCE_BY_CLOUD__AZURE__STORE"):
        AzureBlobVault.open(settings)


def test_a_sound_store_has_no_problems(vault: AzureBlobVault) -> None:
    assert vault.check() == ()


def test_what_is_wrong_with_a_store_is_named(world: World, fresh: Callable[[str], str]) -> None:
    group = world.account_id.partition("/providers/")[0]
    account = f"weak{fresh('').strip('-')}"
    place = f"{group}/providers/Microsoft.Storage/storageAccounts/{account}"
    admin = world.admin()
    admin.put(
        place,
        {
            "location": "westeurope",
            "kind": "StorageV2",
            "sku": {"name": "Standard_LRS"},
            "properties": {"allowBlobPublicAccess": True},
        },
        STORAGE,
    )
    admin.put(f"{place}/blobServices/default/containers/evidence", {"properties": {}}, STORAGE)
    world.grant(world.keeper, "Reader", place)
    access = {**world.settings.evidence_of(Cloud.AZURE).access, "account_id": place}
    store = f"https://{account}.blob.core.windows.net/evidence"
    problems = AzureBlobVault.open(changed(world, store=store, access=access)).check()
    for said in ("version-level", "keys open the store", "public containers", "blob versioning"):
        assert any(said in each for each in problems), (said, problems)


def test_soft_delete_is_a_problem_because_it_keeps_secrets() -> None:
    service = {"isVersioningEnabled": True, "deleteRetentionPolicy": {"enabled": True, "days": 7}}
    assert storecheck._of_service(service) == ["soft delete would keep the secrets that must be deletable"]


def test_a_policy_over_the_whole_container_is_a_problem(world: World) -> None:
    store = container(world, "retained", {"immutableStorageWithVersioning": {"enabled": True}})
    policy = f"{world.account_id}/blobServices/default/containers/retained/immutabilityPolicies/default"
    world.admin().put(policy, {"properties": {"immutabilityPeriodSinceCreationInDays": 1}}, STORAGE)
    settings = changed(world, store=store)
    assert any("container's own policy" in each for each in AzureBlobVault.open(settings).check())


def test_an_unknown_account_id_is_a_problem(world: World) -> None:
    access = {"tenant_id": TENANT, "client_id": world.keeper.client_id}
    assert any("account_id" in each for each in AzureBlobVault.open(changed(world, access=access)).check())


def test_a_hiccup_of_the_store_is_spanned(world: World, vault: AzureBlobVault, key: str) -> None:
    world.sandbox.inject("error503", host="blob", times=1)
    try:
        stored = vault.put(key, b"evidence")
    finally:
        world.sandbox.clear_faults()
    assert b"".join(vault.read(stored)) == b"evidence"


def test_a_stranger_cannot_write(world: World, fresh: Callable[[str], str], key: str) -> None:
    stranger = world.principal(fresh("stranger"))
    access = {"tenant_id": TENANT, "client_id": stranger.client_id}
    with pytest.raises(PermanentCloudError, match="AuthorizationPermissionMismatch"):
        AzureBlobVault.open(changed(world, access=access)).put(key, b"x")
