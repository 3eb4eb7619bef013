"""Name the S3 actions of an S3 operation, which differ from the operation names.

Source: Amazon S3 user guide, "Required permissions for Amazon S3 API operations".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

_BUCKET_ACTIONS = {
    "DeleteBucketCors": "PutBucketCORS",
    "DeleteBucketEncryption": "PutEncryptionConfiguration",
    "DeleteBucketLifecycle": "PutLifecycleConfiguration",
    "DeleteBucketReplication": "PutReplicationConfiguration",
    "DeleteBucketTagging": "PutBucketTagging",
    "DeletePublicAccessBlock": "PutBucketPublicAccessBlock",
    "GetBucketAccelerateConfiguration": "GetAccelerateConfiguration",
    "GetBucketCors": "GetBucketCORS",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "GetBucketNotificationConfiguration": "GetBucketNotification",
    "GetBucketReplication": "GetReplicationConfiguration",
    "GetObjectLockConfiguration": "GetBucketObjectLockConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "HeadBucket": "ListBucket",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "ListObjectVersions": "ListBucketVersions",
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "PutBucketCors": "PutBucketCORS",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "PutBucketNotificationConfiguration": "PutBucketNotification",
    "PutBucketReplication": "PutReplicationConfiguration",
    "PutObjectLockConfiguration": "PutBucketObjectLockConfiguration",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
}
_OBJECT_ACTIONS = {
    "CompleteMultipartUpload": "PutObject",
    "CopyObject": "PutObject",
    "CreateMultipartUpload": "PutObject",
    "HeadObject": "GetObject",
    "ListParts": "ListMultipartUploadParts",
    "SelectObjectContent": "GetObject",
    "UploadPart": "PutObject",
    "UploadPartCopy": "PutObject",
}
# With a version id these need the permission for versions.
_VERSIONED = {
    "GetObject": "GetObjectVersion",
    "DeleteObject": "DeleteObjectVersion",
    "GetObjectAcl": "GetObjectVersionAcl",
    "GetObjectTagging": "GetObjectVersionTagging",
    "PutObjectTagging": "PutObjectVersionTagging",
    "DeleteObjectTagging": "DeleteObjectVersionTagging",
}
SHOWN_TO = {
    "x-amz-object-lock-legal-hold": "s3:GetObjectLegalHold",
    "x-amz-object-lock-mode": "s3:GetObjectRetention",
    "x-amz-object-lock-retain-until-date": "s3:GetObjectRetention",
}
"""Headers of GetObject and HeadObject that are left out for who lacks the action (their API reference)."""
_WRITES = frozenset({"PutObject", "CopyObject", "CreateMultipartUpload"})

Need = tuple[str, str]


def s3_needs(operation: str, params: Mapping[str, Any], headers: Mapping[str, str]) -> list[Need]:
    """Return the actions with their resources that an S3 call needs."""
    bucket = params.get("Bucket")
    if not bucket:
        return [("s3:ListAllMyBuckets" if operation == "ListBuckets" else f"s3:{operation}", "*")]
    bucket_arn = f"arn:aws:s3:::{bucket}"
    if operation == "DeleteObjects":
        return _batch_delete(bucket_arn, params, headers)
    key = params.get("Key")
    if key is None:
        return [(f"s3:{_BUCKET_ACTIONS.get(operation, operation)}", bucket_arn)]
    return _object_needs(operation, f"{bucket_arn}/{key}", params, headers)


def _object_needs(
    operation: str, arn: str, params: Mapping[str, Any], headers: Mapping[str, str]
) -> list[Need]:
    action = _OBJECT_ACTIONS.get(operation, operation)
    if params.get("VersionId"):
        action = _VERSIONED.get(action, action)
    needs = [(f"s3:{action}", arn)]
    if operation in _WRITES:
        needs += _write_extras(arn, headers)
    if operation in {"CopyObject", "UploadPartCopy"}:
        needs.append(_copy_source(headers))
    return needs + _bypass(arn, headers)


def _write_extras(arn: str, headers: Mapping[str, str]) -> list[Need]:
    extras = {
        "x-amz-object-lock-retain-until-date": "s3:PutObjectRetention",
        "x-amz-object-lock-legal-hold": "s3:PutObjectLegalHold",
        "x-amz-tagging": "s3:PutObjectTagging",
    }
    return [(action, arn) for header, action in extras.items() if header in headers]


def _copy_source(headers: Mapping[str, str]) -> Need:
    path, _, version = unquote(headers.get("x-amz-copy-source", "")).lstrip("/").partition("?versionId=")
    return ("s3:GetObjectVersion" if version else "s3:GetObject", f"arn:aws:s3:::{path}")


def _bypass(arn: str, headers: Mapping[str, str]) -> list[Need]:
    asked = headers.get("x-amz-bypass-governance-retention", "").lower() == "true"
    return [("s3:BypassGovernanceRetention", arn)] if asked else []


def _batch_delete(bucket_arn: str, params: Mapping[str, Any], headers: Mapping[str, str]) -> list[Need]:
    objects = (params.get("Delete") or {}).get("Objects") or []
    needs: list[Need] = []
    for item in objects:
        action = "s3:DeleteObjectVersion" if item.get("VersionId") else "s3:DeleteObject"
        arn = f"{bucket_arn}/{item['Key']}"
        needs += [(action, arn), *_bypass(arn, headers)]
    return needs
