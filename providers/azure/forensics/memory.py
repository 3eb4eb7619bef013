"""Preserve what the agent remembered: containers of Cosmos DB by query, containers of blobs by copy."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from firebreak.capture import Page
from firebreak.declarations import of_kind, target_of
from firebreak.measure import Permission, on_target
from firebreak.model import Cloud, JsonObject, Phase, Resource, Target, Workload
from providers.azure.answers import translated
from providers.azure.artifacts.container import STORAGE_VERSION
from providers.azure.clients import CONNECT_SECONDS, RETRIES
from providers.azure.cosmosroles import COSMOS, READ_ROLES, VERSION
from providers.azure.credentials import Credential, Environment, environment
from providers.azure.existence import existing
from providers.azure.forensics.blobs import READ_BLOBS, copied_page
from providers.azure.forensics.capture import AzureCapture
from providers.azure.ids import ResourceId
from providers.azure.resources.artifacts import BlobContainer, CosmosContainer
from providers.azure.resources.declared import declared

if TYPE_CHECKING:
    from azure.cosmos import CosmosClient

_COSMOS = (
    "Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers/read",
    *READ_ROLES,
    f"{COSMOS}Microsoft.DocumentDB/databaseAccounts/readMetadata",
    f"{COSMOS}Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers/executeQuery",
)
_BLOBS = ("Microsoft.Storage/storageAccounts/blobServices/containers/read", READ_BLOBS)
_CONTAINERS = {
    "cosmos-container": (VERSION, "the Cosmos DB container"),
    "blob-container": (STORAGE_VERSION, "the blob container"),
}
"""api-version and name of each kind of store."""
_PAGE_ITEMS = 200
"""A page is at most 4 MB (Cosmos DB, "Service quotas": maximum response size)."""


class CaptureMemoryStore(
    AzureCapture, cloud=Cloud.AZURE, phase=Phase.FORENSIC_CAPTURE, name="capture-memory-store"
):
    """Preserve agent memory: every item of a Cosmos DB container, every blob of a container."""

    permissions = on_target(*_COSMOS, *_BLOBS)
    preserve_first = True
    kind = "agent memory"
    acquired_by = "Cosmos DB query or Get Blob"

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """Every declared store, and every artifact that is memory."""
        stores: list[Resource] = [
            *of_kind(workload.stores, CosmosContainer),
            *of_kind(workload.stores, BlobContainer),
            *(each for each in of_kind(workload.artifacts, BlobContainer) if each.role == "memory"),
        ]
        return list({each.ref.lower(): target_of(workload, each) for each in stores}.values())

    @classmethod
    def needed(cls, target: Target) -> tuple[Permission, ...]:
        """What this kind of store needs."""
        return on_target(*_COSMOS) if target.kind == "cosmos-container" else on_target(*_BLOBS)

    def discover(self, target: Target) -> list[Target]:
        """The store; raises AbsentError where it does not exist."""
        existing(self.access, target.ref, *_CONTAINERS[target.kind])
        return [target]

    def pages(self, target: Target, position: JsonObject) -> Iterator[Page]:
        """Query or copy, whichever the store is."""
        if target.kind == "cosmos-container":
            return self._items(target, position)
        return self._blobs(target, position)

    def _items(self, target: Target, position: JsonObject) -> Iterator[Page]:
        """Read each range of the container to its end; the token goes on where a crash came."""
        container = self._cosmos(target)
        with translated(target.ref):
            ranges = position.get("ranges") or list(container.read_feed_ranges())
        place = {"ranges": ranges, "index": 0, "token": "", **position}
        while place["index"] < len(ranges):
            page = _queried(target, container, place)
            yield page
            place = page.position

    def _cosmos(self, target: Target) -> Any:
        store = ResourceId.parse(target.ref)
        host = f"{store.part('databaseAccounts')}.{self.access.endpoints.cosmos_suffix}"
        with translated(target.ref):
            client = _client(environment(), self.access.reached(), f"https://{host}:443/")
            database = client.get_database_client(store.part("sqlDatabases"))
            return database.get_container_client(store.name)

    def _blobs(self, target: Target, position: JsonObject) -> Iterator[Page]:
        store = ResourceId.parse(target.ref)
        account = self.access.endpoints.blob_url(store.part("storageAccounts"))
        container = self.access.blobs(account).get_container_client(store.name)
        resource = declared(self.run.workload, BlobContainer, target.ref)
        prefix = resource.prefix if resource else ""
        place = {"index": 0, "token": "", "number": 0, **position}
        while place["index"] == 0:
            page = copied_page(self.context, container, prefix, place, kind=self.kind)
            yield page
            place = page.position


@lru_cache(maxsize=64)
def _client(_: Environment, credential: Credential, url: str) -> CosmosClient:
    """The shared client of an account: making one asks the account for its regions."""
    from azure.cosmos import CosmosClient  # noqa: PLC0415 - only where there is such a store

    return CosmosClient(url, credential, retry_total=RETRIES, connection_timeout=CONNECT_SECONDS)


def _queried(target: Target, container: Any, place: JsonObject) -> Page:
    with translated(target.ref):
        pages = container.query_items(
            "SELECT * FROM c", feed_range=place["ranges"][place["index"]], max_item_count=_PAGE_ITEMS
        ).by_page(place["token"] or None)
        items = list(next(pages, ()))
        token = pages.continuation_token or ""
    step = 0 if token else 1
    return Page(items, {**place, "index": place["index"] + step, "token": token})
