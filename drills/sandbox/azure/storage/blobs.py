"""Hold the accounts of the sandbox and do what the blob service does to their blobs.

Other parts of the sandbox write here directly (``write``, ``append``) where Azure itself would write: flow
logs, exports. The rules of immutable storage bind them as well.

Source: Azure Storage documentation, "Blob versioning" and "Blob snapshots".
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from drills.sandbox.azure.clock import now as utc_now
from drills.sandbox.azure.state import on_reset
from drills.sandbox.azure.storage import worm
from drills.sandbox.azure.storage.errors import BlobError
from drills.sandbox.azure.storage.model import (
    Account,
    Blob,
    Block,
    Container,
    Version,
    new_etag,
    new_stamp,
)
from drills.sandbox.azure.storage.spool import Spool

BLOCK_LIMIT = 50_000


@dataclass
class BlobStore:
    """Every storage account of the sandbox. Hold ``state.lock``, as every handler does."""

    accounts: dict[str, Account] = field(default_factory=dict)
    spool: Spool = field(default_factory=Spool)

    def reset(self) -> None:
        """Forget every account and its bytes."""
        self.accounts.clear()
        self.spool.reset()

    def account(self, name: str) -> Account:
        """The account of that name; 404 as the name would not resolve."""
        account = self.accounts.get(name.lower())
        if account is None:
            raise BlobError(404, "ResourceNotFound", "The specified resource does not exist.")
        return account

    def container(self, account: str, name: str) -> Container:
        """A container."""
        container = self.account(account).containers.get(name)
        if container is None:
            raise BlobError(404, "ContainerNotFound", "The specified container does not exist.")
        return container

    def blob(self, account: str, container: str, name: str) -> Blob:
        """A path that has a current version."""
        blob = self.container(account, container).blobs.get(name)
        if blob is None or blob.current is None:
            raise _not_found()
        return blob

    def path(self, account: str, container: str, name: str) -> Blob:
        """A path, made where there is nothing yet."""
        return self.container(account, container).blobs.setdefault(name, Blob(name))

    def create_container(self, account: str, name: str, **values: Any) -> Container:
        """Make a container; immutable with versioning where the whole account is."""
        owner = self.account(account)
        if name in owner.containers:
            raise BlobError(409, "ContainerAlreadyExists", "The specified container already exists.")
        version_level = bool(values.pop("version_level", False)) or owner.version_level
        owner.containers[name] = Container(name=name, version_level=version_level, **values)
        return owner.containers[name]

    def delete_container(self, account: str, name: str, *, by_resource_manager: bool = False) -> None:
        """Delete a container with its blobs, where nothing protects it."""
        worm.may_delete_container(self.container(account, name), by_resource_manager=by_resource_manager)
        del self.account(account).containers[name]

    def write(
        self,
        account: str,
        container: str,
        name: str,
        body: bytes,
        *,
        metadata: Mapping[str, str] | None = None,
    ) -> Version:
        """Put a whole block blob, as Put Blob does."""
        digest = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        made = Version(
            kind="BlockBlob",
            blocks=(Block("", self.spool.add(body)),),
            metadata=dict(metadata or {}),
            headers={"Content-Type": "application/octet-stream", "Content-MD5": digest},
        )
        return self.put(account, container, name, made)

    def put(self, account: str, container: str, name: str, made: Version) -> Version:
        """Make a state of a blob its current version."""
        owner, holder = self.account(account), self.container(account, container)
        blob = self.path(account, container, name)
        worm.may_overwrite(holder, blob)
        before = blob.current
        if before is not None and owner.versioning:
            blob.previous.append(before)
        elif before is not None:
            made = replace(made, created_at=before.created_at)
        blob.current = replace(made, version_id=new_stamp() if owner.versioning else "")
        blob.uncommitted.clear()
        return blob.current

    def append(self, account: str, container: str, name: str, body: bytes) -> Version:
        """Add a block to an append blob."""
        blob = self.blob(account, container, name)
        version = _current(blob)
        if version.kind != "AppendBlob":
            raise BlobError(409, "InvalidBlobType", "The blob type is invalid for this operation.")
        if len(version.blocks) >= BLOCK_LIMIT:
            raise BlobError(409, "BlockCountExceedsLimit", "The committed block count is at its limit.")
        worm.may_append(self.container(account, container), version)
        blob.current = version.changed(blocks=(*version.blocks, Block("", self.spool.add(body))))
        return blob.current

    def stage(self, account: str, container: str, name: str, block_id: str, body: bytes) -> None:
        """Keep a block until it is committed."""
        self.path(account, container, name).uncommitted[block_id] = self.spool.add(body)

    def commit(
        self, account: str, container: str, name: str, wanted: Sequence[tuple[str, str]], made: Version
    ) -> Version:
        """Make a blob of blocks, each named with where to look for it: Latest, Committed, Uncommitted."""
        blob = self.path(account, container, name)
        blocks = tuple(_block(blob, place, block_id) for place, block_id in wanted)
        return self.put(account, container, name, replace(made, blocks=blocks))

    def describe(self, account: str, container: str, name: str, metadata: Mapping[str, str]) -> Version:
        """Replace the metadata; with versioning that makes a version."""
        blob = self.blob(account, container, name)
        version = _current(blob)
        worm.may_describe(self.container(account, container), version)
        changed = version.changed(metadata=dict(metadata))
        if self.account(account).versioning:
            blob.previous.append(version)
            changed = replace(changed, version_id=new_stamp())
        blob.current = changed
        return changed

    def snapshot(self, account: str, container: str, name: str) -> str:
        """Copy the current state; returns the name of the copy."""
        blob = self.blob(account, container, name)
        worm.may_set_properties(self.container(account, container))
        stamp = new_stamp()
        blob.snapshots[stamp] = _current(blob)
        return stamp

    def delete(
        self, account: str, container: str, name: str, *, version_id: str = "", snapshot: str = ""
    ) -> None:
        """Delete a version or snapshot for good, or the blob, whose state stays as a version of it."""
        holder = self.container(account, container)
        version = self.version(account, container, name, version_id=version_id, snapshot=snapshot)
        worm.may_delete(holder, version)
        blob = holder.blobs[name]
        if snapshot:
            del blob.snapshots[snapshot]
        elif version_id:
            blob.previous = [each for each in blob.previous if each.version_id != version_id]
            blob.current = None if blob.current is version else blob.current
        else:
            if self.account(account).versioning:
                blob.previous.append(version)
            blob.current = None
        if blob.is_gone:
            del holder.blobs[name]

    def version(
        self, account: str, container: str, name: str, *, version_id: str = "", snapshot: str = ""
    ) -> Version:
        """One state of a blob: the current one where none is named."""
        holder = self.container(account, container)
        blob = holder.blobs.get(name)
        if blob is None:
            raise _not_found()
        if snapshot:
            found = blob.snapshots.get(snapshot)
        elif version_id:
            found = next((each for each in blob.versions if each.version_id == version_id), None)
        else:
            found = blob.current
        if found is None:
            raise _not_found()
        return found

    def protect(self, account: str, container: str, name: str, version_id: str, **values: Any) -> Version:
        """Set a version's own hold or retention; neither changes its ETag."""
        version = self.version(account, container, name, version_id=version_id)
        changed = replace(version, **values)
        blob = self.container(account, container).blobs[name]
        blob.previous = [changed if each is version else each for each in blob.previous]
        blob.current = changed if blob.current is version else blob.current
        return changed

    def read(self, version: Version, start: int = 0, size: int | None = None) -> bytes:
        """Some or all bytes of a version."""
        return b"".join(self.stream(version, start, size))

    def stream(self, version: Version, start: int = 0, size: int | None = None) -> Iterator[bytes]:
        """Some or all bytes of a version, in chunks."""
        return self.spool.stream(version.segments, start, version.size if size is None else size)


def append_blob(**values: Any) -> Version:
    """An empty append blob."""
    return Version(kind="AppendBlob", **values)


def touched(version: Version, **values: Any) -> Version:
    """The version with a new ETag and time."""
    return replace(version, etag=new_etag(), modified_at=utc_now(), **values)


def _current(blob: Blob) -> Version:
    if blob.current is None:
        raise _not_found()
    return blob.current


def _block(blob: Blob, place: str, block_id: str) -> Block:
    committed = {each.block_id: each.segment for each in blob.current.blocks} if blob.current else {}
    places = {
        "Latest": committed | blob.uncommitted,
        "Committed": committed,
        "Uncommitted": blob.uncommitted,
    }
    segment = places[place].get(block_id)
    if segment is None:
        raise BlobError(400, "InvalidBlockList", "The specified block list is invalid.")
    return Block(block_id, segment)


def _not_found() -> BlobError:
    return BlobError(404, "BlobNotFound", "The specified blob does not exist.")


blob_store = BlobStore()
"""The accounts of this process's sandbox."""
on_reset(blob_store.reset)
