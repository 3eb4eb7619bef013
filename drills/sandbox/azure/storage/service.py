"""The operations of the blob service, as a table: what is asked, which right it takes, and who does it.

Source: Azure Storage REST API, "Blob service REST API" and "Authorize with Microsoft Entra ID" ("Permissions
for Blob service operations").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from drills.sandbox.azure.storage.blobs import BlobStore
from drills.sandbox.azure.storage.errors import BlobError

CONTAINERS = "Microsoft.Storage/storageAccounts/blobServices/containers"
READ = f"{CONTAINERS}/blobs/read"
WRITE = f"{CONTAINERS}/blobs/write"
ADD = f"{CONTAINERS}/blobs/add/action"
DELETE = f"{CONTAINERS}/blobs/delete"
DELETE_VERSION = f"{CONTAINERS}/blobs/deleteBlobVersion/action"
HOLD = f"{CONTAINERS}/blobs/immutableStorage/runAsSuperUser/action"

Level = Literal["service", "container", "blob"]


@dataclass(frozen=True)
class Asked:
    """One request to the blob service."""

    store: BlobStore
    account: str
    container: str
    name: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def version_id(self) -> str:
        """The version that is named, or nothing."""
        return self.query.get("versionid", "")

    @property
    def snapshot(self) -> str:
        """The snapshot that is named, or nothing."""
        return self.query.get("snapshot", "")


@dataclass(frozen=True)
class Given:
    """What the blob service answers."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


Handler = Callable[[Asked], Given]


@dataclass(frozen=True)
class Operation:
    """One row of the table."""

    name: str
    """As Azure's own logs name it."""
    method: str
    level: Level
    comp: str
    actions: tuple[str, ...]
    """Any one of them suffices."""
    data: bool
    """A data action, or an action."""
    handler: Handler


_table: dict[tuple[str, Level, str], Operation] = {}


def operation(
    method: str, level: Level, comp: str = "", *, actions: tuple[str, ...], data: bool = True
) -> Callable[[Handler], Handler]:
    """Register the handler of a method and ``comp`` at a level."""

    def register(handler: Handler) -> Handler:
        name = "".join(part.title() for part in handler.__name__.split("_"))
        _table[method, level, comp] = Operation(name, method, level, comp, actions, data, handler)
        return handler

    return register


def find(method: str, asked: Asked) -> Operation:
    """The operation that a request means."""
    level: Level = "blob" if asked.name else "container" if asked.container else "service"
    found = _table.get((method, level, _comp(method, level, asked)))
    if found is None:
        raise BlobError(400, "InvalidUri", "The requested URI does not represent any resource on the server.")
    return found


def _comp(method: str, level: Level, asked: Asked) -> str:
    comp = asked.query.get("comp", "").lower()
    if level == "blob" and method == "PUT" and not comp:
        return asked.headers.get("x-ms-blob-type", "").lower()
    if level == "blob" and method == "DELETE" and not comp and asked.version_id:
        return "version"
    return comp
