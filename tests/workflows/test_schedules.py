"""Whatever fails and whatever people decide: phases never overlap or reorder, and no proof is made up."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firebreak.model import Phase, Verdict
from firebreak.record import RunStatus, StepOutcome
from tests.workflows.script import Act, Play, Script
from tests.workflows.scripted import Recording
from tests.workflows.stage import Played, Stage

PLAYS = st.sampled_from(("proved", "unproven", "permanent", "interrupted", "awaiting"))
DECISIONS = st.lists(st.sampled_from(("retry", "proceed", "stop")), max_size=6)


@dataclass(frozen=True)
class Schedule:
    """How every call of every step ends, and what is decided when the run asks."""

    plays: dict[int, list[list[Play]]]
    decisions: list[str]
    deferred: bool

    def script(self) -> Script:
        acts = tuple(
            Act(f"aws.step-{phase}-{number}", Phase(phase), plays=tuple(plays))
            for phase, steps in self.plays.items()
            for number, plays in enumerate(steps)
        )
        return Script(acts, flow_log_gate="deferred" if self.deferred else "strict")


SCHEDULES = st.builds(
    Schedule,
    plays=st.fixed_dictionaries(
        {phase: st.lists(st.lists(PLAYS, max_size=3), min_size=1, max_size=2) for phase in range(1, 5)}
    ),
    decisions=DECISIONS,
    deferred=st.booleans(),
)


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.timeout(900)  # an alarm inside an example would be taken for a failing one, and shrunk
@settings(max_examples=20)
@given(schedule=SCHEDULES)
async def test_phases_never_overlap_and_the_verdict_follows_from_the_proofs(
    stage: Stage, schedule: Schedule
) -> None:
    document, recording = await follow(stage, schedule)
    assert_in_order(recording, waits_for_logs=schedule.deferred)
    assert recording.count("revert") == 0
    proved = {step.measure: step.verdict for step in last_outcomes(recording)}
    whole = all(proved.get(act.measure) is Verdict.CONTAINED for act in recording.script.acts)
    assert (document.verdict is Verdict.CONTAINED) is whole
    assert (document.contained_at is not None) is whole


async def follow(stage: Stage, schedule: Schedule) -> tuple[RunStatus, Recording]:
    """Play a schedule to its end; once its decisions are used up, everything is proceeded with."""
    run = await stage.play(schedule.script())
    deciding = asyncio.create_task(_decide(run, list(schedule.decisions)))
    ending = asyncio.create_task(run.ended())
    await asyncio.wait({deciding, ending}, return_when=asyncio.FIRST_COMPLETED)
    if deciding.done():  # it only ends by failing
        deciding.result()
    deciding.cancel()
    return await ending, run.recording


async def _decide(run: Played, decisions: list[str]) -> None:
    while True:
        await run.asked()
        await run.decide(decisions.pop(0) if decisions else "proceed")


def last_outcomes(recording: Recording) -> list[StepOutcome]:
    """How each step stood when its last call had ended."""
    return list({outcome.key: outcome for outcome in recording.outcomes}.values())


def assert_in_order(recording: Recording, *, waits_for_logs: bool) -> None:
    """No step of a phase begins while one of another phase is at work; only log evidence may come late."""
    at_work: set[tuple[str, Phase | None]] = set()
    highest = Phase.IDENTITY_REVOKE
    for event in recording.events:
        if event.what != "contain" or (event.late and waits_for_logs):
            continue
        assert event.phase is not None
        if event.edge == "began":
            assert event.phase >= highest
            assert {phase for _, phase in at_work} <= {event.phase}
            at_work.add((event.name, event.phase))
            highest = event.phase
        else:
            at_work.remove((event.name, event.phase))
