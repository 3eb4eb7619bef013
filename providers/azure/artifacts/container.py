"""One blob container of the workload: its two planes, what lies in it, and the hashes of that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING

from firebreak.errors import PermanentCloudError
from firebreak.measure import Progress
from firebreak.model import JsonObject
from providers.azure.answers import translated
from providers.azure.existence import existing
from providers.azure.ids import ResourceId
from providers.azure.session import AzureAccess

if TYPE_CHECKING:
    from azure.storage.blob import BlobProperties, ContainerClient

STORAGE_VERSION = "2025-06-01"
"""api-version of Microsoft.Storage."""
OURS = ".firebreak/"
"""Folder of the canaries, of this and of other workloads."""
_CHUNK = 4 * 1024 * 1024
_REPORT_EVERY = 64 * 1024 * 1024


@dataclass(frozen=True)
class Entry:
    """One version of a blob; the only one where the account keeps no versions."""

    name: str
    version_id: str
    etag: str
    size: int
    created_at: datetime
    held: bool
    current: bool

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from every other."""
        return self.name, self.version_id


@dataclass(frozen=True)
class Container:
    """One container, reached as the responder."""

    access: AzureAccess
    ref: str

    @property
    def id(self) -> ResourceId:
        """The parsed reference."""
        return ResourceId.parse(self.ref)

    @cached_property
    def blobs(self) -> ContainerClient:
        """The data plane."""
        account = self.id.part("storageAccounts")
        service = self.access.blobs(self.access.endpoints.blob_url(account))
        return service.get_container_client(self.id.name)

    def properties(self) -> JsonObject:
        """The container as Resource Manager shows it; raises PermanentCloudError where there is none."""
        shown = existing(self.access, self.ref, STORAGE_VERSION, "the declared container")
        properties: JsonObject = shown["properties"]
        return properties

    def post(self, action: str, body: JsonObject) -> JsonObject:
        """Run an action of the control plane."""
        with translated(self.ref):
            return self.access.arm().post(f"{self.ref}/{action}", body, STORAGE_VERSION)

    def current(self, prefixes: Iterable[str]) -> list[Entry]:
        """The current blobs under any of the prefixes, without those of Firebreak, by name."""
        entries = {each.key: each for prefix in prefixes for each in self._listed(prefix, [])}
        return sorted((e for e in entries.values() if not e.name.startswith(OURS)), key=lambda e: e.key)

    def versions(self, prefixes: Iterable[str]) -> list[Entry]:
        """Every version under any of the prefixes, without those of Firebreak, with its hold."""
        listed = (each for prefix in prefixes for each in self._listed(prefix, ["versions", "legalhold"]))
        entries = {each.key: each for each in listed if not each.name.startswith(OURS)}
        return [entries[key] for key in sorted(entries)]

    def ours(self) -> list[Entry]:
        """Every version of every canary in the container."""
        return list(self._listed(OURS, ["versions", "legalhold"]))

    def _listed(self, prefix: str, include: list[str]) -> Iterator[Entry]:
        with translated(f"{self.ref}/{prefix}"):
            for each in self.blobs.list_blobs(name_starts_with=prefix or None, include=include or None):
                yield _entry(each)

    def look(self, name: str, version_id: str = "") -> Entry:
        """One blob or version; raises PermanentCloudError where there is none."""
        from azure.core.exceptions import ResourceNotFoundError  # noqa: PLC0415 - SDK modules load when used

        with translated(f"{self.ref}/{name}"):
            try:
                found = self.blobs.get_blob_client(name, version_id=version_id or None).get_blob_properties()
            except ResourceNotFoundError as error:
                raise PermanentCloudError(
                    "the declared artifact does not exist",
                    resource=f"{self.ref}/{name}",
                    remedy="correct the inventory, or restore the blob",
                ) from error
        return _entry(found)

    def hashed(self, entry: Entry, progress: Progress) -> JsonObject:
        """Read a version to its end and return what identifies it, with its SHA-256; memory stays flat."""
        digest, size, reported = sha256(), 0, 0
        with translated(f"{self.ref}/{entry.name}"):
            client = self.blobs.get_blob_client(entry.name, version_id=entry.version_id or None)
            for chunk in client.download_blob(max_concurrency=1).chunks():
                digest.update(chunk)
                size += len(chunk)
                if size - reported >= _REPORT_EVERY:
                    progress.report({"hashing": entry.name, "bytes": size})
                    reported = size
        return {
            "name": entry.name,
            "version_id": entry.version_id,
            "etag": entry.etag,
            "size": size,
            "sha256": digest.hexdigest(),
        }


def _entry(properties: BlobProperties) -> Entry:
    version_id = properties.version_id or ""
    return Entry(
        name=properties.name,
        version_id=version_id,
        etag=(properties.etag or "").strip('"'),
        size=properties.size,
        created_at=properties.creation_time,
        held=bool(properties.has_legal_hold),
        current=bool(properties.is_current_version) or not version_id,
    )
