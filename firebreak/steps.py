"""One step of a run: apply and prove, prove alone, preserve, revert. No Temporal, no policy.

Every function may be called again after a crash, in another process, and then finds its earlier
work done.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

import structlog

from firebreak.engine import Engine, folder
from firebreak.errors import ContainmentError, Irreversible
from firebreak.measure import Measure, Progress, found, now
from firebreak.model import Change, Finding, Method, State, Stored, Verdict
from firebreak.record import Observations, PlannedStep, RunRef, StepOutcome

log = structlog.get_logger("firebreak.steps")

Gate = Literal["all", "prompt"]
"""``prompt`` leaves log evidence for later (``flow_log_gate: deferred``)."""

Pause = Callable[[float], Awaitable[bool]]
"""Waits that many seconds; True when the process is to stop and another one should go on."""


async def sleep(seconds: float) -> bool:
    """Wait, without ever asking to be relieved."""
    await asyncio.sleep(seconds)
    return False


@dataclass(frozen=True)
class Polling:
    """How long and how patiently a step is observed."""

    until: datetime
    gate: Gate = "all"
    pause: Pause = sleep


@dataclass
class Streak:
    """Counts holding observations in a row; one that does not hold starts again from nothing."""

    needed: int
    """Observations in a row that a live probe needs; other methods need one."""
    count: int = 0
    total: int = 0
    observations: deque[tuple[Finding, ...]] = field(default_factory=lambda: deque(maxlen=1000))
    """The last 1,000."""

    def add(self, findings: Sequence[Finding], gate: Gate = "all") -> bool:
        """Record an observation; True when enough of them held, as far as the gate looks."""
        self.observations.append(tuple(findings))
        self.total += 1
        gating = [f for f in findings if gate == "all" or f.method is not Method.LOG_EVIDENCE]
        if findings and not gating:
            return True  # log evidence alone, which this gate leaves for later
        self.count = self.count + 1 if gating and all(f.holds for f in gating) else 0
        probed = any(f.method is Method.LIVE_PROBE for f in gating)
        return self.count >= (self.needed if probed else 1)


async def contain(
    engine: Engine,
    ref: RunRef,
    step: PlannedStep,
    polling: Polling,
    progress: Progress,
    seen: Stored | None = None,
) -> StepOutcome:
    """Apply the step, record the change, and observe until it is proved or the time is over.

    ``seen`` is what an earlier attempt observed: it stays in the evidence.
    Raises PermanentCloudError or TransientCloudError when it cannot be applied.
    """
    timed = replace(progress, until=polling.until)
    measure = await engine.blocking(lambda: engine.measure(ref, step, timed))
    change = await engine.blocking(lambda: _apply(engine, measure, step))
    stored = await engine.blocking(lambda: _keep(engine, measure, change))
    log.info("measure.applied", measure=step.measure, target=step.target.key, changed=change.changed)
    outcome = StepOutcome(
        measure=step.measure,
        target=step.target,
        phase=step.phase,
        change=stored,
        changed=change.changed,
        applied_at=change.applied_at,
        findings_stored=seen,
    )
    return await _prove(engine, measure, step, change, outcome, polling)


async def prove(
    engine: Engine, ref: RunRef, step: PlannedStep, applied: StepOutcome, polling: Polling
) -> StepOutcome:
    """Observe an applied step until it is proved or the time is over."""
    measure = await engine.blocking(lambda: engine.measure(ref, step))
    stored = applied.change
    if stored is None:
        raise ContainmentError("nothing was applied, so there is nothing to prove", resource=step.key)
    change = await engine.blocking(lambda: Change.model_validate_json(engine.get(stored)))
    return await _prove(engine, measure, step, change, applied, polling)


async def preserve(engine: Engine, ref: RunRef, step: PlannedStep, progress: Progress) -> Stored:
    """Capture a volatile source once, before it may be lost; not a proof and not a gate."""
    measure = await engine.blocking(lambda: _preserving(engine, ref, step, progress))
    change = await engine.blocking(lambda: _apply(engine, measure, step))
    return await engine.blocking(lambda: _keep(engine, measure, change))


async def revert(engine: Engine, ref: RunRef, step: PlannedStep, applied: StepOutcome) -> StepOutcome:
    """Undo an applied step and prove the pre-state; what is irreversible stays in force, and says so."""
    measure = await engine.blocking(lambda: engine.measure(ref, step))
    finding = await engine.blocking(lambda: _undone(engine, measure, step, applied))
    log.info("measure.reverted", measure=step.measure, target=step.target.key, holds=finding.holds)
    return _reverted(applied, finding)


def _undone(engine: Engine, measure: Measure[Any], step: PlannedStep, applied: StepOutcome) -> Finding:
    change = _recorded(engine, measure, applied)
    if change is None:
        state = engine.state(step.state)
        began = bool(applied.error)
        if not began or (measure.irreversible and _same(measure, state)):
            return _untouched(measure, state)
        change = measure.begun(step.target, state)
    try:
        return measure.revert(change)
    except Irreversible as kept:
        return found(Method.CONFIGURATION, str(kept), holds=True, kept=True)


def _reverted(applied: StepOutcome, finding: Finding) -> StepOutcome:
    verdict = Verdict.RELEASED if finding.holds else Verdict.UNPROVEN
    proved_at = finding.observed_at if finding.holds else None
    return applied.model_copy(update={"verdict": verdict, "findings": (finding,), "proved_at": proved_at})


def _recorded(engine: Engine, measure: Measure[Any], applied: StepOutcome) -> Change | None:
    """The recorded change, also one whose step failed after it was recorded."""
    if applied.change is not None:
        return Change.model_validate_json(engine.get(applied.change))
    body = engine.newest(f"{measure.context.folder}/change.json")
    return Change.model_validate_json(body) if body else None


def _untouched(measure: Measure[Any], state: State) -> Finding:
    """Whether everything is as it was before a step of which no change is on record.

    What differs is left alone where the step never began: then somebody else changed it.
    """
    if _same(measure, state):
        return found(Method.CONFIGURATION, "never applied: the state is the one from before", holds=True)
    return found(
        Method.CONFIGURATION,
        f"no change is on record, but {state.target.ref} is not as before: compare it with before.json",
        holds=False,
    )


def _same(measure: Measure[Any], state: State) -> bool:
    """Whether a snapshot reads as before, its control and what a newer version reads beside left out."""
    now = measure.snapshot(state.target)
    return all(now.get(name) == value for name, value in state.values.items() if name != "control")


def _apply(engine: Engine, measure: Measure[Any], step: PlannedStep) -> Change:
    """Apply; a change whose record the store did not take is still the change when it is found in place."""
    place, change = measure.context.folder, measure.apply(step.target, engine.state(step.state))
    first = engine.unstored.get(place)
    engine.unstored[place] = first if first and first.changed and not change.changed else change
    return engine.unstored[place]


def _keep(engine: Engine, measure: Measure[Any], change: Change) -> Stored:
    place = measure.context.folder
    stored = engine.put(f"{place}/change.json", change)
    engine.unstored.pop(place, None)
    return stored


def _preserving(engine: Engine, ref: RunRef, step: PlannedStep, progress: Progress) -> Measure[Any]:
    measure = engine.measure(ref, step, progress)
    place = f"{ref.incident_id}/data/preserved/{step.measure}/{folder('', step).rsplit('/', 1)[-1]}"
    return type(measure)(engine.context(measure.run, place, progress))


async def _prove(
    engine: Engine,
    measure: Measure[Any],
    step: PlannedStep,
    change: Change,
    outcome: StepOutcome,
    polling: Polling,
) -> StepOutcome:
    streak = Streak(engine.settings.proof.consecutive)
    findings, proved, relieved = await _observe_until(engine, measure, step, change, streak, polling)
    complete = all(f.holds for f in findings)
    log.info("measure.proved" if proved else "measure.unproven", measure=step.measure, target=step.target.key)
    count, earlier = await engine.blocking(lambda: _earlier(engine, outcome.findings_stored))
    outcome = outcome.model_copy(
        update={
            "verdict": Verdict.CONTAINED if proved and complete else Verdict.UNPROVEN,
            "awaiting_logs": proved and not complete,
            "interrupted": relieved,
            "proved_at": findings[-1].observed_at if proved and complete else None,
            "findings": findings,
            "findings_stored": None,
            "observations": count + streak.total,
        }
    )
    seen = Observations(outcome=outcome, observations=(*earlier, *streak.observations))
    place = f"{measure.context.folder}/findings.json"
    stored = await engine.blocking(lambda: engine.put(place, seen))
    return outcome.model_copy(update={"findings_stored": stored})


def _earlier(engine: Engine, stored: Stored | None) -> tuple[int, tuple[tuple[Finding, ...], ...]]:
    """What was observed before a handover, a gate that left the logs for later, or a retry, and how often."""
    if stored is None:
        return 0, ()
    seen = Observations.model_validate_json(engine.get(stored))
    return seen.outcome.observations, seen.observations


async def _observe_until(
    engine: Engine, measure: Measure[Any], step: PlannedStep, change: Change, streak: Streak, polling: Polling
) -> tuple[tuple[Finding, ...], bool, bool]:
    """The last findings, whether they are proof, and whether the process has to hand over."""
    spacing = engine.settings.proof.spacing_seconds
    while True:
        findings = await engine.blocking(lambda: _observe(measure, step, change))
        if streak.add(findings, polling.gate):
            return findings, True, False
        if now().timestamp() + spacing > polling.until.timestamp():
            return findings, False, False
        if await polling.pause(spacing):
            return findings, False, True


def _observe(measure: Measure[Any], step: PlannedStep, change: Change) -> tuple[Finding, ...]:
    """One observation; a failure to observe is an inconclusive finding, never a proof."""
    try:
        findings = measure.verify(step.target, change)
    except ContainmentError as error:
        findings = ()
        reason = f"could not observe: {error}"
    else:
        reason = "the measure reported no finding"
    if findings:
        return findings
    return (found(Method.CONFIGURATION, reason, holds=False, inconclusive=True),)
