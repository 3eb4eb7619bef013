"""Lock objects that arrive in parts: moto forgets the lock asked for when the upload began.

Source: Amazon S3 API reference, CreateMultipartUpload, x-amz-object-lock-*.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from moto.s3.models import S3Backend

from drills.sandbox.aws.corrections import guard
from drills.sandbox.aws.stubs import StubRequest

# Guards and moto run under one lock, so the request that a new upload belongs to is the last one seen.
_asked: dict[str, Any] = {}


@guard("s3", "CreateMultipartUpload")
def remember_lock(request: StubRequest) -> None:
    """Keep what the request asks for until moto makes the upload."""
    _asked.clear()
    _asked.update(request.params)


def apply() -> None:
    """Carry the lock from the upload's start to the object at its end."""
    create: Any = S3Backend.create_multipart_upload
    complete: Any = S3Backend.complete_multipart_upload

    def create_with_lock(self: S3Backend, *args: Any, **kwargs: Any) -> Any:
        upload = create(self, *args, **kwargs)
        upload.asked_lock = dict(_asked)
        return upload

    def complete_with_lock(self: S3Backend, bucket_name: str, multipart_id: str, body: Any) -> Any:
        upload: Any = self.get_bucket(bucket_name).multiparts.get(multipart_id)
        key = complete(self, bucket_name, multipart_id, body)
        if key is not None:
            _lock(key, self.get_bucket(bucket_name), getattr(upload, "asked_lock", {}))
        return key

    setattr(S3Backend, "create_multipart_upload", create_with_lock)  # noqa: B010 - mypy forbids assigning methods
    setattr(S3Backend, "complete_multipart_upload", complete_with_lock)  # noqa: B010 - same


def _lock(key: Any, bucket: Any, asked: dict[str, Any]) -> None:
    if bucket.object_lock_enabled and bucket.has_default_lock:
        key.lock_mode, key.lock_until = bucket.default_lock_mode, bucket.default_retention()
    if asked.get("ObjectLockMode"):
        key.lock_mode = asked["ObjectLockMode"]
        key.lock_until = _text(asked.get("ObjectLockRetainUntilDate"))
    if asked.get("ObjectLockLegalHoldStatus"):
        key.lock_legal_status = asked["ObjectLockLegalHoldStatus"]


def _text(until: object) -> str | None:
    if isinstance(until, datetime):
        return until.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return str(until) if until else None
