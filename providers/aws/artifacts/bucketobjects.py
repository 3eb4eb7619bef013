"""Read, hold and hash the workload's objects in a bucket: declared ones, and those in declared folders."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import ClientError

from firebreak.declarations import of_kind
from firebreak.errors import AbsentError
from firebreak.measure import Context
from firebreak.model import JsonObject
from firebreak.parallel import each_of
from providers.aws.answers import status_of, translated
from providers.aws.artifacts.hashing import hash_object, split_s3_arn
from providers.aws.resources import S3Object, S3Prefix
from providers.aws.session import AwsAccess

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

HOLD_LIMIT = 1000
"""Objects of one bucket that are held and hashed one by one; a folder with more is frozen by the policy."""
OURS = ".firebreak"
"""Folder of the canaries, of this and of other workloads."""


@dataclass(frozen=True)
class BucketObjects:
    """The workload's objects in one bucket; a record of one has its key, version, ETag, hold and size."""

    context: Context[AwsAccess]
    ref: str
    """The bucket's ARN."""

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return split_s3_arn(self.ref)[0]

    def refs(self, kind: type[S3Object | S3Prefix]) -> list[str]:
        """The ARNs that the inventory declares in this bucket."""
        workload = self.context.run.workload
        mine = of_kind((*workload.artifacts, *workload.stores), kind)
        return [each.ref for each in mine if each.ref.partition("/")[0] == self.ref]

    def declared_keys(self) -> list[str]:
        """The keys of the declared objects."""
        return [split_s3_arn(each)[1] for each in self.refs(S3Object)]

    def folders(self) -> list[str]:
        """The prefixes of the declared folders."""
        return [split_s3_arn(each)[1] for each in self.refs(S3Prefix)]

    def keys(self) -> tuple[list[str], list[str]]:
        """The key of every object, and the folders that have too many of them."""
        keys, large = self.declared_keys(), list[str]()
        for folder in self.folders():
            inside = self._keys_below(folder, HOLD_LIMIT - len(keys))
            if inside is None:
                large.append(folder)
            else:
                keys += inside
        return sorted(set(keys)), large

    def current(self) -> tuple[list[JsonObject], list[str]]:
        """The current version of every object, and the folders that have too many of them."""
        keys, large = self.keys()
        return each_of(self.look, keys), large

    def held(self) -> list[JsonObject]:
        """The current versions that are held; a deleted object has none, and then nothing to release."""
        return [each for key in self.keys()[0] for each in self._present(key) if each["held"]]

    def look(self, key: str, version: str = "") -> JsonObject:
        """One version's hold and identity; the current version when none is named."""
        pinned: dict[str, Any] = {"VersionId": version} if version and version != "null" else {}
        with translated(f"{self.ref}/{key}"):
            try:
                head = self._s3().head_object(Bucket=self.bucket, Key=key, **pinned)
            except ClientError as error:
                if status_of(error) != 404:  # noqa: PLR2004 - HEAD has no body, so no error code
                    raise
                raise AbsentError(
                    "the declared artifact does not exist",
                    resource=f"{self.ref}/{key}",
                    remedy="correct the inventory, or restore the object",
                ) from error
        return {
            "key": key,
            "version_id": head.get("VersionId", "null"),
            "etag": head["ETag"],
            "size": head["ContentLength"],
            "held": head.get("ObjectLockLegalHoldStatus") == "ON",
            "encrypted_by": head.get("SSEKMSKeyId", ""),
        }

    def look_again(self, records: Iterable[JsonObject]) -> list[JsonObject]:
        """The very versions that were recorded, as they are now."""
        return each_of(lambda each: self.look(each["key"], each["version_id"]), records)

    def hold(self, records: Iterable[JsonObject], status: Literal["ON", "OFF"]) -> None:
        """Set or release the legal hold of each version."""
        each_of(partial(self._hold, status=status), records)

    def hashed(self, record: JsonObject) -> JsonObject:
        """A version's identity with the size and SHA-256 of its bytes."""
        digest = hash_object(
            self.context.access,
            self.bucket,
            record["key"],
            self.context.progress,
            version_id=record["version_id"],
        )
        return {name: record[name] for name in ("key", "version_id", "etag")} | digest

    def require_readable(self, records: Iterable[JsonObject]) -> None:
        """Read a byte under each customer's key: what its own policy says, no simulation tells."""
        under = {
            each["encrypted_by"]: each["key"] for each in records if each["encrypted_by"] and each["size"]
        }
        for key in under.values():
            with translated(f"{self.ref}/{key}"):
                self._s3().get_object(Bucket=self.bucket, Key=key, Range="bytes=0-0")["Body"].close()

    def _s3(self) -> S3Client:
        return self.context.access.client("s3")

    def _keys_below(self, folder: str, limit: int) -> list[str] | None:
        """The keys of a folder, or None when there are more than the limit."""
        keys: list[str] = []
        pages = self._s3().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=folder)
        with translated(f"{self.ref}/{folder}"):
            for page in pages:
                keys += [each["Key"] for each in page.get("Contents", [])]
                if len(keys) > limit:
                    return None
        return [key for key in keys if not key.startswith(f"{OURS}/")]

    def _present(self, key: str) -> list[JsonObject]:
        try:
            return [self.look(key)]
        except AbsentError:
            return []

    def _hold(self, record: JsonObject, *, status: Literal["ON", "OFF"]) -> None:
        with translated(f"{self.ref}/{record['key']}"):
            self._s3().put_object_legal_hold(
                Bucket=self.bucket,
                Key=record["key"],
                VersionId=record["version_id"],
                LegalHold={"Status": status},
            )
