"""Pipelines of AWS: promotion is stopped, and goes on as its owner left it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from firebreak.errors import PermanentCloudError
from providers.aws.resources import CodePipelineStage
from tests.providers.aws.conftest import REGION, WORKLOAD
from tests.providers.aws.freezing import Step
from tests.providers.driving import holds


def make_pipeline(world: Any, name: str) -> Any:
    def stage(title: str, category: str, **artifacts: Any) -> dict[str, Any]:
        kind = {"category": category, "owner": "AWS", "provider": "S3", "version": "1"}
        return {"name": title, "actions": [{"name": title.lower(), "actionTypeId": kind, **artifacts}]}

    role = world.admin("iam").create_role(
        RoleName=name,
        AssumeRolePolicyDocument=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Principal": {"Service": "codepipeline.amazonaws.com"},
                        "Action": "sts:AssumeRole",
                    }
                ],
            }
        ),
    )["Role"]["Arn"]
    pipeline = world.admin("codepipeline")
    pipeline.create_pipeline(
        pipeline={
            "name": name,
            "roleArn": role,
            "artifactStore": {"type": "S3", "location": "any-bucket"},
            "stages": [
                stage("Source", "Source", outputArtifacts=[{"name": "model"}]),
                stage("Production", "Deploy", inputArtifacts=[{"name": "model"}]),
            ],
        }
    )
    return pipeline


def pipeline_step(world: Any, name: str, stage: str = "Production") -> Step:
    arn = f"arn:aws:codepipeline:{REGION}:{WORKLOAD}:{name}"
    declared = CodePipelineStage(kind="codepipeline-stage", ref=arn, stage=stage)
    return Step(world, "aws.stop-pipeline-promotion", pipelines=(declared,))


def test_promotion_is_stopped_and_resumed(world: Any, fresh: Any) -> None:
    name = fresh("pipe")
    pipeline = make_pipeline(world, name)
    pipeline.start_pipeline_execution(name=name)
    step = pipeline_step(world, name)
    before = step.snapshot()
    change = step.apply()
    assert change.changed
    assert holds(step.verify(change))
    started = pipeline.start_pipeline_execution(name=name)["pipelineExecutionId"]
    findings = step.verify(change)
    assert holds(findings)
    assert findings[1].detail["waiting"] == [started]
    assert not step.apply().changed
    pipeline.enable_stage_transition(pipelineName=name, stageName="Production", transitionType="Inbound")
    findings = step.verify(change)
    assert [finding.holds for finding in findings] == [False, False]
    step.assert_goes_back(change, before)


def test_a_transition_disabled_by_its_owner_stays_disabled(world: Any, fresh: Any) -> None:
    name = fresh("pipe")
    pipeline = make_pipeline(world, name)
    pipeline.disable_stage_transition(
        pipelineName=name, stageName="Production", transitionType="Inbound", reason="release freeze"
    )
    step = pipeline_step(world, name)
    before = step.snapshot()
    change = step.apply()
    assert not change.changed
    assert holds(step.verify(change))
    assert step.revert(change).holds
    assert step.snapshot() == before


@pytest.mark.parametrize(("stage", "message"), [("Source", "first stage"), ("Nowhere", "no stage")])
def test_stages_without_a_transition_are_refused(world: Any, fresh: Any, stage: str, message: str) -> None:
    name = fresh("pipe")
    make_pipeline(world, name)
    with pytest.raises(PermanentCloudError, match=message):
        pipeline_step(world, name, stage).snapshot()
