"""Withdraw a model version's approval in the SageMaker model registry."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, cast

import rfc8785

from firebreak.measure import found, on_any, on_target
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target, Workload
from providers.aws.artifacts.hashing import hash_object, split_s3_uri
from providers.aws.resources import ModelPackage, S3Object, declared, of_kind
from providers.aws.session import AwsMeasure, translated

if TYPE_CHECKING:
    from types_boto3_sagemaker import SageMakerClient
    from types_boto3_sagemaker.type_defs import DescribeModelPackageOutputTypeDef

_DESCRIPTION_LIMIT = 1024  # SageMaker API reference, ApprovalDescription


class RejectModelPackage(
    AwsMeasure, cloud=Cloud.AWS, phase=Phase.ARTIFACT_FREEZE, name="reject-model-package"
):
    """Set the approval status to Rejected: who asks for an approved version no longer gets this one.

    The registry has no lock. IAM decides who may approve again; the workload's identity is revoked.
    """

    permissions = (
        *on_target("sagemaker:DescribeModelPackage", "sagemaker:UpdateModelPackage"),
        # Service authorization reference, Amazon SageMaker: no resource-level permission.
        *on_any("sagemaker:ListModelPackages"),
    )

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """Every declared model package."""
        return [
            Target(kind=each.kind, ref=each.ref, account=workload.account, region=workload.region)
            for each in of_kind(workload.artifacts, ModelPackage)
        ]

    def snapshot(self, target: Target) -> JsonObject:
        """Read approval and its description."""
        package: Any = self._describe(target)
        return {
            "status": package.get("ModelApprovalStatus", ""),
            "description": package.get("ApprovalDescription", ""),
        }

    def apply(self, target: Target, state: State) -> Change:
        """Reject the version, and record the hash of its model data."""
        now, changed = self.snapshot(target), False
        if now["status"] != "Rejected":
            text = f"Firebreak incident {self.run.incident_id}. Before: {now['description']}"
            self._set(target, "Rejected", text[:_DESCRIPTION_LIMIT])
            changed = True
        return self.done(target, state, changed=changed, artifacts=self._artifacts(target))

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """Read the approval back, and search the registry as a deployment would."""
        package: Any = self._describe(target)
        status = package.get("ModelApprovalStatus", "")
        findings = [
            found(Method.CONFIGURATION, f"approval status {status or 'none'}", holds=status == "Rejected")
        ]
        group = package.get("ModelPackageGroupName", "")
        if group:
            offered = self._is_offered(target, group)
            seen = "still among" if offered else "not among"
            findings.append(
                found(
                    Method.EFFECTIVE_POLICY,
                    f"{seen} the approved versions of group {group}",
                    holds=not offered,
                )
            )
        return (*findings, self._same_definition(change, package))

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
        """Restore the approval as it was."""
        wanted = change.before
        if self.snapshot(change.target) != wanted:
            self._set(change.target, wanted["status"], wanted["description"])
        now = self.snapshot(change.target)
        return found(
            Method.CONFIGURATION, f"approval status {now['status'] or 'none'}", holds=now == wanted, **now
        )

    def _client(self) -> SageMakerClient:
        return self.access.client("sagemaker")

    def _describe(self, target: Target) -> DescribeModelPackageOutputTypeDef:
        with translated(target.ref):
            return self._client().describe_model_package(ModelPackageName=target.ref)

    def _set(self, target: Target, status: str, description: str) -> None:
        with translated(target.ref):
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
