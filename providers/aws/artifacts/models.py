"""Withdraw a model version's approval in the SageMaker model registry, and let nobody give it back."""

from __future__ import annotations

from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, cast

import rfc8785
from botocore.exceptions import ClientError

from firebreak.declarations import of_kind, targets_of
from firebreak.errors import TransientCloudError
from firebreak.measure import Permission, found, on_any, on_target
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target, Workload
from providers.aws.answers import DENIED_CODES, error_code, translate, translated
from providers.aws.artifacts.freeze import (
    deny,
    exclusive,
    frozen_by_another,
    has_any_statement,
    has_statements,
    refused,
    restore_policy,
    restored,
    sid_of,
    with_statements,
    without_statements,
)
from providers.aws.artifacts.hashing import hash_object, split_s3_uri
from providers.aws.permissions import responder_arns
from providers.aws.resources import ModelPackage, S3Object, declared
from providers.aws.session import AwsMeasure

if TYPE_CHECKING:
    from types_boto3_sagemaker import SageMakerClient
    from types_boto3_sagemaker.type_defs import DescribeModelPackageOutputTypeDef

_DESCRIPTION_LIMIT = 1024  # SageMaker API reference, ApprovalDescription
# Service authorization reference, Amazon SageMaker: what changes a group and the versions in it.
_WRITES = (
    "sagemaker:CreateModelPackage",
    "sagemaker:DeleteModelPackage",
    "sagemaker:DeleteModelPackageGroup",
    "sagemaker:UpdateModelPackage",
)
_SETTINGS = ("sagemaker:DeleteModelPackageGroupPolicy", "sagemaker:PutModelPackageGroupPolicy")
_VERSION_WRITES = ("sagemaker:DeleteModelPackage", "sagemaker:UpdateModelPackage")
_REJECTED = "Rejected"
# SageMaker has no error code of its own for a group without a policy.
_INVALID, _NO_POLICY = "ValidationException", "Cannot find resource policy"


class RejectModelPackage(
    AwsMeasure, cloud=Cloud.AWS, phase=Phase.ARTIFACT_FREEZE, name="reject-model-package"
):
    """Set the approval status to Rejected, and deny every change of the version in its group's policy.

    The group takes no new version, and no other version is approved, while the freeze holds. The control is
    the rejection itself: the same call is refused afterwards. An unversioned package is in no group and so
    under no policy: only its status is set, and whoever may update it can approve it again.
    """

    permissions = (
        *on_target(
            "sagemaker:DescribeModelPackage",
            "sagemaker:UpdateModelPackage",
            "sagemaker:GetModelPackageGroupPolicy",
            "sagemaker:PutModelPackageGroupPolicy",
            "sagemaker:DeleteModelPackageGroupPolicy",
        ),
        # Service authorization reference, Amazon SageMaker: no resource-level permission.
        *on_any("sagemaker:ListModelPackages"),
    )

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """Every declared model package."""
        return targets_of(workload, of_kind(workload.artifacts, ModelPackage))

    @classmethod
    def arns(cls, target: Target) -> tuple[str, ...]:
        """The version, and the group whose policy guards it."""
        return (target.ref, _group_arn(target)) if _version(target) else (target.ref,)

    @classmethod
    def needed(cls, target: Target) -> tuple[Permission, ...]:
        """An unversioned package has no group, and needs none of its rights."""
        return tuple(p for p in cls.permissions if _version(target) or "Group" not in p.action)

    def snapshot(self, target: Target) -> JsonObject:
        """Read approval, its description, and the group's policy."""
        package: Any = self._describe(target)
        return {
            "status": package.get("ModelApprovalStatus", ""),
            "description": package.get("ApprovalDescription", ""),
            "policy": self._policy(target),
        }

    def apply(self, target: Target, state: State) -> Change:
        """Reject the version, freeze it, and record the hash of its model data.

        Others are kept out before the status is set, so that nobody approves again in between.
        """
        now = self.snapshot(target)
        changed = not self._is_frozen(target, now)
        if changed:
            self._put_statements(target, self._statements(target, bind_responder=False))
            self._reject(target, now)
            self._put_statements(target, self._statements(target, bind_responder=True))
            if self.snapshot(target)["status"] != _REJECTED:
                raise TransientCloudError("approved again while the freeze took hold", resource=target.ref)
        return self.done(
            target, state, changed=changed, sid=self._sid(target), artifacts=self._artifacts(target)
        )

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """Try to update the version, read the approval back, and search the registry as a deployment would.

        The attempt repeats what the version says already, so that it changes nothing where it is let through.
        Its control was made by ``apply``, which freezes nothing before the same call has worked.
        """
        now, package = self.snapshot(target), self._describe(target)
        if not _version(target):
            remark = ", unversioned: no policy keeps others from approving it"
            return _status(now, remark), self._same_definition(change, package)
        group = self._group(target)
        offered = self._is_offered(target, group)
        seen = "still among" if offered else "not among"
        denied = has_statements(now["policy"], self._statements(target, bind_responder=True))
        return (
            refused("UpdateModelPackage", lambda: self._repeat(target), controlled=True),
            _status(now),
            found(
                Method.CONFIGURATION,
                f"changes {'' if denied else 'NOT '}denied by the policy of group {group}",
                holds=denied,
            ),
            found(
                Method.EFFECTIVE_POLICY,
                f"{seen} the approved versions of group {group}",
                holds=not offered,
            ),
            self._same_definition(change, package),
        )

    def intact(self, target: Target, change: Change) -> Finding:
        """Hash definition and model data again."""
        frozen = [each["sha256"] for each in change.after["artifacts"]]
        same = frozen == [each["sha256"] for each in self._artifacts(target)]
        return found(
            Method.CONFIGURATION,
            "the version is as frozen" if same else "the version has changed",
            holds=same,
        )

    def _same_definition(self, change: Change, package: Any) -> Finding:
        digest, recorded = _definition_hash(package), change.after["artifacts"][0]["sha256"]
        seen = "unchanged" if digest == recorded else "changed"
        return found(
            Method.CONFIGURATION, f"the definition is {seen}", holds=digest == recorded, sha256=digest
        )

    def revert(self, change: Change) -> Finding:
        """Lift the freeze from the group's policy, then restore the approval as it was."""
        target, before = change.target, change.before
        lifted = self._restore_policy(target, before["policy"])
        now = self.snapshot(target)
        if (now["status"], now["description"]) != (before["status"], before["description"]):
            try:
                self._set(target, before["status"], before["description"])
            except ClientError as error:
                if error_code(error) not in DENIED_CODES:
                    raise translate(error, target.ref) from error
                return self._still_denied(target, now, error)
        return restored(self.snapshot(target), before, policy_restored=lifted)

    def _still_denied(self, target: Target, now: JsonObject, error: ClientError) -> Finding:
        if not self._bound_by_another(target, now["policy"]):
            # IAM user guide, "Changes that I make are not always immediately visible".
            raise TransientCloudError("the lifted freeze still denies", resource=target.ref) from error
        observed = "another workload's freeze still keeps the version rejected: release that one first"
        return found(Method.CONFIGURATION, observed, holds=False, status=now["status"])

    def _is_frozen(self, target: Target, now: JsonObject) -> bool:
        statements = self._statements(target, bind_responder=True)
        denied = not statements or has_statements(now["policy"], statements)
        return denied and now["status"] == _REJECTED

    def _reject(self, target: Target, before: JsonObject) -> None:
        """Set the status; where it is Rejected already, say so again, as the control of later attempts."""
        try:
            if before["status"] == _REJECTED:
                self._repeat(target)
            else:
                text = f"Firebreak incident {self.run.incident_id}. Before: {before['description']}"
                self._set(target, _REJECTED, text[:_DESCRIPTION_LIMIT])
        except ClientError as error:
            if error_code(error) not in DENIED_CODES:
                raise translate(error, target.ref) from error
            if self._bound_by_another(target, before["policy"]) and before["status"] == _REJECTED:
                return  # that freeze has made the control
            if has_any_statement(before["policy"], self._sid(target)) or self._is_bound(target):
                raise TransientCloudError("an earlier freeze still denies", resource=target.ref) from error
            raise translate(error, target.ref) from error

    def _is_bound(self, target: Target) -> bool:
        """Whether another execution of this step has closed the version meanwhile."""
        closing = self._statements(target, bind_responder=True)
        return bool(closing) and has_statements(self.snapshot(target)["policy"], closing)

    def _bound_by_another(self, target: Target, policy: str | None) -> bool:
        return frozen_by_another(policy, self._sid(target), f"{_version(target):0>9}Version")

    def _sid(self, target: Target) -> str:
        """A group's policy holds the freezes of several versions: of one length, none begins another."""
        return f"{sid_of(self.run)}{_version(target):0>9}"

    def _statements(self, target: Target, *, bind_responder: bool) -> list[JsonObject]:
        """The freeze; only the version itself is closed to the responder, others may need it to reject."""
        if not _version(target):
            return []
        sid, group, mine = self._sid(target), _group_arn(target), responder_arns(self.access)
        versions = f"{target.ref.rpartition('/')[0]}/*"
        statements = [
            deny(f"{sid}Writes", _WRITES, [group, versions], except_for=mine),
            deny(f"{sid}Settings", _SETTINGS, [group], except_for=mine),
        ]
        last = [deny(f"{sid}Version", _VERSION_WRITES, [target.ref])] if bind_responder else []
        return statements + last

    def _put_statements(self, target: Target, statements: list[JsonObject]) -> None:
        """Have exactly these in the group's policy, in the place of what this freeze put there before."""
        if not statements:
            return
        with exclusive(_group_arn(target)), translated(target.ref):
            policy = self._policy(target)
            text = with_statements(without_statements(policy, self._sid(target)), statements)
            self._put_policy(target, text)

    def _restore_policy(self, target: Target, before: str | None) -> bool:
        if not _version(target):
            return True
        with exclusive(_group_arn(target)), translated(target.ref):
            return restore_policy(
                partial(self._policy, target),
                partial(self._put_policy, target),
                lambda: self._client().delete_model_package_group_policy(
                    ModelPackageGroupName=self._group(target)
                ),
                before=before,
                sid=self._sid(target),
            )

    def _policy(self, target: Target) -> str | None:
        if not _version(target):
            return None
        group = self._group(target)
        with translated(target.ref):
            try:
                answer = self._client().get_model_package_group_policy(ModelPackageGroupName=group)
            except ClientError as error:
                if error_code(error) == _INVALID and _NO_POLICY in str(error):
                    return None  # a group without a policy is the usual case
                raise
        return answer["ResourcePolicy"]

    def _put_policy(self, target: Target, text: str) -> None:
        self._client().put_model_package_group_policy(
            ModelPackageGroupName=self._group(target), ResourcePolicy=text
        )

    def _repeat(self, target: Target) -> None:
        """Set what is set already."""
        package: Any = self._describe(target)
        self._set(target, package.get("ModelApprovalStatus", ""), package.get("ApprovalDescription", ""))

    def _client(self) -> SageMakerClient:
        return self.access.client("sagemaker")

    def _describe(self, target: Target) -> DescribeModelPackageOutputTypeDef:
        with translated(target.ref):
            return self._client().describe_model_package(ModelPackageName=target.ref)

    def _group(self, target: Target) -> str:
        """The name as the group was given it; ARNs of versions may have it in lower case."""
        return self._describe(target)["ModelPackageGroupName"].rpartition("/")[2]

    def _set(self, target: Target, status: str, description: str) -> None:
        self._client().update_model_package(
            ModelPackageArn=target.ref,
            ModelApprovalStatus=cast("Any", status),
            ApprovalDescription=description,
        )

    def _is_offered(self, target: Target, group: str) -> bool:
        pages = self._client().get_paginator("list_model_packages")
        with translated(target.ref):
            return any(
                each["ModelPackageArn"] == target.ref
                for page in pages.paginate(ModelPackageGroupName=group, ModelApprovalStatus="Approved")
                for each in page["ModelPackageSummaryList"]
            )

    def _artifacts(self, target: Target) -> list[JsonObject]:
        """The definition's hash first, then that of each model data object which the workload declares.

        What is not declared may not be read: ``aws.lock-objects`` asks for that right, object by object.
        """
        package = self._describe(target)
        resource = declared(self.run.workload, ModelPackage, target.ref)
        approved = resource.approved_sha256 if resource else None
        records: list[JsonObject] = [
            {"ref": target.ref, "version_id": "", "sha256": _definition_hash(package), "approved": None}
        ]
        declared_objects = {
            each.ref.partition(":::")[2] for each in of_kind(self.run.workload.artifacts, S3Object)
        }
        for uri in _model_data(package):
            bucket, key = split_s3_uri(uri)
            if f"{bucket}/{key}" not in declared_objects:
                records.append({"ref": uri, "version_id": "", "sha256": None, "approved": approved})
                continue
            digest = hash_object(self.access, bucket, key, self.context.progress)
            records.append(
                {"ref": uri, **digest, "approved": approved, "matches": _matches(digest, approved)}
            )
        return records


def _version(target: Target) -> str:
    """The version's number, or nothing where the package is in no group."""
    return target.ref.partition(":model-package/")[2].partition("/")[2]


def _group_arn(target: Target) -> str:
    return target.ref.rpartition("/")[0].replace(":model-package/", ":model-package-group/")


def _status(now: JsonObject, remark: str = "") -> Finding:
    status = now["status"]
    return found(
        Method.CONFIGURATION, f"approval status {status or 'none'}{remark}", holds=status == _REJECTED
    )


def _matches(digest: JsonObject, approved: str | None) -> bool | None:
    return digest["sha256"] == approved if approved else None


def _model_data(package: Any) -> list[str]:
    containers = package.get("InferenceSpecification", {}).get("Containers", [])
    uris = [each.get("ModelDataUrl", "") for each in containers]
    return sorted({uri for uri in uris if uri.startswith("s3://") and not uri.endswith("/")})


def _definition_hash(package: Any) -> str:
    """SHA-256 of what is deployed, without what the approval itself changes."""
    parts = {name: package.get(name) for name in ("ModelPackageArn", "InferenceSpecification", "SourceUri")}
    return sha256(rfc8785.dumps(parts)).hexdigest()
