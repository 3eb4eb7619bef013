"""A blob of ours under the same hold: what cannot be done to it cannot be done to its neighbours."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from firebreak.model import JsonObject
from providers.azure.answers import error_code
from providers.azure.artifacts.container import OURS, Container, Entry

if TYPE_CHECKING:
    from azure.storage.blob import BlobClient

# Blob service error codes.
IMMUTABLE = frozenset({"BlobImmutableDueToLegalHold", "BlobImmutableDueToPolicy"})
_CONTROLS = "firebreakcontrols"
CONTROLLED = "write,delete"
"""What the canary remembers once every attempt has worked."""
HELD_BEFORE = "held before"
"""What it remembers where somebody else's hold was in force already: the refusal's code is all there is."""
Holds = list[tuple[str, str]]


@dataclass(frozen=True)
class Canary:
    """One canary of one container. Its metadata says which attempts worked before the freeze, its body which
    versions its owner holds.
    """

    container: Container
    mark: str
    """Of the workload that owns it."""

    @property
    def name(self) -> str:
        """Where it lies."""
        return f"{OURS}{self.mark}/canary"

    @property
    def client(self) -> BlobClient:
        """The blob itself."""
        return self.container.blobs.get_blob_client(self.name)

    def place(self, holds: Holds) -> None:
        """Make the controls of all attempts on a blob beside it; then write it, and write it again.

        In a container that is held already it can be written once, and says that. It is never deleted here:
        another execution of this step may be holding it at this moment.
        """
        controls = CONTROLLED if self._controlled() else HELD_BEFORE
        body = json.dumps({"holds": holds}).encode()

        def write_twice() -> None:
            self.client.upload_blob(body, overwrite=True, metadata={_CONTROLS: controls})
            self.client.upload_blob(body, overwrite=True, metadata={_CONTROLS: controls})

        _unless_held(write_twice)

    def _controlled(self) -> bool:
        """Write, overwrite, describe and delete a blob of this execution alone; True where all worked."""
        control = self.container.blobs.get_blob_client(f"{OURS}{self.mark}/control-{uuid4().hex[:12]}")

        def try_all() -> None:
            control.upload_blob(b"control", overwrite=True)
            control.upload_blob(b"control", overwrite=True)
            control.set_blob_metadata({"firebreak": "control"})
            control.delete_blob()

        return _unless_held(try_all)

    def look(self) -> JsonObject | None:
        """Its state and its controls, or None when it was never placed."""
        try:
            seen = self.client.get_blob_properties()
        except ResourceNotFoundError:
            return None
        earlier = [each.version_id for each in self.versions() if not each.current]
        return {
            "etag": seen.etag,
            "earlier_version": max(earlier, default=""),
            "controls": seen.metadata.get(_CONTROLS, ""),
            "held": bool(seen.has_legal_hold),
            "created_at": seen.creation_time.isoformat(),
        }

    def versions(self) -> list[Entry]:
        """Its versions; those before the current one are left by the controls."""
        return [each for each in self.container.ours() if each.name == self.name]

    def holds(self) -> Holds:
        """The versions that its owner holds."""
        document = json.loads(self.client.download_blob().readall())
        return [(name, version_id) for name, version_id in document["holds"]]

    def overwrite(self, etag: str) -> None:
        """Try to write it again; only the very blob that was frozen, so that a missing one is not made."""
        self.client.upload_blob(
            b"overwritten\n", overwrite=True, etag=etag, match_condition=MatchConditions.IfNotModified
        )

    def describe(self) -> None:
        """Try to change its metadata."""
        self.client.set_blob_metadata({"firebreak": "changed"})

    def delete(self) -> None:
        """Try to delete it."""
        self.client.delete_blob()

    def delete_version(self, version_id: str) -> None:
        """Try to delete an earlier version of it for good; the current one goes only with the blob."""
        self.client.delete_blob(version_id=version_id)

    def hold(self) -> None:
        """Set its own hold, on every version."""
        for each in self.versions():
            self.client.set_legal_hold(True, version_id=each.version_id)


def _unless_held(attempt: Callable[[], None]) -> bool:
    """Whether the attempt worked; False where a hold or a policy refused it."""
    try:
        attempt()
    except HttpResponseError as error:
        if error_code(error) not in IMMUTABLE:
            raise
        return False
    return True


def marks(entries: list[Entry]) -> list[str]:
    """The owners of the canaries that are in force among these."""
    names = {each.name for each in entries if each.current}
    return sorted(name.removeprefix(OURS).partition("/")[0] for name in names if name.endswith("/canary"))


def remove(container: Container, entries: list[Entry]) -> bool:
    """Delete versions of canaries for good; True when a hold of somebody else keeps one."""
    left = False
    for each in sorted(entries, key=lambda entry: not entry.current):
        left |= not _removed(container, each)
    return left


def _removed(container: Container, entry: Entry) -> bool:
    client = container.blobs.get_blob_client(entry.name)
    try:
        if entry.held:
            client.set_legal_hold(False, version_id=entry.version_id)
        if entry.current:
            client.delete_blob()
        if entry.version_id:
            client.delete_blob(version_id=entry.version_id)
    except ResourceNotFoundError:
        return True  # another execution of this step, or another workload's release, removed it
    except HttpResponseError as error:
        if error_code(error) not in IMMUTABLE:
            raise
        return False  # reported by the caller: it goes with the last hold
    return True
