"""Keep evidence in a blob container with version-level immutability, in an account the workload cannot reach.

The container needs "immutable storage with versioning" and no default policy: every object carries its own
retention, and short-lived secrets must carry none (Azure Storage, "Version-level WORM policies for immutable
blob data"). Blob versioning gives each write a version of its own, so that nothing is ever overwritten.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from azure.core.exceptions import AzureError, HttpResponseError

from firebreak.errors import EvidenceError, SettingsError
from firebreak.evidence.streaming import Tally, cut
from firebreak.measure import now
from firebreak.model import Cloud
from firebreak.settings import Settings
from firebreak.versioned import Refusal, VersionedVault
from providers.azure import clients
from providers.azure.answers import NOT_FOUND, error_code, request_id_of, status_of, translated
from providers.azure.credentials import Credential, credential_of
from providers.azure.sealing import seal, seal_key_url, unseal
from providers.azure.storecheck import exposure

if TYPE_CHECKING:
    from azure.storage.blob import BlobClient, ContainerClient, ImmutabilityPolicy

BLOCK_BYTES = 8 * 1024 * 1024
"""One block of an upload; a blob has up to 50,000 (Azure Storage, "Scalability targets for Blob storage")."""

_CONTAINERS = "Microsoft.Storage/storageAccounts/blobServices/containers"
STORE_ACTIONS = (
    "Microsoft.Storage/storageAccounts/read",
    "Microsoft.Storage/storageAccounts/blobServices/read",
    f"{_CONTAINERS}/read",
    f"{_CONTAINERS}/immutabilityPolicies/read",
)
"""What the evidence identity needs on the account, for ``doctor`` and to see how the container is set up."""
OBJECT_DATA_ACTIONS = (
    f"{_CONTAINERS}/blobs/read",
    f"{_CONTAINERS}/blobs/write",
    f"{_CONTAINERS}/blobs/add/action",
    f"{_CONTAINERS}/blobs/delete",
    f"{_CONTAINERS}/blobs/deleteBlobVersion/action",
)
"""What it needs on the container. The right to delete makes the refusal of a delete the lock's; never grant
``immutableStorage/runAsSuperUser/action``, which shortens an unlocked retention."""

# Azure Storage, "Blob service error codes".
IMMUTABLE_CODES = frozenset({"BlobImmutableDueToPolicy", "BlobImmutableDueToLegalHold"})
CURRENT_VERSION = "OperationNotAllowedOnRootBlob"
_NO_VERSION_LEVEL = frozenset(
    {"ImmutableStorageWithVersioningNotEnabled", "ImmutabilityPolicyFeatureNotEnabled"}
)
_STORE = re.compile(
    r"^https://(?P<host>[a-z0-9]{3,24}\.blob\.[a-z.]+)/(?P<container>[a-z0-9](?:-?[a-z0-9]){2,62})"
    r"(?:/(?P<prefix>[\w!.*'()/-]*))?$"
)
_MODES = {"COMPLIANCE": "Locked", "GOVERNANCE": "Unlocked"}


class AzureBlobVault(VersionedVault):
    """An evidence store under one prefix of one container."""

    to_lock = "enable version-level immutability on the container"

    def __init__(self, host: str, container: str, prefix: str, settings: Settings) -> None:
        super().__init__(f"https://{host}/{container}", prefix)
        self.account_url = f"https://{host}"
        self.container = container
        self._settings = settings.evidence_of(Cloud.AZURE)

    @classmethod
    def open(cls, settings: Settings) -> AzureBlobVault:
        """Open the store of the settings, without a call; raises SettingsError for a uri of another kind."""
        store = settings.evidence_of(Cloud.AZURE).store
        match = _STORE.fullmatch(store)
        if not match:
            raise SettingsError(
                f"FIREBREAK_EVIDENCE_BY_CLOUD__AZURE__STORE {store!r} is not a blob container",
                remedy="use https://ACCOUNT.blob.core.windows.net/CONTAINER/PREFIX",
            )
        prefix = (match["prefix"] or "").strip("/")
        return cls(match["host"], match["container"], f"{prefix}/" if prefix else "", settings)

    def hide(self, key: str, secret: bytes) -> None:
        """Keep a short-lived secret, encrypted under the seal key and unlocked, until ``forget``."""
        name = self._hidden(key)
        with translated(self._uri(name)):
            sealed = seal(self._seal_key(), self._credential(), key, secret)
            answer = self._blob(name).upload_blob(sealed, overwrite=True, validate_content=True)
            if self._retention(name, self._version(answer, name)) is not None:
                raise EvidenceError(
                    "the container's default policy locked a secret that must be deletable",
                    resource=self._uri(""),
                    remedy="remove the default policy: every exhibit is locked on its own",
                )

    def forget(self, prefix: str) -> None:
        """Delete every version of every hidden secret below a folder; harmless when there is none."""
        versions = list(self._versions(self._hidden_folder(prefix)))
        for name in dict.fromkeys(name for name, _, is_current in versions if is_current):
            self._delete(name, None)  # the current version can only be deleted as the blob
        for name, version, _ in versions:
            self._delete(name, version)

    def check(self) -> tuple[str, ...]:
        """Name what is wrong with the container's immutability and the account's exposure. Read-only."""
        with translated(self._uri("")):
            properties = self._container().get_container_properties()
        problems = []
        if not properties.immutable_storage_with_versioning_enabled:
            problems.append("version-level immutability is not enabled on the container")
        if properties.public_access:
            problems.append(f"the container is open to the public ({properties.public_access})")
        if properties.has_immutability_policy:
            problems.append("the container's own policy would lock the secrets that must be deletable")
        return (*problems, *exposure(self._credential(), self._settings.access, self.account_url))

    # clients

    def _credential(self) -> Credential:
        return evidence_credential(self._settings.access)

    def _container(self) -> ContainerClient:
        return clients.blobs(self._credential(), self.account_url).get_container_client(self.container)

    def _blob(self, name: str, version: str | None = None) -> BlobClient:
        service = clients.blobs(self._credential(), self.account_url)
        return service.get_blob_client(self.container, name, version_id=version)

    def _seal_key(self) -> str:
        return seal_key_url(self._settings.seal_key)

    def _unseal(self, key: str, sealed: bytes) -> bytes:
        return unseal(self._credential(), key, sealed, wanted=self._seal_key())

    # objects

    def _translated(self, uri: str) -> AbstractContextManager[None]:
        return translated(uri)

    def _policy(self) -> ImmutabilityPolicy:
        from azure.storage.blob import ImmutabilityPolicy  # noqa: PLC0415

        return ImmutabilityPolicy(
            expiry_time=now() + timedelta(days=self._settings.retention_days),
            policy_mode=_MODES[self._settings.retention_mode],
        )

    def _write(self, name: str, body: bytes | Iterable[bytes], tally: Tally, media_type: str) -> str:
        from azure.storage.blob import BlobBlock, ContentSettings  # noqa: PLC0415

        blob, content = self._blob(name), ContentSettings(content_type=media_type)
        parts = cut(body, BLOCK_BYTES)
        part, is_whole = next(parts)
        try:
            if is_whole:
                answer = blob.upload_blob(
                    tally.add(part),
                    overwrite=True,
                    validate_content=True,
                    content_settings=content,
                    immutability_policy=self._policy(),
                )
                return self._version(answer, name)
            blocks = [self._stage(blob, tally.add(part))]
            blocks += [self._stage(blob, tally.add(each)) for each, _ in parts]
            answer = blob.commit_block_list(
                [BlobBlock(block_id=each) for each in blocks],
                content_settings=content,
                immutability_policy=self._policy(),
            )
        except HttpResponseError as error:
            if error_code(error) not in _NO_VERSION_LEVEL:
                raise
            raise self._unversioned(name) from error
        return self._version(answer, name)

    def _stage(self, blob: BlobClient, body: bytes) -> str:
        """Send one block. What is never committed, Azure discards within a week (Put Block)."""
        block_id = uuid4().hex  # two attempts at one blob must not mix their blocks
        blob.stage_block(block_id, body, length=len(body), validate_content=True)
        return block_id

    def _version(self, answer: Any, name: str) -> str:
        version = answer.get("version_id")
        if not version:
            raise self._unversioned(name)
        return str(version)

    def _unversioned(self, name: str) -> EvidenceError:
        return EvidenceError(
            "the evidence container keeps no immutable versions",
            resource=self._uri(name),
            remedy=self.to_lock,
        )

    def _retention(self, name: str, version: str) -> tuple[datetime, str] | None:
        """The end and the mode of a version's retention, read from the store."""
        policy = self._blob(name, version).get_blob_properties().immutability_policy
        if policy.expiry_time is None:
            return None
        return _aware(policy.expiry_time), str(policy.policy_mode).lower()

    def _read_lock(self, name: str, version: str) -> datetime | None:
        retention = self._retention(name, version)
        wanted = {_MODES[self._settings.retention_mode].lower(), "locked"}
        return retention[0] if retention and retention[1] in wanted else None

    def _stream(self, name: str, version: str | None) -> Iterator[bytes]:
        with translated(self._uri(name)):
            try:
                body = self._blob(name, version).download_blob(max_concurrency=1)
            except HttpResponseError as error:
                if status_of(error) != NOT_FOUND:
                    raise
                raise self._gone(name) from error
            yield from body.chunks()

    def _names(self, start: str) -> Iterator[str]:
        return (name for name, _, _ in self._versions(start))

    def _newest(self, name: str) -> str | None:
        # A version's id is the time it was made, so that the newest sorts last ("Blob versioning").
        return max((version for each, version, _ in self._versions(name) if each == name), default=None)

    def _versions(self, start: str) -> Iterator[tuple[str, str, bool]]:
        """Names, version ids, and which is current, below a start: by name, the oldest version first."""
        with translated(self._uri(start)):
            for each in self._container().list_blobs(name_starts_with=start, include=["versions"]):
                if each.version_id:
                    yield each.name, str(each.version_id), bool(each.is_current_version)

    def _delete(self, name: str, version: str | None) -> None:
        with translated(self._uri(name)):
            try:
                self._blob(name, version).delete_blob()
            except HttpResponseError as error:
                if status_of(error) != NOT_FOUND:
                    raise
                # an earlier attempt, or a concurrent one, has deleted it

    # proof

    def _try_delete(self, name: str, version: str) -> Refusal | None:
        """Delete a version; returns the refusal, or None when it is gone.

        The service never deletes a current version by its id. Then the blob is deleted: a lock refuses that
        as well, or it leaves its state as a version that can be named.
        """
        refused = _refused(self._blob(name, version))
        if refused is not None and error_code(refused) == CURRENT_VERSION:
            refused = _refused(self._blob(name)) or _refused(self._blob(name, version))
        return _refusal(refused) if refused is not None else None


def container_scope(settings: Settings) -> tuple[str, str]:
    """Return the ARM scopes of the store's account and container; words where the account's id is not set."""
    opened = AzureBlobVault.open(settings)
    account = settings.evidence_of(Cloud.AZURE).access.get("account_id", "")
    known = account or f"ARM id of the storage account of {opened.account_url}"
    return known, f"{known}/blobServices/default/containers/{opened.container}"


def evidence_credential(access: dict[str, str]) -> Credential:
    """Return the credential of the evidence identity, the SDK's own where the settings name none."""
    return credential_of(access.get("cloud", ""), access.get("tenant_id", ""), access.get("client_id", ""))


def _refused(blob: BlobClient) -> AzureError | None:
    try:
        blob.delete_blob()
    except AzureError as error:
        return error
    return None


def _refusal(error: AzureError) -> Refusal:
    """Read a refusal: immutability has codes of its own, which no missing permission gives."""
    code = error_code(error) or type(error).__name__
    return Refusal(
        f"{code} ({status_of(error)}) to delete a version",
        by_lock=code in IMMUTABLE_CODES,
        request_id=request_id_of(error),
    )


def _aware(at: datetime) -> datetime:
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
