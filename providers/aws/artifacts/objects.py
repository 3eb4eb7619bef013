"""Freeze objects in S3: a bucket policy denies every change, and Object Lock holds each version.

One target per bucket, because a bucket has one policy and S3 offers no conditional way to write it. Where
the bucket has no Object Lock the policy is the freeze: the lock can be switched on but never off again
(S3 user guide, "Object Lock considerations"), so containment does not do it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import ClientError

from firebreak.declarations import of_kind
from firebreak.errors import AbsentError, PermanentCloudError
from firebreak.frozen import REHASH_LIMIT, custody_of, unchanged
from firebreak.measure import found, on_target
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target, Workload
from firebreak.parallel import each_of
from providers.aws.answers import DENIED_CODES, error_code, status_of, translated
from providers.aws.artifacts.canary import CONTROLLED, Canary
from providers.aws.artifacts.freeze import (
    SID,
    deny,
    exclusive,
    frozen_by_another,
    has_any_statement,
    has_statements,
    refused,
    restore_policy,
    sid_of,
    with_statements,
)
from providers.aws.artifacts.hashing import hash_object, split_s3_arn
from providers.aws.artifacts.lifecycle import Lifecycle
from providers.aws.keys import WRITE_KEYS
from providers.aws.permissions import responder_arns
from providers.aws.resources import S3Object, S3Prefix
from providers.aws.session import AwsMeasure

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

HOLD_LIMIT = 1000
"""Objects of one bucket that are held and hashed one by one; a folder with more is frozen by the policy."""
_OURS = ".firebreak"
"""Folder of the canaries, of this and of other workloads."""
_POLICY_LIMIT = 20 * 1024  # S3 user guide, "Bucket policies"

# Service authorization reference, Amazon S3: the actions that change an object or a version of it.
_WRITES = (
    "s3:DeleteObject",
    "s3:DeleteObjectTagging",
    "s3:DeleteObjectVersion",
    "s3:DeleteObjectVersionTagging",
    "s3:PutObject",
    "s3:PutObjectAcl",
    "s3:PutObjectTagging",
    "s3:PutObjectVersionAcl",
    "s3:PutObjectVersionTagging",
    "s3:ReplicateDelete",
    "s3:ReplicateObject",
)
_HOLDS = ("s3:BypassGovernanceRetention", "s3:PutObjectLegalHold", "s3:PutObjectRetention")
_BUCKET = (
    "s3:DeleteBucket",
    "s3:DeleteBucketPolicy",
    "s3:PutBucketObjectLockConfiguration",
    "s3:PutBucketPolicy",
    "s3:PutBucketVersioning",
    "s3:PutLifecycleConfiguration",
)
_ABSENT = {"ObjectLockConfigurationNotFoundError", "NoSuchBucketPolicy"}


class LockObjects(AwsMeasure, cloud=Cloud.AWS, phase=Phase.ARTIFACT_FREEZE, name="lock-objects"):
    """Put a legal hold on every declared object, deny all changes, and suspend rules that delete them.

    S3 follows a change of its rules after a small delay. Only the responder, and as always the root user
    of the account, can lift the bucket policy again.
    """

    permissions = (
        *on_target(
            "s3:GetBucketVersioning",
            "s3:GetEncryptionConfiguration",
            "s3:GetLifecycleConfiguration",
            "s3:PutLifecycleConfiguration",
            "s3:GetBucketObjectLockConfiguration",
            "s3:GetBucketPolicy",
            "s3:PutBucketPolicy",
            "s3:DeleteBucketPolicy",
            "s3:ListBucket",
            "s3:ListBucketVersions",
            "s3:GetObject",
            "s3:GetObjectVersion",
            "s3:GetObjectLegalHold",
            "s3:PutObjectLegalHold",
            "s3:PutObject",
            "s3:DeleteObject",
            "s3:DeleteObjectVersion",
        ),
        *WRITE_KEYS,
    )

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """One target per bucket that holds declared objects or folders."""
        refs = [each.ref for each in of_kind(workload.artifacts, S3Object)]
        refs += [each.ref for each in of_kind(workload.stores, S3Prefix)]
        return [
            Target(kind="s3-bucket", ref=bucket, account=workload.account, region=workload.region)
            for bucket in sorted({ref.partition("/")[0] for ref in refs})
        ]

    @classmethod
    def arns(cls, target: Target) -> tuple[str, ...]:
        """The bucket and its objects."""
        return (target.ref, f"{target.ref}/*")

    def snapshot(self, target: Target) -> JsonObject:
        """Read policy, lock and holds; raises PermanentCloudError when a declared object is not there."""
        bucket = _bucket(target)
        with translated(target.ref):
            lock = self._optional(partial(self._s3().get_object_lock_configuration, Bucket=bucket))
            versioning = self._s3().get_bucket_versioning(Bucket=bucket).get("Status", "")
        objects, folders = self._current(target)
        self._check_policy_size(target)
        self._check_keys(target, objects)
        configuration = lock.get("ObjectLockConfiguration", {})
        with translated(target.ref):
            rules = self._lifecycle(target).owners()
        return {
            "object_lock": configuration.get("ObjectLockEnabled") == "Enabled",
            "versioning": versioning,
            "policy": self._policy(target),
            "lifecycle": rules,
            "held": sorted([each["key"], each["version_id"]] for each in objects if each["held"]),
            "folders_by_policy_only": folders,
        }

    def apply(self, target: Target, state: State) -> Change:
        """Prove the canary while changes still work, deny them, then hold and hash every version."""
        before, canary = state.values, self._canary(target)
        frozen = has_statements(self._policy(target), self._statements(target))
        with translated(target.ref):
            if not frozen:
                self._place(target, canary, object_lock=before["object_lock"])
                self._deny_changes(target)
            suspended = self._lifecycle(target).suspend()
            version, controls = canary.look()
        if frozen_by_another(self._policy(target), sid_of(self.run)):
            controls = controls or CONTROLLED
        objects, folders = self._current(target)
        free = [each for each in objects if before["object_lock"] and not each["held"]]
        each_of(partial(self._hold, target, status="ON"), free)
        records = each_of(partial(self._hashed, target), objects)
        return self.done(
            target,
            state,
            changed=bool(free) or suspended or not frozen,
            sid=sid_of(self.run),
            object_lock=before["object_lock"],
            freeze="legal hold and bucket policy" if before["object_lock"] else "bucket policy",
            canary={"version_id": version, "controls": controls},
            folders_by_policy_only=folders,
            objects=records,
            artifacts=self._artifacts(target, records),
        )

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """Try to change the canary in three ways, and read holds, policy and objects back."""
        canary, version = self._canary(target), change.after["canary"]["version_id"]
        controlled = change.after["canary"]["controls"] == CONTROLLED
        denied = has_statements(self._policy(target), self._statements(target))
        how = change.after["freeze"]
        return (
            refused("overwrite the canary", canary.overwrite, controlled=controlled),
            refused("delete the canary", canary.delete, controlled=controlled),
            refused(
                "delete the canary's version", partial(canary.delete_version, version), controlled=controlled
            ),
            found(
                Method.CONFIGURATION,
                f"frozen by {how}; changes {'' if denied else 'NOT '}denied by the bucket policy",
                holds=denied,
            ),
            self._lifecycle(target).finding(),
            self._unchanged(target, change, REHASH_LIMIT),
        )

    def intact(self, target: Target, change: Change) -> Finding:
        """Hash every frozen object again, however large; holds are for ``verify`` to see."""
        return self._unchanged(target, change, None)

    def revert(self, change: Change) -> Finding:
        """Release the holds that were set here, restore the policy, and remove the canary."""
        target, before = change.target, change.before
        held_before = {tuple(each) for each in before["held"]}
        ours = [
            each for each in change.after["objects"] if (each["key"], each["version_id"]) not in held_before
        ]
        if change.after["object_lock"]:
            each_of(partial(self._hold, target, status="OFF"), ours)
        with translated(target.ref):
            resumed = self._lifecycle(target).restore()
            lifted = self._restore_policy(target, before["policy"], sid_of(self.run))
            left = self._canary(target).remove(object_lock=change.after["object_lock"])
        still = [each["key"] for each in each_of(partial(self._look, target), ours) if each["held"]]
        as_before = lifted and resumed and not still
        what = "holds, policy and lifecycle rules"
        return found(
            Method.CONFIGURATION,
            f"{what} are as before" if as_before else f"{what} are not all as before",
            holds=as_before,
            still_held=still,
            canary_left_under_default_retention=left,
        )

    def begun(self, target: Target, state: State) -> Change:
        """Every declared object that is held now; ``revert`` spares what was held before."""
        keys, _ = self._declared(target)
        held = [each for key in keys for each in self._present(target, key) if each["held"]]
        locked = state.values["object_lock"]
        return self.done(target, state, changed=True, object_lock=locked, objects=held)

    def _place(self, target: Target, canary: Canary, *, object_lock: bool) -> None:
        try:
            canary.place(object_lock=object_lock)
        except ClientError as error:
            if error_code(error) not in DENIED_CODES or not has_any_statement(self._policy(target), SID):
                raise  # not a freeze: of another workload, or by another execution of this step

    def _deny_changes(self, target: Target) -> None:
        with exclusive(target.ref):
            text = with_statements(self._policy(target), self._statements(target))
            self._s3().put_bucket_policy(Bucket=_bucket(target), Policy=text)

    def _restore_policy(self, target: Target, before: str | None, sid: str) -> bool:
        s3, bucket = self._s3(), _bucket(target)
        with exclusive(target.ref):
            return restore_policy(
                partial(self._policy, target),
                lambda text: s3.put_bucket_policy(Bucket=bucket, Policy=text),
                lambda: s3.delete_bucket_policy(Bucket=bucket),
                before=before,
                sid=sid,
            )

    def _s3(self) -> S3Client:
        return self.access.client("s3")

    def _lifecycle(self, target: Target) -> Lifecycle:
        keys = tuple(split_s3_arn(each)[1] for each in self._refs(target, S3Object))
        folders = tuple(split_s3_arn(each)[1] for each in self._refs(target, S3Prefix))
        return Lifecycle(self._s3, _bucket(target), sid_of(self.run), keys, folders)

    def _canary(self, target: Target) -> Canary:
        return Canary(self._s3, _bucket(target), f"{_OURS}/{sid_of(self.run)}")

    def _statements(self, target: Target) -> list[JsonObject]:
        sid, responder = sid_of(self.run), responder_arns(self.access)
        resources = sorted({_literal(each) for each in self._refs(target, S3Object)})
        resources += sorted({f"{_literal(each)}*" for each in self._refs(target, S3Prefix)})
        resources.append(f"{target.ref}/{self._canary(target).key}")
        return [
            deny(f"{sid}Writes", _WRITES, resources),
            deny(f"{sid}Holds", _HOLDS, resources, except_for=responder),
            deny(f"{sid}Bucket", _BUCKET, [target.ref], except_for=responder),
        ]

    def _check_policy_size(self, target: Target) -> None:
        policy = with_statements(self._policy(target), self._statements(target))
        if len(policy) > _POLICY_LIMIT:
            raise PermanentCloudError(
                f"the bucket policy would have {len(policy)} bytes; S3 takes {_POLICY_LIMIT}",
                resource=target.ref,
                remedy="declare folders as s3-prefix instead of many single objects",
            )

    def _check_keys(self, target: Target, objects: list[JsonObject]) -> None:
        """Read a byte under each customer's key: what its own policy says, no simulation tells."""
        under = {
            each["encrypted_by"]: each["key"] for each in objects if each["encrypted_by"] and each["size"]
        }
        for key in under.values():
            with translated(f"{target.ref}/{key}"):
                self._s3().get_object(Bucket=_bucket(target), Key=key, Range="bytes=0-0")["Body"].close()

    def _refs(self, target: Target, kind: type[S3Object | S3Prefix]) -> list[str]:
        mine = of_kind((*self.run.workload.artifacts, *self.run.workload.stores), kind)
        return [each.ref for each in mine if each.ref.partition("/")[0] == target.ref]

    def _optional(self, call: Any) -> dict[str, Any]:
        try:
            return dict(call())
        except ClientError as error:
            if error_code(error) in _ABSENT:
                return {}  # a bucket without this configuration is a usual case
            raise

    def _policy(self, target: Target) -> str | None:
        with translated(target.ref):
            return self._optional(partial(self._s3().get_bucket_policy, Bucket=_bucket(target))).get("Policy")

    def _current(self, target: Target) -> tuple[list[JsonObject], list[str]]:
        """The current version of every declared object, and the folders that have too many of them."""
        keys, large = self._declared(target)
        return each_of(partial(self._look, target), ({"key": key} for key in keys)), large

    def _declared(self, target: Target) -> tuple[list[str], list[str]]:
        """The key of every declared object, and the folders that have too many of them."""
        keys = [split_s3_arn(each)[1] for each in self._refs(target, S3Object)]
        large: list[str] = []
        for folder in (split_s3_arn(each)[1] for each in self._refs(target, S3Prefix)):
            inside = self._keys_below(target, folder, HOLD_LIMIT - len(keys))
            if inside is None:
                large.append(folder)
            else:
                keys += inside
        return sorted(set(keys)), large

    def _keys_below(self, target: Target, folder: str, limit: int) -> list[str] | None:
        """The keys of a folder, or None when there are more than the limit."""
        keys: list[str] = []
        pages = self._s3().get_paginator("list_objects_v2").paginate(Bucket=_bucket(target), Prefix=folder)
        with translated(f"{target.ref}/{folder}"):
            for page in pages:
                keys += [each["Key"] for each in page.get("Contents", [])]
                if len(keys) > limit:
                    return None
        return [key for key in keys if not key.startswith(f"{_OURS}/")]

    def _look(self, target: Target, wanted: JsonObject) -> JsonObject:
        """One version's hold and identity; the current version when none is named."""
        key, version = wanted["key"], wanted.get("version_id", "")
        pinned: dict[str, Any] = {"VersionId": version} if version and version != "null" else {}
        with translated(f"{target.ref}/{key}"):
            try:
                head = self._s3().head_object(Bucket=_bucket(target), Key=key, **pinned)
            except ClientError as error:
                if status_of(error) != 404:  # noqa: PLR2004 - HEAD has no body, so no error code
                    raise
                raise AbsentError(
                    "the declared artifact does not exist",
                    resource=f"{target.ref}/{key}",
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

    def _present(self, target: Target, key: str) -> list[JsonObject]:
        """The current version of a key; a deleted one has none, and then nothing to release."""
        try:
            return [self._look(target, {"key": key})]
        except AbsentError:
            return []

    def _hold(self, target: Target, wanted: JsonObject, *, status: Literal["ON", "OFF"]) -> None:
        with translated(f"{target.ref}/{wanted['key']}"):
            self._s3().put_object_legal_hold(
                Bucket=_bucket(target),
                Key=wanted["key"],
                VersionId=wanted["version_id"],
                LegalHold={"Status": status},
            )

    def _hashed(self, target: Target, seen: JsonObject) -> JsonObject:
        digest = hash_object(
            self.access, _bucket(target), seen["key"], self.context.progress, version_id=seen["version_id"]
        )
        return {name: seen[name] for name in ("key", "version_id", "etag")} | digest

    def _artifacts(self, target: Target, records: list[JsonObject]) -> list[JsonObject]:
        """What the chain of custody says of each declared object: its hash, and whether that is approved."""
        by_key = {each["key"]: each for each in records}
        artifacts: list[JsonObject] = []
        for each in of_kind(self.run.workload.artifacts, S3Object):
            bucket_arn, _, key = each.ref.partition("/")
            if bucket_arn == target.ref:
                artifacts.append(custody_of(each.ref, each.role, by_key[key], each.approved_sha256))
        return artifacts

    def _unchanged(self, target: Target, change: Change, limit: int | None) -> Finding:
        """Compare every frozen object with what it was at the freeze; up to the limit by its bytes."""
        difference = partial(self._difference, target, change, limit)
        return unchanged(change.after["objects"], difference, limit, "objects")

    def _difference(self, target: Target, change: Change, limit: int | None, frozen: JsonObject) -> str:
        now = self._look(target, {"key": frozen["key"]})
        if (now["version_id"], now["etag"]) != (frozen["version_id"], frozen["etag"]):
            return f"{frozen['key']}: the current version is another one"
        if limit is not None and change.after["object_lock"] and not now["held"]:
            return f"{frozen['key']}: no legal hold"
        readable = limit is None or now["size"] <= limit
        if readable and self._hashed(target, now)["sha256"] != frozen["sha256"]:
            return f"{frozen['key']}: the bytes hash differently"
        return ""


def _bucket(target: Target) -> str:
    return target.ref.partition(":::")[2]


def _literal(arn: str) -> str:
    """IAM user guide, "Policy variables": how a policy names a key that has ``*``, ``?`` or ``$`` in it."""
    return "".join(f"${{{char}}}" if char in "*?$" else char for char in arn)
