"""Hash objects in S3 by streaming them; memory stays flat."""

from __future__ import annotations

from contextlib import closing
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from firebreak.measure import Progress
from firebreak.model import JsonObject
from providers.aws.answers import translated
from providers.aws.session import AwsAccess

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

_CHUNK = 1024 * 1024
_REPORT_EVERY = 64 * _CHUNK


def hash_object(
    access: AwsAccess, bucket: str, key: str, progress: Progress, *, version_id: str = ""
) -> JsonObject:
    """Read one version to its end; returns its version id, size and SHA-256."""
    pinned: dict[str, Any] = {"VersionId": version_id} if version_id and version_id != "null" else {}
    digest, size, reported = sha256(), 0, 0
    with translated(f"arn:aws:s3:::{bucket}/{key}"):
        s3: S3Client = access.client("s3")
        answer = s3.get_object(Bucket=bucket, Key=key, **pinned)
        with closing(answer["Body"]) as body:
            for chunk in body.iter_chunks(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
                if size - reported >= _REPORT_EVERY:
                    progress.report({"hashing": key, "bytes": size})
                    reported = size
    return {"version_id": answer.get("VersionId", "null"), "size": size, "sha256": digest.hexdigest()}


def split_s3_arn(arn: str) -> tuple[str, str]:
    """Split an object's ARN into bucket and key."""
    bucket, _, key = arn.partition(":::")[2].partition("/")
    return bucket, key


def split_s3_uri(uri: str) -> tuple[str, str]:
    """Split ``s3://bucket/key`` into bucket and key."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key
