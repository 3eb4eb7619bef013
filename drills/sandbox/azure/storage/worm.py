"""Refuse what immutable storage refuses.

Source: Azure Storage documentation, "Container-level WORM policies for immutable blob data", "Version-level
WORM policies for immutable blob data" (both: "Scenarios") and "Blob service error codes".
"""

from __future__ import annotations

from datetime import timedelta

from drills.sandbox.azure.clock import now as utc_now
from drills.sandbox.azure.storage.errors import BlobError
from drills.sandbox.azure.storage.model import Blob, Container, Policy, Version

DUE_TO_HOLD = (
    409,
    "BlobImmutableDueToLegalHold",
    "This operation is not permitted as the blob is immutable due to one or more legal holds.",
)
DUE_TO_POLICY = (
    409,
    "BlobImmutableDueToPolicy",
    "This operation is not permitted as the blob is immutable due to a policy.",
)


def may_overwrite(container: Container, blob: Blob) -> None:
    """A new path may be written once; with version-level immutability a write makes a new version."""
    if blob.current is not None:
        _container_keeps(container)


def may_describe(container: Container, version: Version) -> None:
    """Metadata of a protected blob stays, also when its retention is over."""
    _container_keeps(container)
    if version.legal_hold:
        raise BlobError(*DUE_TO_HOLD)
    if version.retention is not None:
        raise BlobError(*DUE_TO_POLICY)


def may_set_properties(container: Container) -> None:
    """Properties and snapshots are refused by container-level policies only."""
    _container_keeps(container)


def may_delete(container: Container, version: Version) -> None:
    """Nothing that a hold or an unexpired retention covers can be deleted, in whatever version."""
    if container.holds or version.legal_hold:
        raise BlobError(*DUE_TO_HOLD)
    if container.policy is not None and retained(container.policy, version):
        raise BlobError(*DUE_TO_POLICY)
    if version.retention is not None and version.retention.until > utc_now():
        raise BlobError(*DUE_TO_POLICY)


def may_append(container: Container, version: Version) -> None:
    """Appending is allowed under a policy or hold that says so ("Allow protected append blobs writes")."""
    policy = container.policy
    if container.holds and not container.hold_appends:
        raise BlobError(*DUE_TO_HOLD)
    if policy is not None and not (policy.append or policy.append_all):
        raise BlobError(*DUE_TO_POLICY)
    if version.legal_hold:
        raise BlobError(*DUE_TO_HOLD)
    if version.retention is not None:
        raise BlobError(*DUE_TO_POLICY)


def may_delete_container(container: Container, *, by_resource_manager: bool) -> None:
    """A container under a policy is deleted only empty, and then only by the control plane."""
    if container.holds or container.policy is not None:
        kept = bool(container.blobs) or not by_resource_manager
    else:
        kept = container.version_level and bool(container.blobs)
    if kept:
        raise BlobError(
            409,
            "ContainerProtectedFromDeletion",
            f"The container {container.name} cannot be deleted: it is protected by an immutability policy"
            " or legal hold, or has immutable storage with versioning and is not empty.",
        )


def retained(policy: Policy, version: Version) -> bool:
    """Whether the retention, counted from the creation or last append, is not over."""
    appended = version.kind == "AppendBlob" and (policy.append or policy.append_all)
    since = version.modified_at if appended else version.created_at
    return since + timedelta(days=policy.days) > utc_now()


def _container_keeps(container: Container) -> None:
    if container.holds:
        raise BlobError(*DUE_TO_HOLD)
    if container.policy is not None:
        raise BlobError(*DUE_TO_POLICY)
