"""A decision that no worker takes is reported, not waited for in silence."""

from __future__ import annotations

from datetime import timedelta

import pytest

from firebreak import runs, start
from firebreak.errors import FirebreakError
from firebreak.measure import now
from firebreak.model import Mode
from firebreak.record import Decision, Trigger
from tests.workflows.stage import Stage, workload_named


async def test_a_decision_that_nobody_takes_is_reported_with_what_to_do(stage: Stage) -> None:
    abandoned = stage.settings.model_copy(update={"task_queue": "nobody-works-here"})
    trigger = Trigger(source="cli", reason="odd calls", requested_by="riley", received_at=now())
    started = await start.contain(
        stage.client, abandoned, workload_named("alone"), trigger, incident_id="INC-ALONE", mode=Mode.LIVE
    )
    handle = stage.client.get_workflow_handle(started.workflow_id)
    decision = Decision(kind="stop", by="casey", reason="nobody is here")
    with pytest.raises(FirebreakError, match=r"nobody answers for the run.*firebreak status"):
        await runs.hand_over(handle, "INC-ALONE", decision, patience=timedelta(seconds=1))
    await handle.terminate("the test is over")
