"""Freeze objects in S3: a bucket policy denies every change, and Object Lock holds each version.

One target per bucket, because a bucket has one policy and S3 offers no conditional way to write it. Where
the bucket has no Object Lock the policy is the freeze: the lock can be switched on but never off again
(S3 user guide, "Object Lock considerations"), so containment does not do it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from firebreak.declarations import of_kind
from firebreak.errors import PermanentCloudError
from firebreak.frozen import REHASH_LIMIT, custody_of, unchanged
from firebreak.measure import found, on_target
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target, Workload
from firebreak.parallel import each_of
from providers.aws.answers import DENIED_CODES, error_code, translated
from providers.aws.artifacts.bucketobjects import OURS, BucketObjects
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
from providers.aws.artifacts.lifecycle import Lifecycle
from providers.aws.keys import WRITE_KEYS
from providers.aws.permissions import responder_arns
from providers.aws.resources import S3Object, S3Prefix
from providers.aws.session import AwsMeasure

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

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
        mine = self._objects(target)
        with translated(target.ref):
            lock = self._optional(partial(self._s3().get_object_lock_configuration, Bucket=mine.bucket))
            versioning = self._s3().get_bucket_versioning(Bucket=mine.bucket).get("Status", "")
        objects, folders = mine.current()
        self._check_policy_size(target)
        mine.require_readable(objects)
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
        before, mine = state.values, self._objects(target)
        frozen = has_statements(self._policy(target), self._statements(target))
        with translated(target.ref):
            if not frozen:
                self._place(target, object_lock=before["object_lock"])
                self._deny_changes(target)
            suspended = self._lifecycle(target).suspend()
        canary = self._placed(target)
        objects, folders = mine.current()
        free = [each for each in objects if before["object_lock"] and not each["held"]]
        mine.hold(free, "ON")
        records = each_of(mine.hashed, objects)
        return self.done(
            target,
            state,
            changed=bool(free) or suspended or not frozen,
            sid=sid_of(self.run),
            object_lock=before["object_lock"],
            freeze="legal hold and bucket policy" if before["object_lock"] else "bucket policy",
            canary=canary,
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
        with translated(target.ref):
            deletions = self._lifecycle(target).finding()
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
            deletions,
            self._unchanged(target, change, REHASH_LIMIT),
        )

    def intact(self, target: Target, change: Change) -> Finding:
        """Hash every frozen object again, however large; holds are for ``verify`` to see."""
        return self._unchanged(target, change, None)

    def revert(self, change: Change) -> Finding:
        """Release the holds that were set here, restore the policy, and remove the canary."""
        target, before, mine = change.target, change.before, self._objects(change.target)
        held_before = {tuple(each) for each in before["held"]}
        ours = [
            each for each in change.after["objects"] if (each["key"], each["version_id"]) not in held_before
        ]
        if change.after["object_lock"]:
            mine.hold(ours, "OFF")
        with translated(target.ref):
            resumed = self._lifecycle(target).restore()
            lifted = self._restore_policy(target, before["policy"])
            left = self._canary(target).remove(object_lock=change.after["object_lock"])
        still = [each["key"] for each in mine.look_again(ours) if each["held"]]
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
        locked, held = state.values["object_lock"], self._objects(target).held()
        return self.done(target, state, changed=True, object_lock=locked, objects=held)

    def _place(self, target: Target, *, object_lock: bool) -> None:
        try:
            self._canary(target).place(object_lock=object_lock)
        except ClientError as error:
            if error_code(error) not in DENIED_CODES or not has_any_statement(self._policy(target), SID):
                raise  # not a freeze: of another workload, or by another execution of this step

    def _placed(self, target: Target) -> JsonObject:
        """The canary's version and controls; a freeze of another workload has made controls of its own."""
        with translated(target.ref):
            version, controls = self._canary(target).look()
        if frozen_by_another(self._policy(target), sid_of(self.run)):
            controls = controls or CONTROLLED
        return {"version_id": version, "controls": controls}

    def _deny_changes(self, target: Target) -> None:
        with exclusive(target.ref):
            text = with_statements(self._policy(target), self._statements(target))
            self._s3().put_bucket_policy(Bucket=self._objects(target).bucket, Policy=text)

    def _restore_policy(self, target: Target, before: str | None) -> bool:
        s3, bucket = self._s3(), self._objects(target).bucket
        with exclusive(target.ref):
            return restore_policy(
                partial(self._policy, target),
                lambda text: s3.put_bucket_policy(Bucket=bucket, Policy=text),
                lambda: s3.delete_bucket_policy(Bucket=bucket),
                before=before,
                sid=sid_of(self.run),
            )

    def _s3(self) -> S3Client:
        return self.access.client("s3")

    def _objects(self, target: Target) -> BucketObjects:
        return BucketObjects(self.context, target.ref)

    def _lifecycle(self, target: Target) -> Lifecycle:
        mine = self._objects(target)
        keys, folders = tuple(mine.declared_keys()), tuple(mine.folders())
        return Lifecycle(self._s3, mine.bucket, sid_of(self.run), keys, folders)

    def _canary(self, target: Target) -> Canary:
        return Canary(self._s3, self._objects(target).bucket, f"{OURS}/{sid_of(self.run)}")

    def _statements(self, target: Target) -> list[JsonObject]:
        sid, responder, mine = sid_of(self.run), responder_arns(self.access), self._objects(target)
        resources = sorted({_literal(each) for each in mine.refs(S3Object)})
        resources += sorted({f"{_literal(each)}*" for each in mine.refs(S3Prefix)})
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

    def _optional(self, call: Any) -> dict[str, Any]:
        try:
            return dict(call())
        except ClientError as error:
            if error_code(error) in _ABSENT:
                return {}  # a bucket without this configuration is a usual case
            raise

    def _policy(self, target: Target) -> str | None:
        with translated(target.ref):
            return self._optional(
                partial(self._s3().get_bucket_policy, Bucket=self._objects(target).bucket)
            ).get("Policy")

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
        mine = self._objects(target)
        now = mine.look(frozen["key"])
        if (now["version_id"], now["etag"]) != (frozen["version_id"], frozen["etag"]):
            return f"{frozen['key']}: the current version is another one"
        if limit is not None and change.after["object_lock"] and not now["held"]:
            return f"{frozen['key']}: no legal hold"
        readable = limit is None or now["size"] <= limit
        if readable and mine.hashed(now)["sha256"] != frozen["sha256"]:
            return f"{frozen['key']}: the bytes hash differently"
        return ""


def _literal(arn: str) -> str:
    """IAM user guide, "Policy variables": how a policy names a key that has ``*``, ``?`` or ``$`` in it."""
    return "".join(f"${{{char}}}" if char in "*?$" else char for char in arn)
