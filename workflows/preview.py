"""Show what a containment would do; and the canary that proves that workflows are being worked on."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from pydantic import ValidationError

    from activities.measures import MeasureActivities
    from firebreak.errors import FirebreakError
    from firebreak.planning import Preview
    from firebreak.record import ContainmentInput

from workflows.options import HEARTBEAT_TIMEOUT, PLANNING, RETRY


@workflow.defn(name="preview", failure_exception_types=[ValidationError, FirebreakError])
class PreviewContainment:
    """``contain --plan``: no mutating call is made."""

    @workflow.run
    async def run(self, request: ContainmentInput) -> Preview:
        """List measures, targets, blast radius, refusals and missing permissions."""
        return await workflow.execute_activity_method(
            MeasureActivities.preview,
            request,
            task_queue=request.task_queue,
            schedule_to_close_timeout=PLANNING,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=RETRY,
            summary=f"preview {request.workload_id}",
        )


@workflow.defn(name="canary", failure_exception_types=[ValidationError])
class Canary:
    """Ends at once; its end is the proof that the workflow poller is not wedged."""

    @workflow.run
    async def run(self) -> str:
        """Answer after one timer, so that a second workflow task has to be worked on."""
        await workflow.sleep(timedelta(milliseconds=1))
        return "alive"
