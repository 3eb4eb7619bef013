"""Histories stay small: references and hashes only, and few events for each measure."""

from __future__ import annotations

import pytest

from firebreak.model import Verdict
from tests.workflows.script import Script, many
from tests.workflows.stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")

MEASURES = 30


async def test_thirty_measures_stay_within_the_history_budget(stage: Stage) -> None:
    run = await stage.play(Script(many(MEASURES)))
    assert (await run.ended()).verdict is Verdict.CONTAINED
    history = await run.handle.fetch_history()
    size = sum(event.ByteSize() for event in history.events)
    assert len(history.events) <= 8 * MEASURES + 60
    assert size < 256 * 1024
    assert len(next(iter(run.recording.outcomes)).model_dump_json()) > 1500  # payloads of realistic size
