"""Enforce Object Lock where moto does not.

Source: Amazon S3 user guide, "Locking objects with Object Lock" and "Object Lock considerations".
"""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from typing import Any

from moto.s3.models import s3_backends
from moto.s3.responses import S3Response

from drills.sandbox.aws.corrections import guard
from drills.sandbox.aws.errors import ApiError
from drills.sandbox.aws.owners import bucket_account
from drills.sandbox.aws.state import PARTITION
from drills.sandbox.aws.stubs import StubRequest, stub


def _backend(request: StubRequest) -> Any:
    return s3_backends[bucket_account(request.params["Bucket"]) or request.account][PARTITION]


def _bucket(request: StubRequest) -> Any:
    return _backend(request).buckets.get(request.params["Bucket"])


def _object(request: StubRequest) -> Any:
    if _bucket(request) is None:
        raise ApiError("NoSuchBucket", "The specified bucket does not exist", 404)
    key = _backend(request).get_object(request.params["Bucket"], request.params["Key"], request.params.get("VersionId"))
    if key is None:
        code = "NoSuchVersion" if request.params.get("VersionId") else "NoSuchKey"
        raise ApiError(code, "The specified key does not exist.", 404)
    return key


def _moment(value: datetime | str) -> datetime:
    parsed = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _lock_missing() -> ApiError:
    return ApiError("InvalidRequest", "Bucket is missing Object Lock Configuration", 400)


@guard("s3", "PutObjectRetention", "PutObjectLegalHold", "GetObjectRetention", "GetObjectLegalHold")
def bucket_can_lock(request: StubRequest) -> None:
    """Refuse object locks in a bucket without Object Lock."""
    bucket = _bucket(request)
    if bucket is not None and not bucket.object_lock_enabled:
        raise _lock_missing()


@guard("s3", "PutObjectRetention")
def retention_only_grows(request: StubRequest) -> None:
    """Refuse to weaken a retention: never in compliance mode, in governance mode only with the bypass."""
    key, asked = _object(request), request.params.get("Retention") or {}
    until = asked.get("RetainUntilDate")
    if until is not None and _moment(until) <= datetime.now(UTC):
        raise ApiError("InvalidArgument", "The retain until date must be in the future!", 400)
    if not key.lock_mode or not key.lock_until or _moment(key.lock_until) <= datetime.now(UTC):
        return
    weaker = asked.get("Mode") != key.lock_mode or until is None or _moment(until) < _moment(key.lock_until)
    strengthens = key.lock_mode == "GOVERNANCE" and asked.get("Mode") == "COMPLIANCE"
    shorter = until is None or _moment(until) < _moment(key.lock_until)
    if weaker and not (strengthens and not shorter) and not _bypassed(request, key):
        message = "Access Denied because object protected by object lock."
        raise ApiError("AccessDenied", message, 403)


def _bypassed(request: StubRequest, key: Any) -> bool:
    """Tell whether governance mode is bypassed; the permission for it was checked with the call."""
    asked = request.headers.get("x-amz-bypass-governance-retention", "").lower() == "true"
    return asked and bool(key.lock_mode == "GOVERNANCE")


@guard("s3", "PutBucketVersioning")
def versioning_stays(request: StubRequest) -> None:
    """Refuse to suspend versioning while Object Lock needs it."""
    bucket = _bucket(request)
    status = (request.params.get("VersioningConfiguration") or {}).get("Status")
    if bucket is not None and bucket.object_lock_enabled and status != "Enabled":
        message = (
            "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed."
        )
        raise ApiError("InvalidBucketState", message, 409)


@guard("s3", "PutObjectLockConfiguration")
def lock_stays(request: StubRequest) -> None:
    """Refuse to switch Object Lock off, or on without versioning."""
    bucket = _bucket(request)
    enabled = (request.params.get("ObjectLockConfiguration") or {}).get("ObjectLockEnabled") == "Enabled"
    if bucket is not None and (not enabled or not bucket.is_versioned):
        message = "Object Lock configuration cannot be enabled on existing buckets without versioning, nor be disabled"
        raise ApiError("InvalidBucketState", message, 409)


@stub("s3", "GetObjectRetention")
def get_object_retention(request: StubRequest) -> dict[str, Any]:
    """Return the retention of an object version."""
    key = _object(request)
    if not key.lock_mode or not key.lock_until:
        raise _not_configured()
    return {"Retention": {"Mode": key.lock_mode, "RetainUntilDate": _moment(key.lock_until)}}


@stub("s3", "GetObjectLegalHold")
def get_object_legal_hold(request: StubRequest) -> dict[str, Any]:
    """Return the legal hold of an object version."""
    key = _object(request)
    if not key.lock_legal_status:
        raise _not_configured()
    return {"LegalHold": {"Status": key.lock_legal_status}}


def _not_configured() -> ApiError:
    message = "The specified object does not have a ObjectLock configuration"
    return ApiError("NoSuchObjectLockConfiguration", message, 404)


_CHECKSUMS = {"x-amz-checksum-sha256": hashlib.sha256, "x-amz-checksum-sha1": hashlib.sha1}


def _check_digest(response: Any) -> None:
    for header, algorithm in _CHECKSUMS.items():
        claimed = response.headers.get(header)
        actual = base64.b64encode(algorithm(response.raw_body or b"").digest()).decode()
        if claimed and claimed != actual:
            message = f"Value for {header} header is invalid."
            raise ApiError("InvalidRequest", message, 400)


_put_object = S3Response.put_object


def _checked_put(response: Any) -> Any:
    _check_digest(response)
    return _put_object(response)


def apply() -> None:
    """Check the checksums that clients send; moto stores them unchecked."""
    S3Response.put_object = _checked_put  # type: ignore[method-assign,assignment]
