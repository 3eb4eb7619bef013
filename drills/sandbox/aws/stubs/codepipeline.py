"""Move executions through the emulator's pipelines, and let stage transitions be disabled.

Behaviour: CodePipeline user guide, "Disable or enable transitions between stages" (an execution waits before
a stage whose inbound transition is disabled, and continues when it is enabled) and "How executions are
processed in SUPERSEDED mode" (a newer waiting execution replaces an older one). Every action succeeds at
once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from moto.codepipeline.models import codepipeline_backends

from drills.sandbox.aws.state import on_reset
from drills.sandbox.aws.stubs import StubError, StubRequest, stub

SERVICE = "codepipeline"
# DisabledReason in the CodePipeline service model.
REASON = re.compile(r"[a-zA-Z0-9!@ ().*?\-]{1,300}")
Json = dict[str, Any]


@dataclass
class Transition:
    """The inbound transition of a stage."""

    enabled: bool = True
    reason: str = ""
    changed_by: str = ""
    changed_at: datetime | None = None

    def describe(self) -> Json:
        """Return the members of TransitionState that are set."""
        state: Json = {"enabled": self.enabled}
        if self.changed_at is not None:
            state |= {"lastChangedBy": self.changed_by, "lastChangedAt": self.changed_at}
        return state if self.enabled else state | {"disabledReason": self.reason}


@dataclass
class Progress:
    """Where a pipeline's executions are."""

    transitions: dict[str, Transition] = field(default_factory=dict)
    finished: dict[str, str] = field(default_factory=dict)
    waiting: dict[str, str] = field(default_factory=dict)

    def transition(self, stage: str) -> Transition:
        """Return the inbound transition of a stage."""
        return self.transitions.setdefault(stage, Transition())


_progress: dict[tuple[str, str, str], Progress] = {}
on_reset(_progress.clear)


def _arn(request: StubRequest) -> str:
    name = request.params.get("pipelineName") or request.params.get("name")
    return f"arn:aws:codepipeline:{request.region}:{request.account}:{name}"


def _stage_arn(request: StubRequest) -> str:
    return f"{_arn(request)}/{request.params.get('stageName')}"


def _pipeline(request: StubRequest) -> Any:
    name = str(request.params.get("pipelineName") or request.params.get("name"))
    pipeline = codepipeline_backends[request.account][request.region].pipelines.get(name)
    if pipeline is None:
        message = f"Account '{request.account}' does not have a pipeline with name '{name}'"
        raise StubError("PipelineNotFoundException", message)
    return pipeline


def _state(request: StubRequest, pipeline: Any) -> Progress:
    return _progress.setdefault((request.account, request.region, pipeline.pipeline["name"]), Progress())


def _stages(pipeline: Any) -> list[str]:
    return [str(stage["name"]) for stage in pipeline.pipeline["stages"]]


@stub(SERVICE, "DisableStageTransition", resource=_stage_arn)
def disable_stage_transition(request: StubRequest) -> Json:
    """Keep executions from entering (or leaving) a stage."""
    reason = str(request.params.get("reason", ""))
    if not REASON.fullmatch(reason):
        message = f"1 validation error detected: Value '{reason}' at 'reason' failed to satisfy constraint"
        raise StubError("ValidationException", message)
    _change(request, enabled=False, reason=reason)
    return {}


@stub(SERVICE, "EnableStageTransition", resource=_stage_arn)
def enable_stage_transition(request: StubRequest) -> Json:
    """Let executions enter (or leave) a stage again; a waiting one continues."""
    pipeline = _pipeline(request)
    stage = _change(request, enabled=True, reason="")
    progress = _state(request, pipeline)
    waiting = progress.waiting.pop(stage, None)
    if waiting:
        _advance(pipeline, progress, waiting, _stages(pipeline).index(stage))
    return {}


def _change(request: StubRequest, *, enabled: bool, reason: str) -> str:
    pipeline = _pipeline(request)
    stage = _gated_stage(request, _stages(pipeline))
    transition = Transition(enabled, reason, request.principal_arn, datetime.now(UTC))
    _state(request, pipeline).transitions[stage] = transition
    return stage


def _gated_stage(request: StubRequest, stages: list[str]) -> str:
    """Return the stage whose inbound transition is meant; leaving a stage is entering the next."""
    name, outbound = request.params.get("stageName"), request.params.get("transitionType") == "Outbound"
    if name not in stages:
        raise StubError("StageNotFoundException", f"Stage '{name}' not found")
    index = stages.index(str(name)) + outbound
    if index in (0, len(stages)):
        raise StubError("ValidationException", f"Stage '{name}' has no such transition")
    return stages[index]


@stub(SERVICE, "StartPipelineExecution", resource=_arn)
def start_pipeline_execution(request: StubRequest) -> Json:
    """Start an execution and move it as far as the transitions let it."""
    pipeline = _pipeline(request)
    backend = codepipeline_backends[request.account][request.region]
    execution_id = backend.start_pipeline_execution(
        pipeline.pipeline["name"], request.params.get("variables")
    )
    pipeline.executions[execution_id].status = "InProgress"
    _advance(pipeline, _state(request, pipeline), execution_id, 0)
    return {"pipelineExecutionId": execution_id}


def _advance(pipeline: Any, progress: Progress, execution_id: str, first: int) -> None:
    """Enter stages from the given one on, until the end or a disabled transition."""
    for stage in _stages(pipeline)[first:]:
        if not progress.transition(stage).enabled:
            superseded = progress.waiting.get(stage)
            if superseded:
                pipeline.executions[superseded].status = "Superseded"
            progress.waiting[stage] = execution_id
            return
        progress.finished[stage] = execution_id
    pipeline.executions[execution_id].status = "Succeeded"


@stub(SERVICE, "GetPipelineState", resource=_arn)
def get_pipeline_state(request: StubRequest) -> Json:
    """Return every stage with its transition and latest execution."""
    pipeline = _pipeline(request)
    progress = _state(request, pipeline)
    definition = pipeline.pipeline
    return {
        "pipelineName": definition["name"],
        "pipelineVersion": definition["version"],
        "stageStates": [
            _stage_state(progress, stage, index) for index, stage in enumerate(definition["stages"])
        ],
        "created": pipeline._created,
        "updated": pipeline._updated,
    }


def _stage_state(progress: Progress, stage: Json, index: int) -> Json:
    name = str(stage["name"])
    state: Json = {
        "stageName": name,
        "actionStates": [_action_state(progress, name, a) for a in stage["actions"]],
    }
    if index:
        state["inboundTransitionState"] = progress.transition(name).describe()
    if name in progress.finished:
        state["latestExecution"] = {"pipelineExecutionId": progress.finished[name], "status": "Succeeded"}
    if name in progress.waiting:
        inbound = {"pipelineExecutionId": progress.waiting[name], "status": "InProgress"}
        state |= {"inboundExecution": inbound, "inboundExecutions": [inbound]}
    return state


def _action_state(progress: Progress, stage: str, action: Json) -> Json:
    state: Json = {"actionName": action["name"]}
    if stage in progress.finished:
        state["latestExecution"] = {"status": "Succeeded"}
    return state
