"""The containment without Temporal: the same cloud calls with the same parallelism, in plain asyncio.

Reads one JSON command per line (``contain`` or ``undo`` an incident) and answers each with one line, so
that it stays as warm as a worker. What it lacks is what an orchestrator adds: a crash loses the run.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from bench.ground import trigger
from firebreak import chronicle, inventory, logs, marker, package, planning, steps
from firebreak.engine import Engine
from firebreak.evidence import custody
from firebreak.evidence.custody import Actor, CustodyEvent, Head
from firebreak.measure import Progress, now
from firebreak.model import Cloud, Mode, Phase, Stored, Verdict
from firebreak.record import (
    ContainmentInput,
    ContainmentRecord,
    Plan,
    PlannedStep,
    RunFacts,
    StepOutcome,
)
from firebreak.settings import load_settings
from firebreak.statusdoc import phase_verdict, run_verdict
from firebreak.steps import Polling

ACTOR = Actor(who="plain script")

CUT_OFF_SECONDS = 1.5
"""Release ends every session of the present second: no positive control could be taken within it."""


class PlainRun:
    """One containment."""

    def __init__(self, engine: Engine, request: ContainmentInput) -> None:
        self.engine = engine
        self.request = request
        self.head: Head = custody.genesis(request.incident_id)
        self.segments: list[Stored] = []
        self.outcomes: dict[str, StepOutcome] = {}
        self.facts = RunFacts(
            incident_id=request.incident_id,
            workflow_id="plain",
            workload_id=request.workload_id,
            cloud=request.cloud,
            mode=request.mode,
            triggered_at=request.trigger.received_at,
        )

    async def contain(self) -> None:
        """Everything that the workflow does when nothing goes wrong."""
        plan = await planning.plan(self.engine, self.request)
        assert not plan.refusals, plan.refusals
        await self.engine.blocking(lambda: marker.take(self.engine, plan))
        preserving = [asyncio.create_task(self._preserve(plan, s)) for s in plan.steps if s.preserve_first]
        planned = (
            chronicle.triggered(1, self.request.trigger),
            chronicle.planned(plan, self.request.trigger),
        )
        for phase in Phase:
            await self._phase(plan, phase, planned if phase is Phase.IDENTITY_REVOKE else ())
        self.facts.verdict = run_verdict(each.verdict for each in self.facts.phases.values())
        self.facts.contained_at = now()
        preserved = await asyncio.gather(*preserving)
        await self.engine.blocking(lambda: self._seal(plan, preserved))

    async def _preserve(self, plan: Plan, step: PlannedStep) -> Stored:
        return await steps.preserve(self.engine, plan.run, step, Progress())

    async def _phase(self, plan: Plan, phase: Phase, before: tuple[CustodyEvent, ...]) -> None:
        facts = self.facts.phases[phase]
        facts.started_at = now()
        polling = Polling(until=now() + plan.budgets.of(phase))
        done = await asyncio.gather(
            *(steps.contain(self.engine, plan.run, s, polling, Progress()) for s in plan.of(phase))
        )
        self.outcomes.update({outcome.key: outcome for outcome in done})
        facts.verdict = phase_verdict(list(done))
        facts.verified_at = now()
        await self._chain(f"phase-{int(phase)}", (*before, *chronicle.phase_events(done, int(phase))))

    async def _chain(self, name: str, events: tuple[CustodyEvent, ...]) -> None:
        lines, self.head = custody.extend(self.head, events)
        body = "".join(f"{line}\n" for line in lines).encode()
        key = f"{self.request.incident_id}.custody/{name}.jsonl"
        self.segments.append(await self.engine.blocking(lambda: self.engine.vault.put(key, body)))

    def _seal(self, plan: Plan, preserved: list[Stored]) -> None:
        stored = [o.findings_stored for o in self.outcomes.values() if o.findings_stored]
        read = planning.read_plan(self.engine, plan.stored[-1])
        package.seal(
            self.engine,
            read,
            self.facts,
            package.Gathered(package.outcomes(self.engine, stored), preserved, self.segments),
            sealed_at=now(),
            actor=ACTOR,
        )
        self.engine.vault.forget(f"sealed/{self.request.incident_id}/")


async def contain(engine: Engine, incident_id: str, workload_id: str) -> dict[str, Any]:
    """Contain a workload; the answer says how long it took."""
    request = _request(engine, incident_id, workload_id)
    began, cpu = time.perf_counter(), time.process_time()
    run = PlainRun(engine, request)
    await run.contain()
    seconds = time.perf_counter() - began
    assert run.facts.verdict is Verdict.CONTAINED, [o for o in run.outcomes.values() if not o.proved]
    proved = [facts.verified_at for facts in run.facts.phases.values()]
    return {
        "seconds": seconds,
        "cpu_seconds": time.process_time() - cpu,
        "proved_after": [(at - request.trigger.received_at).total_seconds() for at in proved if at],
    }


async def undo(engine: Engine, incident_id: str) -> dict[str, Any]:
    """Revert a contained run, however it was made, so that the next one finds the same work."""
    stored = await engine.blocking(lambda: engine.vault.find(engine.vault.uri(f"{incident_id}.record.json")))
    record = ContainmentRecord.model_validate_json(await engine.blocking(lambda: engine.get(stored)))
    done = {outcome.key: outcome for outcome in record.outcomes}
    for phase in reversed(Phase):
        for group in ((True, False), (False, False), (False, True)):
            chosen = [s for s in record.plan.of(phase) if (s.last_in_phase, s.last_in_release) == group]
            ends = await asyncio.gather(
                *(steps.revert(engine, record.plan.run, s, done[s.key]) for s in chosen)
            )
            assert all(end.verdict is Verdict.RELEASED for end in ends), ends
    await engine.blocking(lambda: marker.release(engine, record.plan.run))
    await asyncio.sleep(CUT_OFF_SECONDS)
    return {"undone": incident_id}


def _request(engine: Engine, incident_id: str, workload_id: str) -> ContainmentInput:
    workload = inventory.load(engine.settings.inventory).workload(workload_id)
    return ContainmentInput(
        incident_id=incident_id,
        workload_id=workload.id,
        workload_digest=workload.digest(),
        cloud=workload.cloud,
        mode=Mode.LIVE,
        trigger=trigger(),
        task_queue="none",
    )


async def serve() -> None:
    """Do what each line says until there are no more."""
    settings = load_settings()
    logs.configure(settings)
    engine = Engine(Cloud.AWS, settings)
    while line := await asyncio.to_thread(sys.stdin.readline):
        command = json.loads(line)
        if command["do"] == "undo":
            answer = await undo(engine, command["incident"])
        else:
            answer = await contain(engine, command["incident"], command["workload"])
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(serve())
