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

    @property
    def trial(self) -> str:
        """Its neighbour, on which everything is tried first.

        The canary itself is only written once that has worked: an execution of the same step that comes
        late leaves nothing there that remembers less.
        """
        return f"{self.folder}/trial"

    def place(self, *, object_lock: bool) -> None:
        """Write, hide and unhide the trial, as the controls of all attempts; then write the canary to stay.

        A marker is never locked, so this works under a bucket's default retention as well.
        """
        self._put(self.trial)
        self._delete(self.trial, self._hide(self.trial))
        version = self._put(self.key)
        if object_lock:
            self._hold(self.key, version, "ON")

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
        self._put(self.key)

    def delete(self) -> str:
        """Try to delete it; returns the version id of the marker that hides it in a versioned bucket."""
        return self._hide(self.key)

    def delete_version(self, version: str) -> None:
        """Try to delete one version for good."""
        self._delete(self.key, version)

    def remove(self, *, object_lock: bool) -> bool:
        """Delete every version of both objects; True when the bucket's own retention keeps one."""
        left = False
        answer = self.client().list_object_versions(Bucket=self.bucket, Prefix=f"{self.folder}/")
        for each in answer.get("Versions", []):
            if object_lock:
                self._hold(each["Key"], each["VersionId"], "OFF")
            left |= not self._deleted(each["Key"], each["VersionId"])
        for marker in answer.get("DeleteMarkers", []):
            self._delete(marker["Key"], marker["VersionId"])
        return left

    def _deleted(self, key: str, version: str) -> bool:
        try:
            self._delete(key, version)
        except ClientError as error:
            if error_code(error) in DENIED_CODES:
                return False  # reported by the caller: the bucket's default retention holds it
            raise
        return True

    def _hide(self, key: str) -> str:
        return str(self.client().delete_object(Bucket=self.bucket, Key=key).get("VersionId", "null"))

    def _delete(self, key: str, version: str) -> None:
        self.client().delete_object(Bucket=self.bucket, Key=key, VersionId=version)

    def _put(self, key: str) -> str:
        answer = self.client().put_object(
            Bucket=self.bucket,
            Key=key,
            Body=_BODY,
            Metadata={_CONTROLS: CONTROLLED},
            ChecksumAlgorithm="SHA256",  # S3 wants a checksum where a default retention applies
        )
        return str(answer.get("VersionId", "null"))

    def _hold(self, key: str, version: str, status: Any) -> None:
        self.client().put_object_legal_hold(
            Bucket=self.bucket, Key=key, VersionId=version, LegalHold={"Status": status}
        )
