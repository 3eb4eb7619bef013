"""A capture that outlasts its budget goes on where it was, and what it stored is evidence in any case."""

from __future__ import annotations

import pytest

from firebreak.model import Budgets, Verdict
from tests.workflows.script import Script, act, standard
from tests.workflows.stage import Stage

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

QUICK = Budgets(forensic_capture=1)


async def test_a_capture_of_three_budgets_is_proved_and_reads_each_page_once(stage: Stage) -> None:
    log = act("capture-audit-log", 4, "slow", "slow")
    run = await stage.play(Script(standard(log), budgets=QUICK))
    for _ in range(2):
        await run.asked()
        await run.decide("retry")
    document = await run.ended()
    assert document.verdict is Verdict.CONTAINED
    assert run.recording.read == [1, 2, 3]
    assert run.recording.packages[0].unfinished == ()


async def test_a_capture_that_is_proceeded_without_leaves_its_parts_to_the_package(stage: Stage) -> None:
    log = act("capture-audit-log", 4, then="slow")
    run = await stage.play(Script(standard(log), budgets=QUICK))
    await run.asked()
    await run.decide("proceed")
    document = await run.ended()
    assert document.verdict is Verdict.PARTIALLY_CONTAINED
    (left,) = run.recording.packages[0].unfinished
    assert (left.measure, left.target, left.reported) == (log.measure, log.target, {"page": 1})
