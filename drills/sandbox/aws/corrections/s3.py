"""Enforce Object Lock where moto does not.

Source: Amazon S3 user guide, "Locking objects with Object Lock" and "Object Lock considerations".
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable, Iterator, Mapping
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
    key = _backend(request).get_object(
        request.params["Bucket"], request.params["Key"], request.params.get("VersionId")
    )
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


@guard("s3", "PutObject", "CopyObject", "CreateMultipartUpload")
def bucket_can_lock_new_objects(request: StubRequest) -> None:
    """Refuse new objects that ask for a lock in a bucket without Object Lock."""
    if any(name.startswith("ObjectLock") for name in request.params):
        bucket_can_lock(request)


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
            "An Object Lock configuration is present on this bucket: the versioning state cannot change."
        )
        raise ApiError("InvalidBucketState", message, 409)


@guard("s3", "PutObjectLockConfiguration")
def lock_stays(request: StubRequest) -> None:
    """Refuse to switch Object Lock off, or on without versioning."""
    bucket = _bucket(request)
    enabled = (request.params.get("ObjectLockConfiguration") or {}).get("ObjectLockEnabled") == "Enabled"
    if bucket is not None and (not enabled or not bucket.is_versioned):
        message = "Object Lock cannot be enabled on a bucket without versioning, nor be disabled."
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


_CHECKSUMS: Mapping[str, Callable[[bytes], bytes]] = {
    "CRC32": lambda body: zlib.crc32(body).to_bytes(4, "big"),
    "SHA1": lambda body: hashlib.sha1(body).digest(),  # noqa: S324 - one of the checksums S3 offers
    "SHA256": lambda body: hashlib.sha256(body).digest(),
}


@guard("s3", "PutObject", "UploadPart")
def checksum_right(request: StubRequest) -> None:
    """Refuse a body that does not have the checksum sent with it; moto stores both unchecked."""
    body = request.params.get("Body") or b""
    content = body.encode() if isinstance(body, str) else body
    for name, compute in _CHECKSUMS.items():
        claimed = request.headers.get(f"x-amz-checksum-{name.lower()}")
        if claimed and claimed != base64.b64encode(compute(content)).decode():
            message = f"Value for x-amz-checksum-{name.lower()} header is invalid."
            raise ApiError("BadDigest", message, 400)


def apply() -> None:
    """Let moto see the headers it wrongly insists on."""
    put: Any = S3Response._key_response_put

    def put_with_headers(self: Any, query: Any, key_name: str) -> Any:
        for header, value in _implied_headers(self.headers):
            self.normalized_request.environ.setdefault(header, value)
        return put(self, query, key_name)

    setattr(S3Response, "_key_response_put", put_with_headers)  # noqa: B010 - mypy forbids assigning methods


def _implied_headers(headers: Any) -> Iterator[tuple[str, str]]:
    if "x-amz-copy-source" in headers:
        yield "HTTP_CONTENT_MD5", "copied by S3"  # moto wants a checksum of a body that a copy does not have
    for name in _CHECKSUMS:
        if f"x-amz-checksum-{name.lower()}" in headers:
            yield "HTTP_X_AMZ_SDK_CHECKSUM_ALGORITHM", name  # a given checksum names its algorithm
