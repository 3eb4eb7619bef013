"""An object of ours under the same freeze: what cannot be done to it cannot be done to its neighbours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from providers.aws.answers import DENIED_CODES, error_code

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

_BODY = b"Firebreak tests its freeze on this object. It is removed on release.\n"
_CONTROLS = "firebreak-controls"
CONTROLLED = "put,delete"
"""What the canary remembers once every attempt has worked."""


@dataclass(frozen=True)
class Canary:
    """One canary object of one bucket; its metadata says which attempts worked before the freeze."""

    client: Callable[[], S3Client]
    bucket: str
    folder: str

    @property
    def key(self) -> str:
        """Where it lies."""
        return f"{self.folder}/canary"

    def place(self, *, object_lock: bool) -> None:
        """Write it, hide it and delete the marker, as the controls of all attempts; then write it to stay.

        A marker is never locked, so this works under a bucket's default retention as well.
        """
        self._put("")
        self.delete_version(self.delete())
        version = self._put(CONTROLLED)
        if object_lock:
            self._hold(version, "ON")

    def look(self) -> tuple[str, str]:
        """Its newest version and its controls, delete markers aside; empty when it was never placed."""
        answer = self.client().list_object_versions(Bucket=self.bucket, Prefix=self.key)
        versions = [each["VersionId"] for each in answer.get("Versions", [])]
        if not versions:
            return "null", ""
        pinned: dict[str, Any] = {"VersionId": versions[0]} if versions[0] != "null" else {}
        head = self.client().head_object(Bucket=self.bucket, Key=self.key, **pinned)
        return versions[0], head["Metadata"].get(_CONTROLS, "")

    def overwrite(self) -> None:
        """Try to write it again."""
        self._put(CONTROLLED)

    def delete(self) -> str:
        """Try to delete it; returns the version id of the marker that hides it in a versioned bucket."""
        return str(self.client().delete_object(Bucket=self.bucket, Key=self.key).get("VersionId", "null"))

    def delete_version(self, version: str) -> None:
        """Try to delete one version for good."""
        self.client().delete_object(Bucket=self.bucket, Key=self.key, VersionId=version)

    def remove(self, *, object_lock: bool) -> bool:
        """Delete every version; True when the bucket's own retention keeps one."""
        left = False
        answer = self.client().list_object_versions(Bucket=self.bucket, Prefix=self.key)
        for each in answer.get("Versions", []):
            if object_lock:
                self._hold(each["VersionId"], "OFF")
            left |= not self._deleted(each["VersionId"])
        for marker in answer.get("DeleteMarkers", []):
            self.delete_version(marker["VersionId"])
        return left

    def _deleted(self, version: str) -> bool:
        try:
            self.delete_version(version)
        except ClientError as error:
            if error_code(error) in DENIED_CODES:
                return False  # reported by the caller: the bucket's default retention holds it
            raise
        return True

    def _put(self, controls: str) -> str:
        answer = self.client().put_object(
            Bucket=self.bucket,
            Key=self.key,
            Body=_BODY,
            Metadata={_CONTROLS: controls},
            ChecksumAlgorithm="SHA256",  # S3 wants a checksum where a default retention applies
        )
        return str(answer.get("VersionId", "null"))

    def _hold(self, version: str, status: Any) -> None:
        self.client().put_object_legal_hold(
            Bucket=self.bucket, Key=self.key, VersionId=version, LegalHold={"Status": status}
        )
