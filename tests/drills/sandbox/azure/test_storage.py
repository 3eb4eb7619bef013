from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.core import MatchConditions
from azure.core.credentials import AccessToken, AzureNamedKeyCredential
from azure.core.exceptions import HttpResponseError, ResourceModifiedError, ResourceNotFoundError
from azure.mgmt.storage import StorageManagementClient
from azure.mgmt.storage.models import ImmutabilityPolicy, ImmutabilityPolicyProperty, LegalHold
from azure.storage.blob import BlobBlock, BlobClient, BlobServiceClient, ContainerClient
from azure.storage.blob import ImmutabilityPolicy as VersionPolicy

from drills.sandbox.azure.client import HOME_SUBSCRIPTION, AzureSandbox
from providers.azure.answers import error_code

VERSION = "2025-06-01"
STORAGE = "https://storage.azure.com"
HELD, RETAINED = "BlobImmutableDueToLegalHold", "BlobImmutableDueToPolicy"
DAY = 86_400
UNCHANGED = MatchConditions.IfNotModified


class Bearer:
    """One principal's tokens, or the administrator's."""

    def __init__(self, sandbox: AzureSandbox, principal: str = "", audience: str = STORAGE) -> None:
        self.sandbox, self.principal, self.audience = sandbox, principal, audience

    def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        given = (
            self.sandbox.mint(self.principal, self.audience)
            if self.principal
            else self.sandbox.admin_token(audience=self.audience)
        )
        return AccessToken(given, 4102444800)


class Account:
    """One storage account with one container."""

    def __init__(
        self, sandbox: AzureSandbox, group: str, *, versioned: bool = False, worm: bool = False
    ) -> None:
        self.sandbox, self.name = sandbox, "research"
        self.id = f"{group}/providers/Microsoft.Storage/storageAccounts/{self.name}"
        sandbox.arm("PUT", self.id, VERSION, {"location": "westeurope", "kind": "StorageV2"})
        service = {"properties": {"isVersioningEnabled": versioned or worm}}
        sandbox.arm("PUT", f"{self.id}/blobServices/default", VERSION, service)
        properties = {"immutableStorageWithVersioning": {"enabled": True}} if worm else {}
        self.container_id = f"{self.id}/blobServices/default/containers/models"
        sandbox.arm("PUT", self.container_id, VERSION, {"properties": properties})
        self.group = group.rsplit("/", 1)[1]
        self.manage = StorageManagementClient(
            Bearer(sandbox, audience="https://management.azure.com"), HOME_SUBSCRIPTION, api_version=VERSION
        ).blob_containers

    @property
    def url(self) -> str:
        return f"https://{self.name}.blob.core.windows.net"

    def service(self, credential: Any = None) -> BlobServiceClient:
        return BlobServiceClient(self.url, credential=credential or Bearer(self.sandbox), retry_total=0)

    @property
    def blobs(self) -> ContainerClient:
        return self.service().get_container_client("models")

    def blob(self, name: str) -> BlobClient:
        return self.blobs.get_blob_client(name)

    @property
    def place(self) -> tuple[str, str, str]:
        return self.group, self.name, "models"


@pytest.fixture
def make(sandbox: AzureSandbox) -> Callable[..., Account]:
    group = f"/subscriptions/{HOME_SUBSCRIPTION}/resourceGroups/Ai"
    sandbox.arm("PUT", group, "2021-04-01", {"location": "westeurope"})
    return lambda **kind: Account(sandbox, group, **kind)


def code_of(call: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    with pytest.raises(HttpResponseError) as caught:
        call(*arguments, **options)
    return error_code(caught.value)


def test_a_blob_is_written_read_described_listed_and_deleted(make: Any) -> None:
    account = make()
    blob = account.blob("prompts/p 1%+ü.txt")
    blob.upload_blob(b"be good", metadata={"owner": "research"})
    assert blob.download_blob().readall() == b"be good"
    assert blob.download_blob(offset=3, length=4).readall() == b"good"
    properties = blob.get_blob_properties()
    assert (properties.size, properties.metadata) == (7, {"owner": "research"})
    assert properties.content_settings.content_md5 == hashlib.md5(b"be good", usedforsecurity=False).digest()
    account.blob("other").upload_blob(b"")
    names = [each.name for each in account.blobs.list_blobs(name_starts_with="prompts/")]
    assert names == ["prompts/p 1%+ü.txt"]
    (listed,) = account.blobs.list_blobs("prompts/", include=["metadata"])
    assert listed.metadata == {"owner": "research"}
    assert {each.name for each in account.blobs.walk_blobs()} == {"other", "prompts/"}
    assert len(list(account.blobs.list_blobs(results_per_page=1))) == 2
    blob.delete_blob()
    with pytest.raises(ResourceNotFoundError):
        blob.get_blob_properties()
    assert code_of(blob.download_blob) == "BlobNotFound"


def test_a_large_blob_goes_through_as_blocks(make: Any) -> None:
    account = make()
    body = os.urandom(9 * 1024 * 1024 + 17)
    service = BlobServiceClient(
        account.url,
        credential=Bearer(account.sandbox),
        max_single_put_size=1024 * 1024,
        max_block_size=4 * 1024 * 1024,
        max_single_get_size=1024 * 1024,
        max_chunk_get_size=2 * 1024 * 1024,
    )
    blob = service.get_blob_client("models", "weights.bin")
    blob.upload_blob(body)
    committed, uncommitted = blob.get_block_list("all")
    assert ([each.size for each in committed], uncommitted) == ([4 << 20, 4 << 20, (1 << 20) + 17], [])
    digest = hashlib.sha256()
    for chunk in blob.download_blob().chunks():
        digest.update(chunk)
    assert digest.digest() == hashlib.sha256(body).digest()


def test_blocks_are_committed_by_name(make: Any) -> None:
    blob = make().blob("log")
    blob.stage_block("a", b"one")
    blob.stage_block("b", b"two")
    assert code_of(blob.commit_block_list, [BlobBlock("c")]) == "InvalidBlockList"
    blob.commit_block_list([BlobBlock("b"), BlobBlock("a")])
    assert blob.download_blob().readall() == b"twoone"


def test_an_append_blob_grows_at_its_end_only(make: Any) -> None:
    blob = make().blob("custody.log")
    blob.create_append_blob()
    blob.append_block(b"one\n", appendpos_condition=0)
    assert code_of(blob.append_block, b"again\n", appendpos_condition=0) == "AppendPositionConditionNotMet"
    assert code_of(blob.append_block, b"long\n", maxsize_condition=5) == "MaxBlobSizeConditionNotMet"
    blob.append_block(b"two\n")
    assert blob.download_blob().readall() == b"one\ntwo\n"


def test_conditions_protect_from_others(make: Any) -> None:
    blob = make().blob("state")
    etag = blob.upload_blob(b"1")["etag"]
    assert code_of(blob.upload_blob, b"2") == "BlobAlreadyExists"
    blob.upload_blob(b"2", overwrite=True)
    with pytest.raises(ResourceModifiedError):
        blob.upload_blob(b"3", overwrite=True, etag=etag, match_condition=UNCHANGED)
    assert blob.download_blob().readall() == b"2"


def test_versions_keep_what_was_overwritten_or_deleted(make: Any) -> None:
    account = make(versioned=True)
    blob = account.blob("prompt")
    first = blob.upload_blob(b"1")["version_id"]
    second = blob.upload_blob(b"2", overwrite=True)["version_id"]
    blob.delete_blob()
    assert [each.name for each in account.blobs.list_blobs()] == []
    listed = list(account.blobs.list_blobs(include=["versions"]))
    assert [each.version_id for each in listed] == [first, second]
    assert blob.download_blob(version_id=first).readall() == b"1"
    blob.delete_blob(version_id=first)
    assert code_of(blob.download_blob, version_id=first) == "BlobNotFound"


def test_a_snapshot_is_a_copy(make: Any) -> None:
    blob = make().blob("memory")
    blob.upload_blob(b"1")
    snapshot = blob.create_snapshot()["snapshot"]
    blob.upload_blob(b"2", overwrite=True)
    copy = BlobClient.from_blob_url(blob.url, credential=blob.credential, snapshot=snapshot)
    assert copy.download_blob().readall() == b"1"
    assert code_of(blob.delete_blob) == "SnapshotsPresent"
    blob.delete_blob(delete_snapshots="include")


def test_a_legal_hold_refuses_every_change_and_no_new_blob(make: Any) -> None:
    account = make()
    blob = account.blob("model")
    blob.upload_blob(b"weights")
    answer = account.manage.set_legal_hold(*account.place, LegalHold(tags=["INC42", "case7"]))
    assert (answer.has_legal_hold, answer.tags) == (True, ["inc42", "case7"])
    for change in (
        lambda: blob.upload_blob(b"poison", overwrite=True),
        blob.delete_blob,
        lambda: blob.set_blob_metadata({"a": "b"}),
        blob.create_snapshot,
    ):
        assert code_of(change) == HELD
    assert code_of(account.blobs.delete_container) == "ContainerProtectedFromDeletion"
    account.blob("new").upload_blob(b"not kept out")
    assert code_of(account.blob("new").delete_blob) == HELD
    account.manage.clear_legal_hold(*account.place, LegalHold(tags=["inc42"]))
    assert code_of(blob.delete_blob) == HELD  # the other tag still holds
    account.manage.clear_legal_hold(*account.place, LegalHold(tags=["case7"]))
    blob.delete_blob()


@pytest.mark.parametrize("tags", [[], ["ab"], ["a" * 24], ["with-dash"], [f"tag{n}" for n in range(11)]])
def test_tags_of_a_hold_are_checked(make: Any, tags: list[str]) -> None:
    account = make()
    with pytest.raises(HttpResponseError):
        account.manage.set_legal_hold(*account.place, LegalHold(tags=tags))
    assert not account.manage.get(*account.place).has_legal_hold


def policy(days: int, **more: bool) -> ImmutabilityPolicy:
    properties = ImmutabilityPolicyProperty(immutability_period_since_creation_in_days=days, **more)
    return ImmutabilityPolicy(properties=properties)


def test_a_retention_policy_lasts_for_its_days(make: Any) -> None:
    account = make()
    blob = account.blob("evidence")
    blob.upload_blob(b"1")
    account.manage.create_or_update_immutability_policy(*account.place, policy(2))
    assert code_of(blob.delete_blob) == RETAINED
    account.sandbox.advance(2 * DAY + 1)
    blob = account.blob("evidence")  # with a token of that day
    assert code_of(blob.upload_blob, b"2", overwrite=True) == RETAINED  # expired: deleted, never overwritten
    blob.delete_blob()


def test_a_locked_policy_only_grows_and_at_most_five_times(make: Any) -> None:
    account = make()
    made = account.manage.create_or_update_immutability_policy(*account.place, policy(1))
    stale = made.etag
    assert (
        code_of(
            account.manage.lock_immutability_policy, *account.place, etag='"stale"', match_condition=UNCHANGED
        )
        == "PreconditionFailed"
    )
    locked = account.manage.lock_immutability_policy(*account.place, etag=stale, match_condition=UNCHANGED)
    etag = locked.etag
    with pytest.raises(HttpResponseError):
        account.manage.delete_immutability_policy(*account.place, etag=etag, match_condition=UNCHANGED)
    with pytest.raises(HttpResponseError):
        account.manage.create_or_update_immutability_policy(*account.place, policy(1))
    for days in (2, 3, 4, 5, 6):
        etag = account.manage.extend_immutability_policy(
            *account.place, policy(days), etag=etag, match_condition=UNCHANGED
        ).etag
    for days in (5, 7):
        with pytest.raises(HttpResponseError):
            account.manage.extend_immutability_policy(
                *account.place, policy(days), etag=etag, match_condition=UNCHANGED
            )


def test_an_unlocked_policy_is_deleted_with_its_etag(make: Any) -> None:
    account = make()
    made = account.manage.create_or_update_immutability_policy(*account.place, policy(1))
    gone = account.manage.delete_immutability_policy(
        *account.place, etag=made.etag, match_condition=UNCHANGED
    )
    assert gone.properties.immutability_period_since_creation_in_days == 0
    assert not account.manage.get(*account.place).has_immutability_policy


def test_protected_appends_are_allowed_where_the_policy_says_so(make: Any) -> None:
    account = make()
    for name, allowed in (("custody", True), ("closed", False)):
        account.manage.create_or_update_immutability_policy(
            *account.place, policy(1, allow_protected_append_writes=allowed)
        )
        blob = account.blob(name)
        blob.create_append_blob()
        if allowed:
            blob.append_block(b"1")
        else:
            assert code_of(blob.append_block, b"1") == RETAINED
        assert code_of(blob.delete_blob) == RETAINED


def test_a_held_version_stays_while_new_ones_come(make: Any) -> None:
    account = make(worm=True)
    blob = account.blob("model")
    first = blob.upload_blob(b"1")["version_id"]
    blob.set_legal_hold(True)
    assert blob.get_blob_properties().has_legal_hold
    assert code_of(blob.delete_blob) == HELD
    assert code_of(blob.set_blob_metadata, {"a": "b"}) == HELD
    blob.upload_blob(b"2", overwrite=True)
    assert code_of(blob.delete_blob, version_id=first) == HELD
    (held,) = [v for v in account.blobs.list_blobs(include=["versions", "legalhold"]) if v.has_legal_hold]
    assert held.version_id == first
    assert code_of(account.blobs.delete_container) == "ContainerProtectedFromDeletion"
    with pytest.raises(HttpResponseError):
        account.manage.set_legal_hold(*account.place, LegalHold(tags=["abc"]))


def test_a_version_of_its_own_retention(make: Any) -> None:
    account = make(worm=True)
    until = datetime.now(UTC) + timedelta(days=1)
    blob = account.blob("evidence")
    version = blob.upload_blob(
        b"1", immutability_policy=VersionPolicy(expiry_time=until, policy_mode="Locked")
    )["version_id"]
    assert blob.get_blob_properties().immutability_policy.policy_mode == "Locked"
    assert code_of(blob.delete_blob) == RETAINED
    assert code_of(blob.delete_immutability_policy) == RETAINED
    shorter = VersionPolicy(expiry_time=until - timedelta(hours=1), policy_mode="Locked")
    assert code_of(blob.set_immutability_policy, shorter) == RETAINED
    account.sandbox.advance(DAY + 1)
    blob = account.blob("evidence")  # with a token of that day
    blob.delete_blob()
    blob.delete_blob(version_id=version)


def test_holds_on_versions_need_a_container_for_them(make: Any) -> None:
    blob = make(versioned=True).blob("model")
    blob.upload_blob(b"1")
    assert code_of(blob.set_legal_hold, True) == "ImmutableStorageWithVersioningNotEnabled"


@pytest.mark.parametrize(
    ("role", "reads", "writes"),
    [
        ("", False, False),
        ("Storage Blob Data Reader", True, False),
        ("Storage Blob Data Contributor", True, True),
        ("Owner", False, False),  # rights over the account are none over its data
    ],
)
def test_data_actions_are_checked_at_the_container(make: Any, role: str, reads: bool, writes: bool) -> None:
    account = make()
    account.blob("model").upload_blob(b"1")
    who = account.sandbox.create_principal("reader")
    if role:
        account.sandbox.grant(who.object_id, role, account.container_id)
    blob = account.service(Bearer(account.sandbox, who.object_id)).get_blob_client("models", "model")
    for may, call in ((reads, blob.download_blob), (writes, lambda: blob.upload_blob(b"2", overwrite=True))):
        if may:
            call()
        else:
            assert code_of(call) == "AuthorizationPermissionMismatch"


def test_a_token_for_another_service_is_refused(make: Any) -> None:
    account = make()
    blob = account.service(Bearer(account.sandbox, audience="https://vault.azure.net")).get_blob_client(
        "models", "x"
    )
    with pytest.raises(HttpResponseError) as caught:
        blob.download_blob()
    assert caught.value.status_code == 401


def test_account_keys_open_everything_until_they_are_replaced_or_forbidden(make: Any) -> None:
    account = make()
    sandbox = account.sandbox

    def key(name: str) -> str:
        keys = sandbox.arm("POST", f"{account.id}/listKeys", VERSION)["keys"]
        return str(next(each["value"] for each in keys if each["keyName"] == name))

    def with_key(value: str) -> Any:
        credential = AzureNamedKeyCredential(account.name, value)
        return account.service(credential).get_blob_client("models", "a b/ü.txt")

    first, second = key("key1"), key("key2")
    with_key(first).upload_blob(b"stolen", metadata={"x": "y"})
    sandbox.arm("POST", f"{account.id}/regenerateKey", VERSION, {"keyName": "key1"})
    assert code_of(with_key(first).download_blob) == "AuthenticationFailed"
    assert with_key(second).download_blob().readall() == b"stolen"
    assert with_key(key("key1")).download_blob().readall() == b"stolen"
    sandbox.arm("PATCH", account.id, VERSION, {"properties": {"allowSharedKeyAccess": False}})
    assert code_of(with_key(second).download_blob) == "KeyBasedAuthenticationNotPermitted"


def test_a_storage_name_is_taken_once(make: Any, sandbox: AzureSandbox) -> None:
    account = make()
    other = f"/subscriptions/{HOME_SUBSCRIPTION}/resourceGroups/Other"
    sandbox.arm("PUT", other, "2021-04-01", {"location": "westeurope"})
    path = f"{other}/providers/Microsoft.Storage/storageAccounts/{account.name}"
    answer = sandbox.send(
        "PUT",
        f"https://management.azure.com{path}?api-version={VERSION}",
        {"location": "westeurope"},
        token=sandbox.admin_token(),
    )
    assert (answer.status, answer.body["error"]["code"]) == (409, "StorageAccountAlreadyTaken")


def test_an_account_with_held_blobs_is_not_deleted(make: Any) -> None:
    account = make()
    account.blob("model").upload_blob(b"1")
    account.manage.set_legal_hold(*account.place, LegalHold(tags=["abc"]))
    answer = account.sandbox.send(
        "DELETE",
        f"https://management.azure.com{account.id}?api-version={VERSION}",
        token=account.sandbox.admin_token(),
    )
    assert answer.status == 409
    assert account.blob("model").download_blob().readall() == b"1"
