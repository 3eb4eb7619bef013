"""Every step executed twice at once, as after a lost heartbeat: the effect is that of one."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from drills.sandbox.aws.client import SandboxClient
from drills.sandbox.aws.sample import seed
from firebreak import inventory, planning, steps
from firebreak.engine import Engine
from firebreak.measure import Progress, now
from firebreak.model import Cloud, Mode, Phase, Verdict
from firebreak.record import ContainmentInput, StepOutcome
from firebreak.settings import load_settings
from firebreak.start import new_incident_id
from tests.e2e.estate import shape
from tests.e2e.stack import QUICK, alert

ENOUGH = timedelta(seconds=60)


@pytest.fixture
def undisturbed(sandbox: SandboxClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What one execution of every step leaves behind."""
    assert {each.verdict for each in executed(sandbox, tmp_path, monkeypatch, 1)} == {Verdict.CONTAINED}
    return shape(sandbox)


def test_two_executions_at_once_have_the_effect_of_one(
    sandbox: SandboxClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: Counter[str]
) -> None:
    outcomes = executed(sandbox, tmp_path, monkeypatch, 2)
    unproved = {o.key: [f.observed for f in o.findings] for o in outcomes if not o.proved}
    assert unproved == {}
    twice = shape(sandbox)
    assert twice - undisturbed == Counter(), "more than one execution leaves"
    assert undisturbed - twice == Counter()


def executed(
    sandbox: SandboxClient, folder: Path, monkeypatch: pytest.MonkeyPatch, copies: int
) -> list[StepOutcome]:
    """Contain the sample agent on an empty sandbox, each step this many times at once."""
    sandbox.reset()
    sample = seed(sandbox, folder / f"workloads-{copies}.yaml")
    for name, value in {**sample.environment(), **QUICK}.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    workload = inventory.load(settings.inventory).workload(sample.workload_ids[0])
    request = ContainmentInput(
        incident_id=new_incident_id(),
        workload_id=workload.id,
        workload_digest=workload.digest(),
        cloud=Cloud.AWS,
        mode=Mode.LIVE,
        trigger=alert(),
        task_queue="none",
    )
    return asyncio.run(_contain(Engine(Cloud.AWS, settings), request, copies))


async def _contain(engine: Engine, request: ContainmentInput, copies: int) -> list[StepOutcome]:
    plan = await planning.plan(engine, request)
    assert plan.refusals == ()
    outcomes: list[StepOutcome] = []
    for phase in Phase:
        polling = steps.Polling(until=now() + ENOUGH)
        outcomes += await asyncio.gather(
            *(
                steps.contain(engine, plan.run, step, polling, Progress())
                for step in plan.of(phase)
                for _ in range(copies)
            )
        )
    return outcomes
