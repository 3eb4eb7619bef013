"""Stop promotion: no execution enters the stage that puts artifacts into production."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from firebreak.declarations import of_kind
from firebreak.errors import PermanentCloudError
from firebreak.measure import found, on_target
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target, Workload
from providers.aws.answers import translated
from providers.aws.resources import CodePipelineStage
from providers.aws.session import AwsMeasure

if TYPE_CHECKING:
    from types_boto3_codepipeline import CodePipelineClient
    from types_boto3_codepipeline.type_defs import StageStateTypeDef


class StopPipelinePromotion(
    AwsMeasure, cloud=Cloud.AWS, phase=Phase.ARTIFACT_FREEZE, name="stop-pipeline-promotion"
):
    """Disable the transition into the stage; executions wait in front of it and nothing is lost.

    No execution is started to prove it: a pipeline's earlier stages act on the world.
    """

    permissions = on_target(
        "codepipeline:GetPipelineState",
        "codepipeline:DisableStageTransition",
        "codepipeline:EnableStageTransition",
    )

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """Every declared stage; its name is the target's parent, since a stage has no ARN of its own call."""
        return [
            Target(
                kind=each.kind,
                ref=f"{each.ref}/{each.stage}",
                account=workload.account,
                region=workload.region,
                parent=each.ref,
            )
            for each in of_kind(workload.pipelines, CodePipelineStage)
        ]

    @classmethod
    def arns(cls, target: Target) -> tuple[str, ...]:
        """The pipeline, and the stage below it (Service authorization reference, AWS CodePipeline)."""
        return (target.parent, target.ref)

    def snapshot(self, target: Target) -> JsonObject:
        """Read the transition; raises PermanentCloudError for the first stage, which has none."""
        transition = self._stage(target).get("inboundTransitionState")
        if transition is None:
            raise PermanentCloudError(
                "the first stage of a pipeline has no inbound transition to disable",
                resource=target.ref,
                remedy="declare the stage that promotes",
            )
        return {"enabled": transition["enabled"], "reason": transition.get("disabledReason", "")}

    def apply(self, target: Target, state: State) -> Change:
        """Disable the transition, and note which execution was the last to enter."""
        now, changed = self.snapshot(target), False
        if now["enabled"]:
            pipeline, stage = _names(target)
            with translated(target.ref):
                self._client().disable_stage_transition(
                    pipelineName=pipeline,
                    stageName=stage,
                    transitionType="Inbound",
                    reason=f"Firebreak incident {_plain(self.run.incident_id)}",
                )
            changed = True
        return self.done(target, state, changed=changed, last_entered=_latest(self._stage(target)))

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """Read the transition back, and compare the stage's latest execution with the one at the freeze."""
        stage = self._stage(target)
        transition = stage.get("inboundTransitionState", {})
        enabled = transition.get("enabled", True)
        entered, before = _latest(stage), change.after["last_entered"]
        moving = stage.get("latestExecution", {}).get("status") in {"InProgress", "Stopping"}
        waiting = [each["pipelineExecutionId"] for each in stage.get("inboundExecutions", [])]
        return (
            found(
                Method.EFFECTIVE_POLICY,
                "the transition is enabled" if enabled else "the transition is disabled",
                holds=not enabled,
                reason=transition.get("disabledReason", ""),
            ),
            found(
                Method.CONFIGURATION,
                _seen(entered=entered != before, moving=moving, waiting=len(waiting)),
                holds=entered == before and not moving,
                waiting=waiting,
            ),
        )

    def revert(self, change: Change) -> Finding:
        """Enable the transition, if it was enabled before."""
        pipeline, stage = _names(change.target)
        if change.before["enabled"] and not self.snapshot(change.target)["enabled"]:
            with translated(change.target.ref):
                self._client().enable_stage_transition(
                    pipelineName=pipeline, stageName=stage, transitionType="Inbound"
                )
        enabled = self.snapshot(change.target)["enabled"]
        return found(
            Method.CONFIGURATION,
            f"the transition is {'enabled' if enabled else 'disabled'}",
            holds=enabled == change.before["enabled"],
        )

    def _client(self) -> CodePipelineClient:
        return self.access.client("codepipeline")

    def _stage(self, target: Target) -> StageStateTypeDef:
        pipeline, name = _names(target)
        with translated(target.ref):
            stages = self._client().get_pipeline_state(name=pipeline)["stageStates"]
        for stage in stages:
            if stage["stageName"] == name:
                return stage
        raise PermanentCloudError(f"the pipeline has no stage {name}", resource=target.parent)


def _names(target: Target) -> tuple[str, str]:
    return target.parent.rpartition(":")[2], target.ref.rpartition("/")[2]


def _latest(stage: Any) -> str:
    return str(stage.get("latestExecution", {}).get("pipelineExecutionId", ""))


def _seen(*, entered: bool, moving: bool, waiting: int) -> str:
    if moving:
        return "an execution is still running in the stage"
    if entered:
        return "an execution entered the stage after the freeze"
    return f"no execution entered the stage; {waiting} waiting in front of it"


def _plain(text: str) -> str:
    """CodePipeline API reference, DisabledReason: no underscore."""
    return text.replace("_", "-")
