"""Freeze a repository of container images: no push, no retag, no deletion."""

from __future__ import annotations

from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from firebreak.declarations import of_kind, targets_of
from firebreak.errors import PermanentCloudError, TransientCloudError
from firebreak.measure import found, on_target
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target, Workload
from providers.aws.answers import DENIED_CODES, error_code, translate, translated
from providers.aws.artifacts.freeze import (
    SID,
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
)
from providers.aws.permissions import responder_arns
from providers.aws.resources import EcrRepository, declared
from providers.aws.session import AwsMeasure

if TYPE_CHECKING:
    from types_boto3_ecr import ECRClient

# Service authorization reference, Amazon Elastic Container Registry: the actions that change a repository.
_WRITES = (
    "ecr:BatchDeleteImage",
    "ecr:CompleteLayerUpload",
    "ecr:DeleteRepository",
    "ecr:InitiateLayerUpload",
    "ecr:PutImage",
    "ecr:ReplicateImage",
    "ecr:UploadLayerPart",
)
_SETTINGS = (
    "ecr:DeleteLifecyclePolicy",
    "ecr:DeleteRepositoryPolicy",
    "ecr:PutImageTagMutability",
    "ecr:PutLifecyclePolicy",
    "ecr:SetRepositoryPolicy",
)
_MANIFEST_TYPES = [
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
]
_CANARY = "firebreak-canary"
_MOVED = "firebreak-canary-moved"
# ECR API reference, PutImage: a tag of an immutable repository that another image already has.
_IMMUTABLE = frozenset({"ImageTagAlreadyExistsException"})
# An earlier attempt was let through, so the image has the tag by now.
_TAGGED = frozenset({"ImageAlreadyExistsException"})


class FreezeImageRepository(
    AwsMeasure, cloud=Cloud.AWS, phase=Phase.ARTIFACT_FREEZE, name="freeze-image-repository"
):
    """Make tags immutable, deny every push and deletion, and suspend the lifecycle policy's own deletions.

    The canary is a second tag on the declared image: adding it worked before the freeze, removing it as well.
    """

    permissions = on_target(
        "ecr:DescribeRepositories",
        "ecr:BatchGetImage",
        "ecr:GetRepositoryPolicy",
        "ecr:SetRepositoryPolicy",
        "ecr:DeleteRepositoryPolicy",
        "ecr:GetLifecyclePolicy",
        "ecr:PutLifecyclePolicy",
        "ecr:DeleteLifecyclePolicy",
        "ecr:PutImageTagMutability",
        "ecr:PutImage",
        "ecr:BatchDeleteImage",
    )

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """Every declared repository."""
        return targets_of(workload, of_kind(workload.artifacts, EcrRepository))

    def snapshot(self, target: Target) -> JsonObject:
        """Read mutability and policies; raises PermanentCloudError when the declared image is not there."""
        name = _name(target)
        with translated(target.ref):
            repository = self._client().describe_repositories(repositoryNames=[name])["repositories"][0]
        self._image(target, self._declared_tag(target))
        return {
            "mutability": repository["imageTagMutability"],
            "exclusions": repository.get("imageTagMutabilityExclusionFilters", []),
            "policy": self._policy(target),
            "lifecycle": self._lifecycle(target),
        }

    def apply(self, target: Target, state: State) -> Change:
        """Try the canary tag while that still works, then freeze."""
        now = self.snapshot(target)
        frozen = has_statements(now["policy"], self._statements())
        if not frozen:
            self._place_canary(target)
        with translated(target.ref):
            if not frozen:
                self._deny_changes(target)
            if now["lifecycle"]:
                self._client().delete_lifecycle_policy(repositoryName=_name(target))
            if now["mutability"] != "IMMUTABLE":
                self._set_mutability(target, "IMMUTABLE", [])
        changed = not frozen or bool(now["lifecycle"]) or now["mutability"] != "IMMUTABLE"
        return self.done(
            target,
            state,
            changed=changed,
            sid=sid_of(self.run),
            canary=_CANARY,
            lifecycle_suspended=bool(state.values["lifecycle"]),
            artifacts=[self._artifact(target)],  # read last: a push may still come before the freeze
        )

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """Try to add and to delete a canary tag, and read settings and digest back.

        The control of both was made by ``apply``, which freezes nothing before they have worked.
        """
        now = self.snapshot(target)
        denied = has_statements(now["policy"], self._statements())
        return (
            refused(
                "PutImage", lambda: self._retag(target), controlled=True, also=_IMMUTABLE, allowed=_TAGGED
            ),
            refused("BatchDeleteImage", lambda: self._untag(target, _CANARY), controlled=True),
            found(
                Method.CONFIGURATION,
                f"tags {now['mutability'].lower()}, writes {'' if denied else 'NOT '}denied by the policy",
                holds=denied and now["mutability"] == "IMMUTABLE" and not now["lifecycle"],
            ),
            self.intact(target, change),
        )

    def intact(self, target: Target, change: Change) -> Finding:
        """Fetch the manifest again, and hash it."""
        frozen, now = change.after["artifacts"][0], self._artifact(target)
        same = (now["digest"], now["sha256"]) == (frozen["digest"], frozen["sha256"])
        seen = "the tag names the same digest" if same else f"the tag now names {now['digest']}"
        return found(Method.CONFIGURATION, seen, holds=same, digest=now["digest"])

    def revert(self, change: Change) -> Finding:
        """Restore policies and mutability as they were, and remove the canary tags."""
        target, before = change.target, change.before
        now = self.snapshot(target)
        with translated(target.ref):
            lifted = self._restore_policy(target, before["policy"])
            self._remove_canary(target)
            if before["lifecycle"] and not now["lifecycle"]:
                self._client().put_lifecycle_policy(
                    repositoryName=_name(target), lifecyclePolicyText=before["lifecycle"]
                )
            if (now["mutability"], now["exclusions"]) != (before["mutability"], before["exclusions"]):
                self._set_mutability(target, before["mutability"], before["exclusions"])
        return restored(self.snapshot(target), before, policy_restored=lifted)

    def _deny_changes(self, target: Target) -> None:
        with exclusive(target.ref):
            text = with_statements(self._policy(target), self._statements())
            self._client().set_repository_policy(repositoryName=_name(target), policyText=text)

    def _restore_policy(self, target: Target, before: str | None) -> bool:
        ecr, name = self._client(), _name(target)
        with exclusive(target.ref):
            return restore_policy(
                partial(self._policy, target),
                lambda text: ecr.set_repository_policy(repositoryName=name, policyText=text),
                lambda: ecr.delete_repository_policy(repositoryName=name),
                before=before,
                sid=sid_of(self.run),
            )

    def _client(self) -> ECRClient:
        return self.access.client("ecr")

    def _statements(self) -> list[JsonObject]:
        sid = sid_of(self.run)
        return [
            deny(f"{sid}Writes", _WRITES),
            deny(f"{sid}Settings", _SETTINGS, except_for=responder_arns(self.access)),
        ]

    def _declared_tag(self, target: Target) -> str:
        resource = declared(self.run.workload, EcrRepository, target.ref)
        return resource.tag if resource else "latest"

    def _policy(self, target: Target) -> str | None:
        return self._optional(
            "get_repository_policy", "policyText", "RepositoryPolicyNotFoundException", target
        )

    def _lifecycle(self, target: Target) -> str | None:
        return self._optional(
            "get_lifecycle_policy", "lifecyclePolicyText", "LifecyclePolicyNotFoundException", target
        )

    def _optional(self, call: str, member: str, absent: str, target: Target) -> str | None:
        client: Any = self._client()
        with translated(target.ref):
            try:
                return str(getattr(client, call)(repositoryName=_name(target))[member])
            except ClientError as error:
                if error_code(error) == absent:
                    return None  # no such policy is the usual case
                raise

    def _set_mutability(self, target: Target, mutability: Any, exclusions: Any) -> None:
        filters: dict[str, Any] = {"imageTagMutabilityExclusionFilters": exclusions} if exclusions else {}
        self._client().put_image_tag_mutability(
            repositoryName=_name(target), imageTagMutability=mutability, **filters
        )

    def _image(self, target: Target, tag: str) -> Any:
        with translated(target.ref):
            images = self._client().batch_get_image(
                repositoryName=_name(target), imageIds=[{"imageTag": tag}], acceptedMediaTypes=_MANIFEST_TYPES
            )["images"]
        if not images:
            raise PermanentCloudError(
                f"the repository has no image tagged {tag}",
                resource=target.ref,
                remedy="declare the tag that the workload runs",
            )
        return images[0]

    def _artifact(self, target: Target) -> JsonObject:
        """The digest is the SHA-256 of the manifest, and is computed again here (OCI image specification)."""
        resource = declared(self.run.workload, EcrRepository, target.ref)
        approved = resource.approved_digest if resource else None
        image = self._image(target, self._declared_tag(target))
        digest = image["imageId"]["imageDigest"]
        return {
            "ref": f"{target.ref}:{self._declared_tag(target)}",
            "version_id": digest,
            "digest": digest,
            "sha256": sha256(image["imageManifest"].encode()).hexdigest(),
            "approved": approved,
            "matches": digest == approved if approved else None,
        }

    def _place_canary(self, target: Target) -> None:
        """Add and remove the tag once, as the control of both attempts, then add it to stay."""
        tag = _CANARY
        try:
            if not self._tag_exists(target, tag):
                self._tag(target, tag)
                self._untag(target, tag)
                self._tag(target, tag)
        except ClientError as error:
            if error_code(error) in _TAGGED:
                raise TransientCloudError(
                    "another execution of this step places the canary tag just now", resource=target.ref
                ) from error
            if error_code(error) not in DENIED_CODES or not has_any_statement(self._policy(target), SID):
                raise translate(error, target.ref) from error
            # the freeze of another workload, or by another execution of this step, which made its own control

    def _remove_canary(self, target: Target) -> None:
        for tag in (_CANARY, _MOVED):
            try:
                if self._tag_exists(target, tag):
                    self._untag(target, tag)
            except ClientError as error:
                another = frozen_by_another(self._policy(target), sid_of(self.run))
                if error_code(error) not in DENIED_CODES or not another:
                    raise  # while another workload's freeze holds, the tag is its canary too

    def _tag_exists(self, target: Target, tag: str) -> bool:
        answer = self._client().batch_get_image(repositoryName=_name(target), imageIds=[{"imageTag": tag}])
        return bool(answer["images"])

    def _retag(self, target: Target) -> None:
        self._tag(target, _MOVED)

    def _tag(self, target: Target, tag: str) -> None:
        image = self._image(target, self._declared_tag(target))
        media = image.get("imageManifestMediaType")
        kind: dict[str, Any] = {"imageManifestMediaType": media} if media else {}
        self._client().put_image(
            repositoryName=_name(target), imageManifest=image["imageManifest"], imageTag=tag, **kind
        )

    def _untag(self, target: Target, tag: str) -> None:
        """Remove a tag of ours; an image with another tag stays (ECR user guide, "Deleting an image")."""
        answer = self._client().batch_delete_image(repositoryName=_name(target), imageIds=[{"imageTag": tag}])
        failed = [each for each in answer.get("failures", []) if each.get("failureCode") != "ImageNotFound"]
        if failed:
            raise PermanentCloudError(
                f"the canary tag was not removed: {failed[0].get('failureReason', '')}", resource=target.ref
            )


def _name(target: Target) -> str:
    return target.ref.partition(":repository/")[2]
