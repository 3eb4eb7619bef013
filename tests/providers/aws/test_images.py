"""Image repositories of AWS: no image can be replaced, and each one stays as it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from firebreak.errors import PermanentCloudError
from providers.aws.resources import EcrRepository
from tests.providers.aws.conftest import REGION, WORKLOAD
from tests.providers.aws.freezing import Step, denied, push
from tests.providers.driving import holds

LIFECYCLE = json.dumps(
    {
        "rules": [
            {
                "rulePriority": 1,
                "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 1},
                "action": {"type": "expire"},
            }
        ]
    }
)


def image_step(world: Any, name: str, digest: str) -> tuple[Any, Step]:
    repository = EcrRepository(
        kind="ecr-repository",
        ref=f"arn:aws:ecr:{REGION}:{WORKLOAD}:repository/{name}",
        tag="prod",
        approved_digest=digest,
    )
    return world.admin("ecr"), Step(world, "aws.freeze-image-repository", artifacts=(repository,))


@pytest.mark.parametrize("lifecycle", [None, LIFECYCLE])
def test_images_are_frozen_proved_and_released(world: Any, fresh: Any, lifecycle: str | None) -> None:
    name = fresh("team/agent")
    ecr = world.admin("ecr")
    ecr.create_repository(repositoryName=name)
    digest = push(ecr, name, "prod", "approved")
    if lifecycle:
        ecr.put_lifecycle_policy(repositoryName=name, lifecyclePolicyText=lifecycle)
    ecr, step = image_step(world, name, digest)
    before = step.snapshot()
    change = step.apply()
    findings = step.verify(change)
    assert holds(findings), findings
    assert change.after["artifacts"][0]["matches"] is True
    assert change.after["artifacts"][0]["sha256"] == digest.removeprefix("sha256:")
    with pytest.raises(ClientError, match=r"AccessDenied|AlreadyExists"):
        push(ecr, name, "prod", "poison")
    assert denied(ecr.batch_delete_image, repositoryName=name, imageIds=[{"imageTag": "prod"}])
    assert not step.apply().changed
    assert step.intact(change).holds
    step.assert_goes_back(change, before)
    tags = ecr.describe_images(repositoryName=name)["imageDetails"][0]["imageTags"]
    assert tags == ["prod"]
    push(ecr, name, "prod", "next")


def test_a_missing_image_freeze_is_seen(world: Any, fresh: Any) -> None:
    name = fresh("agent")
    ecr = world.admin("ecr")
    ecr.create_repository(repositoryName=name)
    ecr, step = image_step(world, name, push(ecr, name, "prod", "approved"))
    change = step.apply()
    step.measure.access.client("ecr").delete_repository_policy(repositoryName=name)
    for _ in range(2):
        findings = step.verify(change)
        assert not findings[0].holds
        assert not findings[0].inconclusive
    assert ecr.batch_get_image(repositoryName=name, imageIds=[{"imageTag": "prod"}])["images"]
    assert step.apply().changed
    assert holds(step.verify(change))
    assert step.revert(change).holds


def test_an_undeclared_image_is_refused_before_the_first_change(world: Any, fresh: Any) -> None:
    name = fresh("agent")
    world.admin("ecr").create_repository(repositoryName=name)
    _, step = image_step(world, name, "sha256:" + "0" * 64)
    with pytest.raises(PermanentCloudError, match="no image tagged prod"):
        step.snapshot()
