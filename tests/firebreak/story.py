"""A containment without Temporal: planned, applied, chained and sealed by the production functions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from firebreak import chronicle, inventory, package, planning, steps
from firebreak.engine import Engine
from firebreak.evidence import custody
from firebreak.evidence.custody import Actor
from firebreak.evidence.export import export
from firebreak.evidence.sign import load_public_keys
from firebreak.evidence.verify import Problem, verify
from firebreak.measure import Progress, now
from firebreak.model import Mode, Phase, Stored
from firebreak.record import (
    ContainmentInput,
    Plan,
    PlannedStep,
    RunFacts,
    Sealed,
    StepOutcome,
    Trigger,
    Unfinished,
)
from firebreak.steps import Polling
from tests.firebreak.imaginary import CLOUD, World

ACTOR = Actor(who="responder-1", software="firebreak")


class Story:
    """One run, as far as a test has told it."""

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
        return await steps.contain(self.engine, self.plan.run, step, soon(**polling), Progress(), seen)

    def chain(self, events: Sequence[custody.CustodyEvent]) -> None:
        lines, self.head = custody.extend(self.head, events)
        body = "".join(f"{line}\n" for line in lines).encode()
        key = f"{self.plan.run.incident_id}.custody/{len(self.segments)}.jsonl"
        self.segments.append(self.engine.vault.put(key, body))

    def seal(self, alerts: Sequence[Stored] = (), unfinished: Sequence[Unfinished] = ()) -> Sealed:
        return package.seal(
            self.engine,
            planning.read_plan(self.engine, self.plan.stored[-1]),
            self.facts,
            package.Gathered(list(self.outcomes.values()), (), self.segments, alerts, unfinished),
            sealed_at=now(),
            actor=ACTOR,
        )

    def exported(self, alerts: Sequence[Stored] = (), unfinished: Sequence[Unfinished] = ()) -> Path:
        sealed = self.seal(alerts, unfinished)
        return export(self.engine.vault, sealed.evidence.uri, self.world.root / "package")

    def problems(self, folder: Path) -> tuple[Problem, ...]:
        return verify(folder, load_public_keys([self.world.public_key])).problems


def soon(**polling: Any) -> Polling:
    """As in a run, with no more than seconds for a proof."""
    return Polling(**({"until": now() + timedelta(seconds=5)} | polling))


def request_for(engine: Engine, incident_id: str = "INC-1", **fields: Any) -> ContainmentInput:
    """What a containment of the agent begins with, for an alert that came in now."""
    workload = inventory.load(engine.settings.inventory).workload("agent")
    usual = {
        "incident_id": incident_id,
        "workload_id": "agent",
        "workload_digest": workload.digest(),
        "cloud": CLOUD,
        "mode": Mode.LIVE,
        "trigger": Trigger(source="siem", reason="odd", requested_by="riley", received_at=now()),
        "task_queue": "q",
    }
    return ContainmentInput.model_validate(usual | fields)


async def story_of(engine: Engine, world: World, incident_id: str = "INC-1") -> Story:
    """A planned run."""
    request = request_for(engine, incident_id)
    return Story(engine, world, await planning.plan(engine, request), request.trigger)
