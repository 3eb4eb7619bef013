"""Every step executed twice at once, as after a lost heartbeat: the effect is that of one."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from firebreak import inventory, planning, steps
from firebreak.engine import Engine
from firebreak.errors import TransientCloudError
from firebreak.measure import Progress, now
from firebreak.model import Mode, Phase
from firebreak.record import ContainmentInput, PlannedStep, RunRef, StepOutcome
from firebreak.settings import load_settings
from firebreak.start import new_incident_id
from tests.e2e.scene import Scene
from tests.e2e.stack import QUICK, alert

pytestmark = pytest.mark.slow

Executed = tuple[str, StepOutcome | BaseException]
SPARES = frozenset({"ec2 acl", "ec2 snap"})
"""What AWS cannot make only once: an ACL that is in no use and goes on release, and a second snapshot."""
RETRY_SECONDS = 0.5
ENOUGH = timedelta(seconds=60)


@pytest.fixture
def undisturbed(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What one execution of every step leaves behind."""
    assert unproved(executed(scene, tmp_path, monkeypatch, 1)) == {}
    return scene.shape()


def test_two_executions_at_once_have_the_effect_of_one(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: Counter[str]
) -> None:
    outcomes = executed(scene, tmp_path, monkeypatch, 2)
    assert unproved(outcomes) == {}
    twice = scene.shape()
    assert set(twice - undisturbed) <= SPARES, "more than one execution leaves"
    assert undisturbed - twice == Counter()


def unproved(outcomes: list[Executed]) -> dict[str, Any]:
    """Every execution that did not end in a proof, with its error or findings."""
    return {
        key: outcome if isinstance(outcome, BaseException) else [f.observed for f in outcome.findings]
        for key, outcome in outcomes
        if isinstance(outcome, BaseException) or not outcome.proved
    }


def executed(scene: Scene, folder: Path, monkeypatch: pytest.MonkeyPatch, copies: int) -> list[Executed]:
    """Contain the sample agent on an empty sandbox, each step this many times at once."""
    scene.sandbox.reset()
    sample = scene.seed(folder / f"workloads-{copies}.yaml")
    for name, value in {**sample.environment(), **QUICK}.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    workload = inventory.load(settings.inventory).workload(sample.workload_ids[0])
    request = ContainmentInput(
        incident_id=new_incident_id(),
        workload_id=workload.id,
        workload_digest=workload.digest(),
        cloud=scene.cloud,
        mode=Mode.LIVE,
        trigger=alert(),
        task_queue="none",
    )
    return asyncio.run(_contain(Engine(scene.cloud, settings), request, copies))


async def _contain(engine: Engine, request: ContainmentInput, copies: int) -> list[Executed]:
    plan = await planning.plan(engine, request)
    assert plan.refusals == ()
    outcomes: list[Executed] = []
    for phase in Phase:
        polling = steps.Polling(until=now() + ENOUGH)
        doubled = [step for step in plan.of(phase) for _ in range(copies)]
        runs = (_retried(engine, plan.run, step, polling) for step in doubled)
        ended = await asyncio.gather(*runs, return_exceptions=True)
        outcomes += [(step.key, outcome) for step, outcome in zip(doubled, ended, strict=True)]
    return outcomes


async def _retried(engine: Engine, run: RunRef, step: PlannedStep, polling: steps.Polling) -> StepOutcome:
    """Execute a step as Temporal would: again after a transient error, and only then."""
    while True:
        try:
            return await steps.contain(engine, run, step, polling, Progress())
        except TransientCloudError:
            if now() > polling.until:
                raise
            await asyncio.sleep(RETRY_SECONDS)
