"""Which incident holds a workload at present, in one document of the evidence store for each workload.

A later incident takes a workload over and keeps what the earlier one held; a release that is under way then
may not undo anything any more, and the containment waits until it has noticed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import timedelta

from pydantic import AwareDatetime

from firebreak.engine import Engine
from firebreak.errors import GuardError
from firebreak.measure import now
from firebreak.model import FrozenModel, Run, Stored, Workload
from firebreak.record import Plan, RunRef

NOTICES_WITHIN = timedelta(seconds=45)
"""How long a containment waits for a release that it ended: one revert, with the retries of its calls."""
FORGOTTEN_AFTER = timedelta(hours=3)
"""Longer than any release takes: four phases in three groups, ten minutes each at most."""
_ASK_AGAIN_SECONDS = 0.5


class Marker(FrozenModel):
    """Who holds a workload, and the pre-states that its release would restore."""

    workload_id: str
    incident_id: str
    status: str
    """``containing``, ``contained`` or ``released``: until then the present state is ours, not its own."""
    at: AwareDatetime
    states: dict[str, Stored]
    """By key of the step; once contained, of the steps that began."""
    before: Marker | None = None
    """The incident that held the workload when this one took it over."""


class UnderWay(FrozenModel):
    """A release, from its plan until its last revert has returned."""

    incident_id: str
    at: AwareDatetime
    ended: bool


def read(engine: Engine, workload: Workload) -> Marker | None:
    """The newest marker of a workload, or None when it was never contained."""
    body = engine.newest(_key(workload))
    return Marker.model_validate_json(body) if body else None


def holder(engine: Engine, workload: Workload) -> Marker | None:
    """The marker of the incident that holds a workload at present, or None where none does."""
    last = read(engine, workload)
    return None if last is None or last.status == "released" else last


def take(engine: Engine, plan: Plan) -> None:
    """Let the plan's incident hold the workload, before its first change."""
    run = engine.open(plan.run)
    before = holder(engine, run.workload)
    if before is not None and before.incident_id == run.incident_id:
        before = before.before  # planning that is tried again must not take itself for an earlier incident
    _write(engine, run, "containing", {step.key: step.state for step in plan.steps}, before)


def settle(engine: Engine, plan: Plan, began: Collection[str]) -> None:
    """Keep only what was touched, at the end of a containment; one that touched nothing holds nothing."""
    run = engine.open(plan.run)
    held = holder(engine, run.workload)
    if held is None or held.incident_id != run.incident_id:
        return
    states = {key: stored for key, stored in held.states.items() if key in began}
    if states:
        _write(engine, run, "contained", states, held.before)
    else:
        _give_back(engine, run, held.before)


def release(engine: Engine, ref: RunRef) -> str:
    """End the incident's hold; returns the incident that holds the workload now, or nothing.

    That is a later one that took it over meanwhile, or an earlier one that holds targets which this one
    does not know. Safe to repeat.
    """
    run = engine.open(ref)
    held = holder(engine, run.workload)
    if held is None:
        return ""
    if held.incident_id != run.incident_id:
        return held.incident_id
    left = _left(held.before, held.states)
    _give_back(engine, run, left)
    return left.incident_id if left else ""


def require(engine: Engine, ref: RunRef) -> Marker:
    """The marker, where the run's incident holds the workload; raises GuardError where it does not."""
    workload = engine.open(ref).workload
    held = holder(engine, workload)
    if held is None:
        raise GuardError(f"{workload.id} is not contained", resource=workload.id)
    if held.incident_id != ref.incident_id:
        raise GuardError(
            f"{workload.id} was contained again by {held.incident_id}: release that incident",
            resource=workload.id,
        )
    return held


def begin_release(engine: Engine, ref: RunRef) -> None:
    """Say that reverts follow."""
    _say(engine, ref, ended=False)


def end_release(engine: Engine, ref: RunRef) -> None:
    """Say that the last revert has returned."""
    last = _under_way(engine, engine.open(ref).workload)
    if last is not None and last.incident_id == ref.incident_id:
        _say(engine, ref, ended=True)


async def alone(engine: Engine, ref: RunRef, patience: timedelta = NOTICES_WITHIN) -> bool:
    """Wait until no revert of an earlier incident is in flight; False where that cannot be known.

    Reverts look at the marker before they begin, so call it after ``take``.
    """
    deadline = asyncio.get_running_loop().time() + patience.total_seconds()
    while await engine.blocking(lambda: _in_flight(engine, ref)):
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(_ASK_AGAIN_SECONDS)
    return True


def _in_flight(engine: Engine, ref: RunRef) -> bool:
    last = _under_way(engine, engine.open(ref).workload)
    return last is not None and not last.ended and now() - last.at < FORGOTTEN_AFTER


def _left(earlier: Marker | None, known: Collection[str]) -> Marker | None:
    """What earlier incidents hold that is not among these steps."""
    if earlier is None:
        return None
    states = {key: stored for key, stored in earlier.states.items() if key not in known}
    before = _left(earlier.before, {*known, *states})
    return earlier.model_copy(update={"states": states, "before": before}) if states else before


def _give_back(engine: Engine, run: Run, earlier: Marker | None) -> None:
    if earlier is None:
        _write(engine, run, "released", {}, None)
    else:
        engine.put(_key(run.workload), earlier.model_copy(update={"at": now()}))


def _write(engine: Engine, run: Run, status: str, states: dict[str, Stored], before: Marker | None) -> None:
    made = Marker(
        workload_id=run.workload.id,
        incident_id=run.incident_id,
        status=status,
        at=now(),
        states=states,
        before=before,
    )
    engine.put(_key(run.workload), made)


def _say(engine: Engine, ref: RunRef, *, ended: bool) -> None:
    said = UnderWay(incident_id=ref.incident_id, at=now(), ended=ended)
    engine.put(_release_key(engine.open(ref).workload), said)


def _under_way(engine: Engine, workload: Workload) -> UnderWay | None:
    body = engine.newest(_release_key(workload))
    return UnderWay.model_validate_json(body) if body else None


def _key(workload: Workload, kind: str = "") -> str:
    return f"workloads/{workload.cloud}-{workload.account}-{workload.id}{kind}.json"


def _release_key(workload: Workload) -> str:
    return _key(workload, ".release")
