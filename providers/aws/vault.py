"""Keep evidence in S3 under Object Lock, in an account that the workload cannot reach.

The bucket needs versioning and Object Lock enabled, and no default retention: every object carries its
own retention, and short-lived secrets must carry none (S3 user guide, "Locking objects with Object Lock").
"""

from __future__ import annotations

import os
import re
import threading
from base64 import b64encode
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import uuid4

import botocore.session
from botocore.exceptions import BotoCoreError, ClientError

from firebreak.errors import EvidenceError, PermanentCloudError, SettingsError
from firebreak.evidence.streaming import Tally, cut
from firebreak.measure import now
from firebreak.model import Cloud
from firebreak.settings import Settings
from firebreak.versioned import HIDDEN, Refusal, VersionedVault
from providers.aws.answers import DENIED_CODES, error_code, status_of, translated
from providers.aws.sealing import seal, seal_key_arn, unseal
from providers.aws.session import role_client

if TYPE_CHECKING:
    from types_boto3_kms import KMSClient
    from types_boto3_s3 import S3Client

PART_BYTES = 8 * 1024 * 1024
"""One part of a multipart upload; S3 takes 10,000 of them, so 78 GiB (S3 user guide, "Multipart limits")."""
READ_BYTES = 1024 * 1024

STORE_ACTIONS = (
    "s3:GetBucketObjectLockConfiguration",
    "s3:GetBucketVersioning",
    "s3:ListBucket",
    "s3:ListBucketVersions",
)
"""What the evidence role needs on the bucket; the first two are for ``doctor``."""
OBJECT_ACTIONS = (
    "s3:PutObject",
    "s3:PutObjectRetention",
    "s3:GetObject",
    "s3:GetObjectVersion",
    "s3:GetObjectRetention",
    "s3:DeleteObjectVersion",
    "s3:AbortMultipartUpload",
)
"""What it needs on the store's objects. ``DeleteObjectVersion`` makes the refusal of a delete a proof; never
grant ``s3:BypassGovernanceRetention``."""

_STORE = re.compile(r"^s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>[\w!.*'()/-]*))?$")
_CANARY = ".canary/"
_GONE = frozenset({"NoSuchKey", "NoSuchVersion", "404"})


class S3Vault(VersionedVault):
    """An evidence store under one prefix of one bucket."""

    internal: ClassVar[tuple[str, ...]] = (HIDDEN, _CANARY)
    to_lock = "enable Object Lock on the bucket; grant s3:PutObjectRetention, s3:GetObjectRetention"

    def __init__(self, bucket: str, prefix: str, settings: Settings) -> None:
        super().__init__(f"s3://{bucket}", prefix)
        self.bucket = bucket
        self._settings = settings.evidence_of(Cloud.AWS)
        self._control_lock = threading.Lock()
        self._may_delete = False

    @classmethod
    def open(cls, settings: Settings) -> S3Vault:
        """Open the store of the settings, without a call; raises SettingsError when its uri is not S3's."""
        store = settings.evidence_of(Cloud.AWS).store
        match = _STORE.match(store)
        if not match:
            raise SettingsError(
                f"FIREBREAK_EVIDENCE__STORE {store!r} is not an S3 store",
                remedy="use s3://BUCKET/PREFIX",
            )
        prefix = (match["prefix"] or "").strip("/")
        return cls(match["bucket"], f"{prefix}/" if prefix else "", settings)

    def hide(self, key: str, secret: bytes) -> None:
        """Keep a short-lived secret, encrypted under the seal key and unlocked, until ``forget``."""
        name = self._hidden(key)
        with translated(self._uri(name)):
            sealed = seal(self._kms(), self._seal_key(), key, secret)
            version = self._put_unlocked(name, sealed)
            if self._read_lock(name, version) is not None:
                raise EvidenceError(
                    "the bucket's default retention locked a secret that must be deletable",
                    resource=self.bucket,
                    remedy="remove the default retention: every exhibit is locked on its own",
                )

    def forget(self, prefix: str) -> None:
        """Delete every version of every hidden secret below a folder; harmless when there is none."""
        for name, version in list(self._versions(self._hidden_folder(prefix), markers=True)):
            with translated(self._uri(name)):
                self._s3().delete_object(Bucket=self.bucket, Key=name, VersionId=version)

    def check(self) -> tuple[str, ...]:
        """Name what is wrong with the bucket's versioning, lock and default retention. Read-only."""
        with translated(self.home):
            versioning = self._s3().get_bucket_versioning(Bucket=self.bucket).get("Status")
            lock = self._lock_configuration()
        problems = []
        if versioning != "Enabled":
            problems.append("versioning is not enabled")
        if lock.get("ObjectLockEnabled") != "Enabled":
            problems.append("Object Lock is not enabled")
        default = lock.get("Rule", {}).get("DefaultRetention")
        if default:
            period = f"{default['Days']} days" if default.get("Days") else f"{default['Years']} years"
            problems.append(f"a default retention of {period} would lock the secrets that must be deletable")
        return tuple(problems)

    # clients

    def _s3(self) -> S3Client:
        client: S3Client = evidence_client(self._settings.access, "s3")
        return client

    def _kms(self) -> KMSClient:
        region = self._seal_key().split(":")[3]
        client: KMSClient = evidence_client(self._settings.access, "kms", region)
        return client

    def _seal_key(self) -> str:
        return seal_key_arn(self._settings.seal_key)

    def _unseal(self, key: str, sealed: bytes) -> bytes:
        return unseal(self._kms(), self._seal_key(), key, sealed)

    # objects

    def _translated(self, uri: str) -> AbstractContextManager[None]:
        return translated(uri)

    def _write(self, name: str, body: bytes | Iterable[bytes], tally: Tally, media_type: str) -> str:
        parts = cut(body, PART_BYTES)
        first, is_whole = next(parts)
        if is_whole:
            return self._put_whole(name, tally.add(first), media_type)
        return self._put_parts(name, chain((first,), (p for p, _ in parts)), tally, media_type)

    def _lock(self) -> dict[str, Any]:
        until = now() + timedelta(days=self._settings.retention_days)
        return {"ObjectLockMode": self._settings.retention_mode, "ObjectLockRetainUntilDate": until}

    def _lock_configuration(self) -> Any:
        try:
            return self._s3().get_object_lock_configuration(Bucket=self.bucket)["ObjectLockConfiguration"]
        except ClientError as error:
            if error_code(error) != "ObjectLockConfigurationNotFoundError":
                raise
            return {}  # a bucket without Object Lock answers so (S3 API reference)

    def _put_whole(self, name: str, body: bytes, media_type: str) -> str:
        # S3 refuses lock parameters unless a checksum of the body comes with them (PutObject reference).
        answer = self._s3().put_object(
            Bucket=self.bucket,
            Key=name,
            Body=body,
            ContentType=media_type,
            ChecksumAlgorithm="SHA256",
            ChecksumSHA256=b64encode(sha256(body).digest()).decode(),
            **self._lock(),
        )
        return self._version(answer, name)

    def _put_unlocked(self, name: str, body: bytes) -> str:
        answer = self._s3().put_object(
            Bucket=self.bucket,
            Key=name,
            Body=body,
            ChecksumAlgorithm="SHA256",
            ChecksumSHA256=b64encode(sha256(body).digest()).decode(),
        )
        return self._version(answer, name)

    def _put_parts(self, name: str, parts: Iterator[bytes], tally: Tally, media_type: str) -> str:
        place: dict[str, Any] = {"Bucket": self.bucket, "Key": name}
        upload = self._s3().create_multipart_upload(
            **place, ContentType=media_type, ChecksumAlgorithm="SHA256", **self._lock()
        )["UploadId"]
        try:
            sent = [self._put_part(name, upload, n, tally.add(part)) for n, part in enumerate(parts, 1)]
            answer = self._s3().complete_multipart_upload(
                **place, UploadId=upload, MultipartUpload={"Parts": sent}
            )
        except BaseException:
            self._s3().abort_multipart_upload(**place, UploadId=upload)
            raise
        return self._version(answer, name)

    def _put_part(self, name: str, upload: str, number: int, body: bytes) -> Any:
        # The body's source may have bound this thread to another session, so the client is asked for anew.
        checksum = b64encode(sha256(body).digest()).decode()
        answer = self._s3().upload_part(
            Bucket=self.bucket,
            Key=name,
            UploadId=upload,
            PartNumber=number,
            Body=body,
            ChecksumAlgorithm="SHA256",
            ChecksumSHA256=checksum,
        )
        return {"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": checksum}

    def _version(self, answer: Any, name: str) -> str:
        version = answer.get("VersionId", "")
        if not version or version == "null":
            raise EvidenceError(
                "the evidence bucket keeps no versions",
                resource=self._uri(name),
                remedy="create the bucket with Object Lock enabled",
            )
        return str(version)

    def _read_lock(self, name: str, version: str) -> datetime | None:
        head = self._s3().head_object(Bucket=self.bucket, Key=name, VersionId=version)
        until = head.get("ObjectLockRetainUntilDate")
        if until is None or head.get("ObjectLockMode") not in {self._settings.retention_mode, "COMPLIANCE"}:
            return None
        return until.astimezone(UTC)

    def _stream(self, name: str, version: str | None) -> Iterator[bytes]:
        pinned: dict[str, Any] = {"VersionId": version} if version else {}
        with translated(self._uri(name)):
            try:
                body = self._s3().get_object(Bucket=self.bucket, Key=name, **pinned)["Body"]
            except ClientError as error:
                if error_code(error) not in _GONE:
                    raise
                raise self._gone(name) from error
            with closing(body):
                yield from body.iter_chunks(READ_BYTES)

    def _names(self, start: str) -> Iterator[str]:
        return (name for name, _ in self._versions(start))

    def _newest(self, name: str) -> str | None:
        return next((version for each, version in self._versions(name) if each == name), None)

    def _versions(self, start: str, *, markers: bool = False) -> Iterator[tuple[str, str]]:
        """Names and version ids below a start, by name, the newest first."""
        pages = self._s3().get_paginator("list_object_versions").paginate(Bucket=self.bucket, Prefix=start)
        iterator = iter(pages)
        while True:
            self._s3()  # binds the thread to the evidence session again before the next page
            with translated(self._uri(start)):
                page = next(iterator, None)
            if page is None:
                return
            yield from ((v["Key"], v["VersionId"]) for v in page.get("Versions", ()))
            if markers:
                yield from ((m["Key"], m["VersionId"]) for m in page.get("DeleteMarkers", ()))

    # proof

    def _prove_may_delete(self) -> None:
        """Delete an unlocked version once, as the same role, so that the refusal of another is the lock's."""
        with self._control_lock:
            if self._may_delete:
                return
            name = f"{self.prefix}{_CANARY}{uuid4()}"
            version = self._put_unlocked(name, b"firebreak: control of the lock proof")
            try:
                self._s3().delete_object(Bucket=self.bucket, Key=name, VersionId=version)
            except ClientError as error:
                if error_code(error) in DENIED_CODES:
                    raise PermanentCloudError(
                        "the evidence role may not delete even an unlocked version: refusals prove nothing",
                        resource=self._uri(name),
                        remedy="grant s3:DeleteObjectVersion and keep the bucket without default retention",
                    ) from error
                raise
            self._may_delete = True

    def _try_delete(self, name: str, version: str) -> Refusal | None:
        try:
            self._s3().delete_object(Bucket=self.bucket, Key=name, VersionId=version)
        except ClientError as error:
            code = error_code(error)
            return Refusal(
                f"{code} ({status_of(error)}) to delete a version",
                by_lock=code in DENIED_CODES,
                request_id=str(error.response.get("ResponseMetadata", {}).get("RequestId", "")),
            )
        except BotoCoreError as error:
            return Refusal(type(error).__name__, by_lock=False)
        return None


def evidence_client(access: dict[str, str], service: str, region: str = "") -> Any:
    """Return a client of the evidence account, as its role where the settings name one."""
    return role_client(
        service,
        region or access.get("region", "") or _sdk_region(),
        arn=access.get("role_arn", ""),
        external_id=access.get("external_id", ""),
    )


@lru_cache(maxsize=1)
def _sdk_region() -> str:
    region = botocore.session.get_session().get_config_variable("region") or os.environ.get("AWS_REGION")
    if not region:
        raise SettingsError(
            "no region for the evidence store", remedy="set FIREBREAK_EVIDENCE__ACCESS region"
        )
    return str(region)
