"""The package of a run: what its steps left, bound by custody to its content, each at its own time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from firebreak import capture, chronicle, exhibit0, steps
from firebreak.delivery import DeliveryInput
from firebreak.engine import Engine
from firebreak.evidence import custody
from firebreak.evidence.layout import CUSTODY, EXHIBITS
from firebreak.measure import Progress, now
from firebreak.model import Exhibit, JsonObject, Phase, Stored, Verdict
from firebreak.record import (
    Observations,
    PlannedStep,
    Received,
    StepOutcome,
    Unfinished,
)
from tests.firebreak.imaginary import World
from tests.firebreak.story import Story, soon, story_of


@pytest.mark.parametrize("document", ["findings_stored", "change"])
async def test_a_document_replaced_between_gate_and_seal_is_named(
    world: World, engine: Engine, document: str
) -> None:
    story = await story_of(engine, world)
    await story.contain()
    outcome = next(each for each in story.outcomes.values() if each.phase is Phase.NETWORK_ISOLATE)
    before = getattr(outcome, document)
    other = engine.get(before).replace(b"2", b"3", 1)
    key = before.uri.removeprefix(engine.vault.uri(""))
    story.outcomes[outcome.key] = outcome.model_copy(update={document: engine.vault.put(key, other)})
    (problem,) = story.problems(story.exported())
    assert (problem.step, problem.item) == (4, chronicle.evidence_id(before))
    assert problem.message == "its SHA-256 is not the one that custody recorded"


async def test_every_exhibit_is_bound_to_its_content(world: World, engine: Engine) -> None:
    story = await story_of(engine, world)
    await story.contain()
    folder = story.exported()
    assert story.problems(folder) == ()
    lines = (folder / "bag" / CUSTODY).read_text().splitlines()
    bound = custody.inspect(lines, "INC-1", None)
    assert bound.digests.keys() == bound.evidence_ids


async def handed_over(story: Story, step: PlannedStep) -> StepOutcome:
    """One observation by a worker that stops, the rest by the next one."""

    async def stopping(_: float) -> bool:
        return True

    half = await story.apply(step, pause=stopping)
    assert (half.interrupted, half.observations) == (True, 1)
    return await steps.prove(story.engine, story.plan.run, step, half, soon())


async def awaited_its_logs(story: Story, step: PlannedStep) -> StepOutcome:
    """The gate opens without log evidence, which comes later."""
    story.world.log_lines["gateway"] = False
    early = await story.apply(step, gate="prompt")
    assert (early.awaiting_logs, early.observations) == (True, 3)
    story.world.log_lines["gateway"] = True
    return await steps.prove(story.engine, story.plan.run, step, early, soon())


async def retried(story: Story, step: PlannedStep) -> StepOutcome:
    """Unproved in its time, and tried again by decision."""
    first = await story.apply(step, until=now())
    assert (first.verdict, first.observations) == (Verdict.UNPROVEN, 1)
    return await story.apply(step, seen=first.findings_stored)


@pytest.mark.parametrize("way", [handed_over, awaited_its_logs, retried])
async def test_every_observation_is_sealed_also_those_before_a_handover_a_gate_or_a_retry(
    world: World, engine: Engine, way: Callable[[Story, PlannedStep], Awaitable[StepOutcome]]
) -> None:
    story = await story_of(engine, world)
    await story.contain()
    step = story.plan.of(Phase.NETWORK_ISOLATE)[-1]
    outcome = story.outcomes[step.key] = await way(story, step)
    story.chain(chronicle.phase_events([outcome], 9))
    folder = story.exported()
    assert story.problems(folder) == ()
    assert outcome.findings_stored is not None
    sealed = folder / "bag/data" / chronicle.evidence_id(outcome.findings_stored)
    kept = Observations.model_validate_json(sealed.read_bytes())
    assert kept.outcome.verdict is Verdict.CONTAINED
    assert len(kept.observations) == kept.outcome.observations == outcome.observations > 3


def ran_out_of_time(story: Story, step: PlannedStep, pages: int) -> Unfinished:
    """A capture that had locked that many parts."""
    told: list[JsonObject] = []
    progress = Progress(report=told.append)
    context = story.engine.measure(story.plan.run, step, progress).context
    parts = capture.Parts(context, "log", "log-group", "logs:GetLogEvents")
    for number in range(pages):
        parts.add(capture.Page([{"event": number}], {"next": number}, flush=True))
    return Unfinished(measure=step.measure, target=step.target, reported=told[-1], ended_at=now())


async def test_what_an_unfinished_capture_had_stored_is_in_manifest_and_custody(
    world: World, engine: Engine
) -> None:
    story = await story_of(engine, world)
    await story.contain()
    step = story.plan.of(Phase.FORENSIC_CAPTURE)[0]
    folder = story.exported(unfinished=[ran_out_of_time(story, step, pages=45)])
    assert story.problems(folder) == ()
    lines = (folder / "bag" / EXHIBITS).read_bytes().splitlines()
    parts = [name for line in lines if "part-" in (name := Exhibit.model_validate_json(line).evidence_id)]
    assert len(parts) == 45
    entries = [custody.read(line) for line in (folder / "bag" / CUSTODY).read_text().splitlines()]
    (collected,) = [each for each in entries if set(parts) <= set(each.evidence_ids)]
    assert collected.summary.endswith("45 exhibits, it ran out of time")


async def test_other_progress_than_a_captures_adds_nothing(world: World, engine: Engine) -> None:
    story = await story_of(engine, world)
    await story.contain()
    step = story.plan.of(Phase.ARTIFACT_FREEZE)[0]
    hashing = Unfinished(
        measure=step.measure, target=step.target, reported={"hashing": "a", "bytes": 7}, ended_at=now()
    )
    assert story.problems(story.exported(unfinished=[hashing])) == ()


TIMES = ("taken_at", "applied_at", "observed_at", "received_at", "planned_at")


def told(value: Any) -> Iterator[datetime]:
    """Every time of an act that a document tells, wherever it stands."""
    if isinstance(value, dict):
        yield from (datetime.fromisoformat(each) for key, each in value.items() if key in TIMES and each)
        yield from (at for each in value.values() for at in told(each))
    elif isinstance(value, list):
        yield from (at for each in value for at in told(each))


async def test_no_document_is_older_than_what_it_tells_nor_than_its_custody(
    world: World, engine: Engine
) -> None:
    story = await story_of(engine, world)
    early = story.trigger.received_at - timedelta(hours=1)
    story.facts.alerts = [story.trigger.model_copy(update={"received_at": early}), story.trigger]
    await story.contain()
    folder = story.exported([stored for number in (1, 2) for stored in alert(engine, story, number)])
    assert story.problems(folder) == ()
    entries = [custody.read(line) for line in (folder / "bag" / CUSTODY).read_text().splitlines()]
    seen = 0
    for line in (folder / "bag" / EXHIBITS).read_bytes().splitlines():
        exhibit = Exhibit.model_validate_json(line)
        if not exhibit.evidence_id.endswith(".json"):
            continue
        inside = list(told(json.loads((folder / "bag/data" / exhibit.evidence_id).read_bytes())))
        named = [each.at for each in entries if exhibit.evidence_id in each.evidence_ids]
        for at in inside:
            assert at <= exhibit.collected_at, exhibit.evidence_id
            assert at <= max(named), exhibit.evidence_id
        seen += len(inside)
    assert seen > 20
    collected = {each.event_id: each.at for each in entries if "alert" in each.event_id}
    assert collected == {"collected alert 1": early, "collected alert 2": story.trigger.received_at}


def alert(engine: Engine, story: Story, number: int) -> tuple[Stored, ...]:
    """The raw alert of that number, kept as the activity keeps it."""
    body = b"alert %d" % number
    digest = hashlib.sha256(body).hexdigest()
    delivery = DeliveryInput(
        reference="INC-1",
        source="siem",
        caller="siem-key",
        received_at=story.facts.alerts[number - 1].received_at,
        headers=(),
        body=exhibit0.packed(body),
        sha256=digest,
        size=len(body),
        remember_seconds=0,
    )
    received = Received(delivery="d", sha256=digest, size=len(body))
    return exhibit0.keep(engine.vault, "INC-1", number, received, delivery)
