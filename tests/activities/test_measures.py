from __future__ import annotations

import dataclasses
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.testing import ActivityEnvironment

from activities.inputs import StepInput
from activities.measures import MeasureActivities
from firebreak.measure import now
from firebreak.model import Phase, Verdict
from tests.firebreak.imaginary import engine_of, imaginary_cloud, settings_for
from tests.firebreak.story import story_of


@pytest.mark.parametrize("ahead", [timedelta(seconds=181), timedelta(0), timedelta(seconds=-181)])
async def test_a_worker_whose_clock_is_off_has_the_same_time_for_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: timedelta
) -> None:
    with imaginary_cloud(tmp_path, monkeypatch) as world:
        engine = engine_of(settings_for(tmp_path))
        story = await story_of(engine, world)
        step = story.plan.of(Phase.NETWORK_ISOLATE)[0]
        servers = now() - ahead
        environment = ActivityEnvironment()
        environment.info = dataclasses.replace(environment.info, started_time=servers)
        request = StepInput(run=story.plan.run, step=step, until=servers + timedelta(seconds=180))
        outcome = await environment.run(MeasureActivities(engine).contain, request)
    assert outcome.verdict is Verdict.CONTAINED
    assert outcome.observations == engine.settings.proof.consecutive
