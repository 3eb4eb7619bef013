"""The package of a run: what its steps left, bound by custody to its content, each at its own time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from firebreak import chronicle, exhibit0, inventory, package, planning, steps
from firebreak.engine import Engine
from firebreak.evidence import custody
from firebreak.evidence.custody import Actor
from firebreak.evidence.export import export
from firebreak.evidence.layout import CUSTODY, EXHIBITS
from firebreak.evidence.sign import load_public_keys
from firebreak.evidence.verify import Problem, verify
from firebreak.measure import Progress, now
from firebreak.model import Exhibit, Mode, Phase, Stored, Verdict
from firebreak.record import (
    ContainmentInput,
    DeliveryInput,
    Observations,
    Plan,
    PlannedStep,
    Received,
    RunFacts,
    StepOutcome,
    Trigger,
)
from firebreak.steps import Polling
from tests.firebreak.imaginary import CLOUD, World, engine_of, imaginary_cloud, settings_for

ACTOR = Actor(who="responder-1", software="firebreak")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with imaginary_cloud(tmp_path, monkeypatch) as running:
        yield running


@pytest.fixture
def engine(world: World) -> Engine:
    return engine_of(settings_for(world.root))


class Story:
    """A containment without Temporal: planned, applied, chained and sealed by the production functions."""

    def __init__(self, engine: Engine, world: World, plan: Plan, trigger: Trigger) -> None:
        self.engine, self.world, self.plan, self.trigger = engine, world, plan, trigger
        self.outcomes: dict[str, StepOutcome] = {}
        self.segments: list[Stored] = []
        self.head = custody.genesis(plan.run.incident_id)
        self.facts = RunFacts(
            incident_id=plan.run.incident_id,
            workflow_id="w",
            workload_id="agent",
            cloud=CLOUD,
            mode=Mode.LIVE,
            triggered_at=trigger.received_at,
            alerts=[trigger],
        )

    async def contain(self) -> None:
        self.chain((chronicle.triggered(1, self.trigger), chronicle.planned(self.plan, self.trigger)))
        for phase in Phase:
            done = [
                await steps.contain(self.engine, self.plan.run, step, Polling(now()), Progress())
                for step in self.plan.of(phase)
            ]
            self.outcomes |= {outcome.key: outcome for outcome in done}
            self.chain(chronicle.phase_events(done, int(phase)))

    async def apply(self, step: PlannedStep, seen: Stored | None = None, **polling: Any) -> StepOutcome:
        given = Polling(**({"until": now() + timedelta(seconds=5)} | polling))
        return await steps.contain(self.engine, self.plan.run, step, given, Progress(), seen)

    def chain(self, events: Sequence[custody.CustodyEvent]) -> None:
        lines, self.head = custody.extend(self.head, events)
        body = "".join(f"{line}\n" for line in lines).encode()
        key = f"{self.plan.run.incident_id}.custody/{len(self.segments)}.jsonl"
        self.segments.append(self.engine.vault.put(key, body))

    def seal(self, alerts: Sequence[Stored] = ()) -> Path:
        sealed = package.seal(
            self.engine,
            planning.read_plan(self.engine, self.plan.stored[-1]),
            self.facts,
            package.Gathered(list(self.outcomes.values()), (), self.segments, alerts),
            sealed_at=now(),
            actor=ACTOR,
        )
        return export(self.engine.vault, sealed.evidence.uri, self.world.root / "package")

    def problems(self, folder: Path) -> tuple[Problem, ...]:
        return verify(folder, load_public_keys([self.world.key.with_name("signing.pem.pub")])).problems


def soon() -> Polling:
    return Polling(now() + timedelta(seconds=5))


async def story_of(engine: Engine, world: World, **trigger: Any) -> Story:
    workload = inventory.load(engine.settings.inventory).workload("agent")
    usual = {"source": "siem", "reason": "odd", "requested_by": "riley", "received_at": now()}
    asked = Trigger.model_validate(usual | trigger)
    request = ContainmentInput(
        incident_id="INC-1",
        workload_id="agent",
        workload_digest=workload.digest(),
        cloud=CLOUD,
        mode=Mode.LIVE,
        trigger=asked,
        task_queue="q",
    )
    return Story(engine, world, await planning.plan(engine, request), asked)


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
    (problem,) = story.problems(story.seal())
    assert (problem.step, problem.item) == (4, chronicle.evidence_id(before))
    assert problem.message == "its SHA-256 is not the one that custody recorded"


async def test_every_exhibit_is_bound_to_its_content(world: World, engine: Engine) -> None:
    story = await story_of(engine, world)
    await story.contain()
    folder = story.seal()
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
    folder = story.seal()
    assert story.problems(folder) == ()
    assert outcome.findings_stored is not None
    sealed = folder / "bag/data" / chronicle.evidence_id(outcome.findings_stored)
    kept = Observations.model_validate_json(sealed.read_bytes())
    assert kept.outcome.verdict is Verdict.CONTAINED
    assert len(kept.observations) == kept.outcome.observations == outcome.observations > 3


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
    folder = story.seal([stored for number in (1, 2) for stored in alert(engine, story, number)])
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
