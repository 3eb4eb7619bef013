"""Blobs as a whole over the data plane: write, read, delete, describe, protect.

Source: Azure Storage REST API, "Operations on blobs".
"""

from __future__ import annotations

import base64
import hashlib
import re

from drills.sandbox.azure.clock import now as utc_now
from drills.sandbox.azure.storage import worm
from drills.sandbox.azure.storage.blobs import touched
from drills.sandbox.azure.storage.conditions import check_read, check_write
from drills.sandbox.azure.storage.errors import BlobError
from drills.sandbox.azure.storage.model import Block, Version
from drills.sandbox.azure.storage.properties import (
    blob_headers,
    headers_of,
    http_date,
    metadata_of,
    protection_of,
    retention_of,
    written,
)
from drills.sandbox.azure.storage.service import (
    ADD,
    DELETE,
    DELETE_VERSION,
    HOLD,
    READ,
    WRITE,
    Asked,
    Given,
    operation,
)

_RANGE = re.compile(r"^bytes=(\d+)-(\d*)$")


def current(asked: Asked) -> Version | None:
    """The current version of the path, or None where there is none."""
    blob = asked.store.container(asked.account, asked.container).blobs.get(asked.name)
    return blob.current if blob else None


def md5_of(body: bytes) -> str:
    """The MD5 of a body as the service writes it."""
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


def check_transfer(asked: Asked) -> str:
    """Refuse a body that is not what the sender hashed; returns its MD5."""
    digest = md5_of(asked.body)
    if asked.headers.get("content-md5", digest) != digest:
        raise BlobError(
            400,
            "Md5Mismatch",
            "The MD5 value specified in the request did not match with the MD5 value calculated by the"
            " server.",
        )
    return digest


def check_protection(asked: Asked, values: object) -> None:
    """Refuse a version's own hold or policy in a container without version-level immutability."""
    if values and not asked.store.container(asked.account, asked.container).version_level:
        raise BlobError(
            409,
            "ImmutableStorageWithVersioningNotEnabled",
            "Immutable storage with versioning is not enabled on the container.",
        )


@operation("PUT", "blob", "blockblob", actions=(WRITE, ADD))
def put_blob(asked: Asked) -> Given:
    """Write a whole block blob."""
    digest = check_transfer(asked)
    check_write(asked.headers, current(asked))
    protection = protection_of(asked.headers)
    check_protection(asked, protection)
    made = Version(
        kind="BlockBlob",
        blocks=(Block("", asked.store.spool.add(asked.body)),),
        metadata=metadata_of(asked.headers),
        headers=headers_of(asked.headers) | {"Content-MD5": digest},
        **protection,
    )
    version = asked.store.put(asked.account, asked.container, asked.name, made)
    return Given(201, written(version) | {"Content-MD5": digest, "x-ms-request-server-encrypted": "true"})


@operation("GET", "blob", actions=(READ,))
def get_blob(asked: Asked) -> Given:
    """Read a blob, or a range of it."""
    version, headers = _properties(asked)
    wanted = asked.headers.get("x-ms-range") or asked.headers.get("range")
    if not wanted:
        return Given(200, headers, asked.store.read(version))
    start, end = _span(wanted, version.size)
    part = asked.store.read(version, start, end - start + 1)
    md5 = headers.pop("Content-MD5", "")
    return Given(
        206,
        headers
        | {"Content-Length": str(len(part)), "Content-Range": f"bytes {start}-{end}/{version.size}"}
        | ({"x-ms-blob-content-md5": md5} if md5 else {})
        | ({"Content-MD5": md5_of(part)} if asked.headers.get("x-ms-range-get-content-md5") else {}),
        part,
    )


@operation("HEAD", "blob", actions=(READ,))
def get_blob_properties(asked: Asked) -> Given:
    """Say what a blob is."""
    return Given(200, _properties(asked)[1])


def _properties(asked: Asked) -> tuple[Version, dict[str, str]]:
    version = asked.store.version(
        asked.account, asked.container, asked.name, version_id=asked.version_id, snapshot=asked.snapshot
    )
    check_read(asked.headers, version)
    blob = asked.store.container(asked.account, asked.container).blobs[asked.name]
    return version, blob_headers(blob, version)


def _span(wanted: str, size: int) -> tuple[int, int]:
    match = _RANGE.match(wanted)
    start = int(match[1]) if match else size
    if match is None or start >= size:
        raise BlobError(
            416, "InvalidRange", "The range specified is invalid for the current size of the resource."
        )
    return start, min(int(match[2]) if match[2] else size - 1, size - 1)


@operation("DELETE", "blob", actions=(DELETE,))
@operation("DELETE", "blob", "version", actions=(DELETE_VERSION,))
def delete_blob(asked: Asked) -> Given:
    """Delete a blob, a version or a snapshot."""
    version = asked.store.version(
        asked.account, asked.container, asked.name, version_id=asked.version_id, snapshot=asked.snapshot
    )
    check_write(asked.headers, version)
    blob = asked.store.container(asked.account, asked.container).blobs[asked.name]
    if asked.version_id and version is blob.current:
        # Pinned by the SDK's own recorded tests: azure-sdk-for-js, storage-blob, "delete a version".
        raise BlobError(
            403, "OperationNotAllowedOnRootBlob", "The specified operation is not allowed on root blob."
        )
    snapshots = asked.headers.get("x-ms-delete-snapshots")
    if blob.snapshots and not (asked.version_id or asked.snapshot or snapshots):
        raise BlobError(
            409, "SnapshotsPresent", "This operation is not permitted while the blob has snapshots."
        )
    if snapshots:
        _delete_snapshots(asked, list(blob.snapshots))
    if snapshots != "only":
        asked.store.delete(
            asked.account,
            asked.container,
            asked.name,
            version_id=asked.version_id,
            snapshot=asked.snapshot,
        )
    return Given(202, {"x-ms-delete-type-permanent": "true"})


def _delete_snapshots(asked: Asked, stamps: list[str]) -> None:
    for stamp in stamps:
        asked.store.delete(asked.account, asked.container, asked.name, snapshot=stamp)


@operation("PUT", "blob", "metadata", actions=(WRITE,))
def set_blob_metadata(asked: Asked) -> Given:
    """Replace a blob's metadata."""
    check_write(asked.headers, asked.store.version(asked.account, asked.container, asked.name))
    metadata = metadata_of(asked.headers)
    version = asked.store.describe(asked.account, asked.container, asked.name, metadata)
    return Given(200, written(version))


@operation("PUT", "blob", "properties", actions=(WRITE,))
def set_blob_properties(asked: Asked) -> Given:
    """Replace a blob's HTTP properties."""
    blob = asked.store.blob(asked.account, asked.container, asked.name)
    version = asked.store.version(asked.account, asked.container, asked.name)
    check_write(asked.headers, version)
    worm.may_set_properties(asked.store.container(asked.account, asked.container))
    blob.current = touched(version, headers=headers_of(asked.headers))
    return Given(200, written(blob.current))


@operation("PUT", "blob", "snapshot", actions=(WRITE, ADD))
def snapshot_blob(asked: Asked) -> Given:
    """Keep a copy of the current state."""
    stamp = asked.store.snapshot(asked.account, asked.container, asked.name)
    version = asked.store.version(asked.account, asked.container, asked.name)
    return Given(201, written(version) | {"x-ms-snapshot": stamp})


@operation("PUT", "blob", "legalhold", actions=(HOLD,))
def set_blob_legal_hold(asked: Asked) -> Given:
    """Set or lift the legal hold of a version; its ETag stays ("Set Blob Legal Hold")."""
    wanted = asked.headers.get("x-ms-legal-hold", "").lower()
    if wanted not in ("true", "false"):
        raise BlobError(400, "InvalidHeaderValue", "The value for x-ms-legal-hold is not true or false.")
    check_protection(asked, wanted)
    asked.store.protect(
        asked.account, asked.container, asked.name, asked.version_id, legal_hold=wanted == "true"
    )
    return Given(200, {"x-ms-legal-hold": wanted})


@operation("PUT", "blob", "immutabilitypolicies", actions=(HOLD,))
def set_blob_immutability_policy(asked: Asked) -> Given:
    """Set a version's retention; a locked one only grows ("Set Blob Immutability Policy")."""
    wanted = retention_of(asked.headers)
    check_protection(asked, wanted)
    before = _named(asked).retention
    if before and before.mode == "Locked" and (wanted.mode != "Locked" or wanted.until < before.until):
        raise BlobError(*worm.DUE_TO_POLICY)
    asked.store.protect(asked.account, asked.container, asked.name, asked.version_id, retention=wanted)
    return Given(
        200,
        {
            "x-ms-immutability-policy-until-date": http_date(wanted.until),
            "x-ms-immutability-policy-mode": wanted.mode.lower(),
        },
    )


@operation("DELETE", "blob", "immutabilitypolicies", actions=(HOLD,))
def delete_blob_immutability_policy(asked: Asked) -> Given:
    """Lift a version's retention, unless it is locked and not over."""
    before = _named(asked).retention
    if before and before.mode == "Locked" and before.until > utc_now():
        raise BlobError(*worm.DUE_TO_POLICY)
    asked.store.protect(asked.account, asked.container, asked.name, asked.version_id, retention=None)
    return Given(200)


def _named(asked: Asked) -> Version:
    return asked.store.version(asked.account, asked.container, asked.name, version_id=asked.version_id)
