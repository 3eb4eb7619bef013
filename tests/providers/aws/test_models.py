"""The freeze of a version in the model registry."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest

from firebreak.errors import PermanentCloudError, TransientCloudError
from firebreak.model import Finding, Method
from providers.aws.permissions import grants
from providers.aws.resources import ModelPackage, S3Object
from tests.providers.aws.freezing import Step, denied, make_bucket
from tests.providers.driving import holds

REGION = "eu-central-1"
MEASURE = "aws.reject-model-package"
OWN = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Sid": "own",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "sagemaker:CreateModelPackage",
            "Resource": "arn:aws:sagemaker:eu-central-1:222222222222:model-package-group/other",
        }
    ],
}


class Registry:
    """A group with versions of one model, as its administrator sees it."""

    def __init__(self, world: Any, fresh: Any) -> None:
        self.world = world
        self.group, self.bucket = fresh("group"), fresh("models")
        self.admin = world.admin("sagemaker")
        make_bucket(world, self.bucket, lock=False).put_object(
            Bucket=self.bucket, Key="m.tar.gz", Body=b"weights"
        )
        self.admin.create_model_package_group(ModelPackageGroupName=self.group)

    def add(self, status: str = "Approved", **named: str) -> str:
        return str(
            self.admin.create_model_package(
                **(named or {"ModelPackageGroupName": self.group}),
                ModelApprovalStatus=status,
                InferenceSpecification={
                    "Containers": [{"Image": "image", "ModelDataUrl": f"s3://{self.bucket}/m.tar.gz"}],
                    "SupportedContentTypes": ["application/json"],
                    "SupportedResponseMIMETypes": ["application/json"],
                },
            )["ModelPackageArn"]
        )

    def step(self, arn: str, **options: Any) -> Step:
        package = ModelPackage(kind="model-package", ref=arn, approved_sha256=sha256(b"weights").hexdigest())
        data = S3Object(kind="s3-object", ref=f"arn:aws:s3:::{self.bucket}/m.tar.gz", role="model")
        return Step(self.world, MEASURE, artifacts=(package, data), **options)

    def status(self, arn: str) -> str:
        return str(self.admin.describe_model_package(ModelPackageName=arn)["ModelApprovalStatus"])

    def put_policy(self, document: dict[str, Any]) -> None:
        self.admin.put_model_package_group_policy(
            ModelPackageGroupName=self.group, ResourcePolicy=json.dumps(document)
        )


@pytest.fixture
def registry(world: Any, fresh: Any) -> Registry:
    return Registry(world, fresh)


def probe(findings: tuple[Finding, ...]) -> Finding:
    (only,) = [each for each in findings if each.method is Method.LIVE_PROBE]
    return only


@pytest.mark.parametrize("status", ["Approved", "PendingManualApproval", "Rejected"])
@pytest.mark.parametrize("policy", [None, OWN])
def test_a_version_is_rejected_frozen_and_restored(
    registry: Registry, status: str, policy: dict[str, Any] | None
) -> None:
    arn = registry.add(status)
    if policy:
        registry.put_policy(policy)
    registry.admin.update_model_package(
        ModelPackageArn=arn, ModelApprovalStatus=status, ApprovalDescription="as agreed"
    )
    step = registry.step(arn)
    before = step.snapshot()
    change = step.apply()
    assert change.changed
    findings = step.verify(change)
    assert holds(findings), findings
    assert "denied: UpdateModelPackage: AccessDeniedException" in probe(findings).observed
    assert change.after["artifacts"][1]["matches"] is True
    assert not step.apply().changed
    step.assert_goes_back(change, before)
    assert (before["status"], before["description"]) == (status, "as agreed")
    registry.admin.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")


def test_nobody_else_changes_a_frozen_group(registry: Registry) -> None:
    arn, other = registry.add(), registry.add("PendingManualApproval")
    step = registry.step(arn)
    change = step.apply()
    sagemaker = registry.admin  # may do everything, as far as identity policies go
    for each in (arn, other):
        assert denied(sagemaker.update_model_package, ModelPackageArn=each, ModelApprovalStatus="Approved")
        assert denied(sagemaker.delete_model_package, ModelPackageName=each)
    assert denied(sagemaker.create_model_package, ModelPackageGroupName=registry.group)
    assert denied(sagemaker.delete_model_package_group, ModelPackageGroupName=registry.group)
    assert denied(sagemaker.delete_model_package_group_policy, ModelPackageGroupName=registry.group)
    assert denied(
        sagemaker.put_model_package_group_policy,
        ModelPackageGroupName=registry.group,
        ResourcePolicy=json.dumps(OWN),
    )
    assert registry.status(arn) == "Rejected"
    assert holds(step.verify(change))
    assert step.measure.intact(step.target, change).holds
    assert step.revert(change).holds


def test_a_rejection_without_the_policy_is_no_proof(registry: Registry) -> None:
    arn = registry.add()
    step = registry.step(arn)
    change = step.apply()
    step.measure.access.client("sagemaker").delete_model_package_group_policy(
        ModelPackageGroupName=registry.group
    )
    findings = step.verify(change)
    assert registry.status(arn) == "Rejected"
    assert "not refused" in probe(findings).observed
    assert [each.holds for each in findings] == [False, True, False, True, True]
    registry.admin.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    assert [each.holds for each in step.verify(change)] == [False, False, False, False, True]
    assert registry.status(arn) == "Approved"  # the attempt repeats what it finds
    assert step.apply().changed
    assert holds(step.verify(change))


def test_an_approval_that_came_before_the_freeze_held_is_withdrawn(registry: Registry) -> None:
    arn = registry.add()
    step = registry.step(arn)
    before = step.snapshot()
    step.apply()
    sagemaker = step.measure.access.client("sagemaker")
    policy = sagemaker.get_model_package_group_policy(ModelPackageGroupName=registry.group)["ResourcePolicy"]
    sagemaker.delete_model_package_group_policy(ModelPackageGroupName=registry.group)
    registry.admin.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    sagemaker.put_model_package_group_policy(ModelPackageGroupName=registry.group, ResourcePolicy=policy)
    change = step.apply()
    assert change.changed
    assert holds(step.verify(change))
    assert step.revert(change).holds
    assert step.snapshot() == before


def test_without_the_right_to_reject_it_fails_and_nobody_else_gets_further(registry: Registry) -> None:
    world, arn = registry.world, registry.add()
    step = registry.step(arn)
    before = step.snapshot()
    world.sandbox.inject("denied", service="sagemaker", operation="UpdateModelPackage", times=2)
    with pytest.raises(PermanentCloudError, match="UpdateModelPackage"):
        step.apply()
    with pytest.raises(TransientCloudError, match="still denies"):  # as while a lifted policy lingers
        step.apply()
    world.sandbox.clear_faults()
    assert denied(registry.admin.update_model_package, ModelPackageArn=arn, ModelApprovalStatus="Approved")
    change = step.apply()
    assert holds(step.verify(change))
    world.sandbox.inject("denied", service="sagemaker", operation="UpdateModelPackage", times=1)
    with pytest.raises(TransientCloudError, match="still denies"):
        step.revert(change)
    world.sandbox.clear_faults()
    assert step.revert(change).holds
    assert step.snapshot() == before


def test_every_call_may_fail_once(registry: Registry) -> None:
    step = registry.step(registry.add())
    before, sandbox = step.snapshot(), registry.world.sandbox
    sandbox.inject("throttle", times=-1, once_per_operation=True)
    try:
        change = step.apply()
        assert holds(step.verify(change))
        assert step.revert(change).holds
    finally:
        sandbox.clear_faults()
    assert step.snapshot() == before


def test_versions_of_one_group_are_frozen_by_several_workloads(registry: Registry, fresh: Any) -> None:
    registry.put_policy(OWN)
    arns = [registry.add(), registry.add("PendingManualApproval")]
    first = registry.step(arns[0], owner=fresh("agent"))
    # An account has one responder: it may what either workload asks for.
    packages = tuple(ModelPackage(kind="model-package", ref=arn) for arn in arns)
    data = S3Object(kind="s3-object", ref=f"arn:aws:s3:::{registry.bucket}/m.tar.gz", role="model")
    both = registry.world.workload(artifacts=(*packages, data))
    access = registry.world.exactly(both, MEASURE, "aws.lock-objects").access
    owner = fresh("agent")
    steps = [
        registry.step(arns[0], owner=owner, access=access),
        registry.step(arns[1], owner=owner, access=access),
        registry.step(arns[1], owner=fresh("agent"), access=access),
    ]
    before = [first.snapshot(), steps[1].snapshot()]
    changes = [step.apply() for step in steps]
    for step, change in zip(steps, changes, strict=True):
        assert holds(step.verify(change)), step.target
    assert steps[0].revert(changes[0]).holds
    assert holds(steps[1].verify(changes[1]))
    early = steps[1].revert(changes[1])
    assert not early.holds
    assert "another workload's freeze" in early.observed
    assert registry.status(arns[1]) == "Rejected"
    assert holds(steps[2].verify(changes[2]))  # the other release leaves this freeze in force
    assert steps[2].revert(changes[2]).holds
    assert steps[1].revert(changes[1]).holds
    assert [first.snapshot(), steps[1].snapshot()] == before


def test_an_unversioned_package_is_rejected_and_said_to_be_unguarded(registry: Registry, fresh: Any) -> None:
    arn = registry.add(ModelPackageName=fresh("alone"))
    step = registry.step(arn)
    before = step.snapshot()
    assert before["policy"] is None
    change = step.apply()
    findings = step.verify(change)
    assert holds(findings), findings
    assert "no policy keeps others from approving it" in findings[0].observed
    assert not any(each.method is Method.LIVE_PROBE for each in findings)
    assert "Group" not in "".join(each.action for each in step.measure.needed(step.target))
    assert step.measure.arns(step.target) == (arn,)
    assert step.revert(change).holds
    assert step.snapshot() == before


def test_rights_are_asked_for_on_the_version_and_on_its_group(registry: Registry) -> None:
    step = registry.step(registry.add())
    group = f"arn:aws:sagemaker:{REGION}:222222222222:model-package-group/{registry.group}"
    assert step.measure.arns(step.target) == (step.target.ref, group)
    needed = grants([(type(step.measure), step.target)], [step.measure.run.workload])
    assert needed["sagemaker:UpdateModelPackage"] == {step.target.ref}
    assert needed["sagemaker:PutModelPackageGroupPolicy"] == {group}
