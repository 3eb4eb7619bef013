"""Planning: which measures on which targets, what they would cut off, and what they must restore.

Reads everything before the first change. A preview makes no mutating call; a plan writes only to the
evidence store.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from firebreak import marker
from firebreak.engine import Engine, folder
from firebreak.errors import AbsentError, ContainmentError, UsageError
from firebreak.guard import Candidate, refusals, undeclared
from firebreak.marker import Marker
from firebreak.measure import Context, Measure, measures, now
from firebreak.model import FrozenModel, Phase, Run, State, Stored, Target, Workload
from firebreak.record import ContainmentInput, Plan, PlannedStep, RunRef

T = TypeVar("T")
_PLACE = ("cloud", "account", "id")
"""What no two workloads have in common."""


class PreviewStep(FrozenModel):
    """One measure on one target, as ``contain --plan`` shows it."""

    measure: str
    phase: Phase
    target: Target
    permissions: tuple[str, ...]
    reversible: bool
    irreversible: str = ""
    blast_radius: tuple[str, ...] = ()


class Preview(FrozenModel):
    """What a containment would do; made without a single mutating call."""

    workload_id: str
    account: str
    region: str
    steps: tuple[PreviewStep, ...]
    refusals: tuple[str, ...]
    missing_permissions: tuple[str, ...]


@dataclass(frozen=True)
class Survey:
    """Read-only findings about a run: every candidate step, and every reason to refuse."""

    candidates: tuple[Candidate, ...]
    refusals: tuple[str, ...]
    missing: tuple[str, ...]


async def preview(engine: Engine, request: ContainmentInput) -> Preview:
    """What a containment would do. No mutating call is made, not even to the evidence store."""
    run = _run(request, await _workload(engine, request))
    survey = await _survey(engine, await engine.blocking(lambda: engine.context(run, "")))
    return Preview(
        workload_id=run.workload.id,
        account=run.workload.account,
        region=run.workload.region,
        steps=tuple(_preview_step(candidate) for candidate in survey.candidates),
        refusals=survey.refusals,
        missing_permissions=survey.missing,
    )


async def plan(engine: Engine, request: ContainmentInput) -> Plan:
    """Fix what the run will do. Refusals come back in the plan, and then nothing was written."""
    workload = await _workload(engine, request)
    run = _run(request, workload)
    context = await engine.blocking(lambda: engine.context(run, f"{run.incident_id}/data/plan"))
    survey, taken, held = await asyncio.gather(
        _survey(engine, context),
        engine.blocking(lambda: list(_taken(engine, run))),
        engine.blocking(lambda: marker.holder(engine, workload)),
    )
    refused = (*taken, *survey.refusals, *(f"the responder lacks {each}" for each in survey.missing))
    if refused:
        return Plan(run=_unstored_ref(request), refusals=refused)
    snapshots = await asyncio.gather(*(_snapshot(engine, context, c) for c in survey.candidates))
    unusable = tuple(problem for _, problem in snapshots if problem)
    if unusable:
        await engine.blocking(lambda: engine.vault.forget(f"sealed/{run.incident_id}/"))
        return Plan(run=_unstored_ref(request), refusals=unusable)
    return await _write(engine, request, run, survey, [s for s, _ in snapshots if s], held)


def _taken(engine: Engine, run: Run) -> Iterator[str]:
    """Refuse the incident of another workload: the two would hide each other's package."""
    if body := engine.newest(f"{run.incident_id}/data/workload.json"):
        owner = json.loads(body)
        mine = run.workload.model_dump(mode="json", include=set(_PLACE))
        if mine != {field: owner[field] for field in _PLACE}:
            yield f"{run.incident_id} is already the incident of {owner['id']}; choose another id"


async def _workload(engine: Engine, request: ContainmentInput) -> Workload:
    loaded = await engine.blocking(engine.inventory)
    workload = loaded.workload(request.workload_id)
    if workload.digest() != request.workload_digest:
        raise UsageError(
            f"the worker's inventory describes {workload.id} differently from the one that was triggered on",
            resource=str(engine.settings.inventory),
            remedy="give the worker and the caller the same inventory file, and trigger again",
        )
    return workload


def _run(request: ContainmentInput, workload: Workload) -> Run:
    return Run(
        incident_id=request.incident_id,
        mode=request.mode,
        workload=workload,
        triggered_at=request.trigger.received_at,
    )


async def _survey(engine: Engine, context: Context[Any]) -> Survey:
    applicable = [kind for kind in measures(engine.cloud) if kind.applies_to(context.run.workload)]
    each = await asyncio.gather(*(_find(engine, kind(context)) for kind in applicable))
    candidates = tuple(candidate for found in each for candidate in found.candidates)
    unreadable = tuple(
        _unusable(found.kind, target, error) for found in each for target, error in found.unreadable.items()
    )
    own = await engine.blocking(lambda: engine.provider.own_principals(context.access))
    refused = refusals(context.run, candidates, own, engine.settings.guard)
    needs = [(kind, target) for kind, target, _ in candidates]
    needs += [(found.kind, target) for found in each for target in found.perhaps_forbidden]
    missing = await engine.blocking(lambda: engine.provider.missing_permissions(context.access, needs))
    return Survey(candidates, (*unreadable, *refused), missing)


@dataclass(frozen=True)
class Found:
    """What one measure would act on, and the targets that cannot even be read."""

    kind: type[Measure[Any]]
    candidates: tuple[Candidate, ...]
    unreadable: dict[Target, ContainmentError]

    @property
    def perhaps_forbidden(self) -> list[Target]:
        """The unreadable ones that may be there: it is asked whether rights on them are missing."""
        return [target for target, error in self.unreadable.items() if not isinstance(error, AbsentError)]


async def _find(engine: Engine, measure: Measure[Any]) -> Found:
    unreadable: dict[Target, ContainmentError] = {}

    async def read(work: Callable[[Target], T], target: Target) -> list[T]:
        value = await _tried(engine, partial(work, target))
        if isinstance(value, ContainmentError):
            unreadable[target] = value
            return []
        return [value]

    declared = measure.applies_to(measure.run.workload)
    discovered = await asyncio.gather(*(read(measure.discover, target) for target in declared))
    targets = list({target.key: target for done in discovered for some in done for target in some}.values())
    radii = await asyncio.gather(*(read(measure.blast_radius, target) for target in targets))
    found = (
        (type(measure), target, radius)
        for target, some in zip(targets, radii, strict=True)
        for radius in some
    )
    return Found(type(measure), tuple(found), unreadable)


async def _snapshot(engine: Engine, context: Context[Any], candidate: Candidate) -> tuple[State | None, str]:
    kind, target, _ = candidate
    values = await _tried(engine, lambda: kind(context).snapshot(target))
    if isinstance(values, ContainmentError):
        return None, _unusable(kind, target, values)
    return State(measure=kind.name, target=target, taken_at=now(), values=values), ""


async def _tried(engine: Engine, read: Callable[[], T]) -> T | ContainmentError:
    """What was read, or why it never can be: a reason to refuse the plan."""
    try:
        return await engine.blocking(read)
    except ContainmentError as error:
        if error.retryable:
            raise
        return error


def _unusable(kind: type[Measure[Any]], target: Target, error: ContainmentError) -> str:
    return f"{kind.name} cannot be used on {target.ref}: {error}"


async def _write(
    engine: Engine,
    request: ContainmentInput,
    run: Run,
    survey: Survey,
    states: list[State],
    held: Marker | None,
) -> Plan:
    data = f"{run.incident_id}/data"
    workload, trigger = await asyncio.gather(
        engine.blocking(lambda: engine.put_workload(f"{data}/workload.json", run.workload)),
        engine.blocking(lambda: engine.put(f"{data}/trigger/trigger.json", request.trigger)),
    )
    ref = RunRef(
        incident_id=run.incident_id,
        cloud=engine.cloud,
        mode=run.mode,
        triggered_at=run.triggered_at,
        workload=workload,
    )
    steps = await asyncio.gather(
        *(
            _planned(engine, ref, candidate, state, held)
            for candidate, state in zip(survey.candidates, states, strict=True)
        )
    )
    made = Plan(
        run=ref,
        steps=tuple(steps),
        notes=(*_notes(run, survey, held), *_unprovable(states)),
        empty_phases=_empty(run, survey),
        consent=run.workload.consent,
        flow_log_gate=run.workload.flow_log_gate,
        budgets=run.workload.budgets,
        stored=(trigger, workload),
        planned_at=now(),
    )
    stored = await engine.blocking(lambda: engine.put(f"{data}/plan.json", made))
    return made.model_copy(update={"stored": (trigger, workload, stored)})


def read_plan(engine: Engine, stored: Stored) -> Plan:
    """A plan from the evidence store, with the reference to itself that it could not contain."""
    made = Plan.model_validate_json(engine.get(stored))
    return made.model_copy(update={"stored": (*made.stored, stored)})


async def _planned(
    engine: Engine, ref: RunRef, candidate: Candidate, state: State, held: Marker | None
) -> PlannedStep:
    kind, target, radius = candidate
    step = PlannedStep(
        measure=kind.name,
        phase=kind.phase,
        target=target,
        state=ref.workload,
        irreversible=kind.irreversible,
        preserve_first=kind.preserve_first,
        last_in_phase=kind.last_in_phase,
        last_in_release=kind.last_in_release,
        blast_radius=radius,
    )
    carried = await engine.blocking(lambda: _carried(engine, step, state, held))
    stored = await engine.blocking(
        lambda: engine.put_state(f"{folder(ref.incident_id, step)}/before.json", carried)
    )
    return step.model_copy(update={"state": stored, "taken_at": carried.taken_at})


def _carried(engine: Engine, step: PlannedStep, state: State, held: Marker | None) -> State:
    """The pre-state to restore: the earlier one where the workload is still contained from before."""
    while held is not None:
        if step.key in held.states:
            earlier = engine.state(held.states[step.key])
            return earlier.model_copy(update={"carried_from": earlier.carried_from or held.incident_id})
        held = held.before
    return state


def _notes(run: Run, survey: Survey, held: Marker | None) -> tuple[str, ...]:
    notes = [
        f"{kind.name} on {target.ref} also affects {', '.join(radius)}"
        for kind, target, radius in survey.candidates
        if radius
    ]
    if held is not None:
        notes.append(
            f"{run.workload.id} is still contained from {held.incident_id}: "
            "release will restore the state from before that incident"
        )
    return tuple(notes)


def _unprovable(states: Iterable[State]) -> Iterator[str]:
    """What the on-call hears first: steps that will end unproven for want of a control, and other limits."""
    for state in states:
        control = state.values.get("control") or {}
        if control.get("why_not") and not control.get("works"):
            yield f"{state.measure} on {state.target.ref} cannot be proved by a probe: {control['why_not']}"
        for gap in control.get("listed_only") or ():
            yield f"{state.measure} on {state.target.ref}: {gap}"
        yield from state.values.get("notes") or ()


def _empty(run: Run, survey: Survey) -> dict[Phase, str]:
    return {
        phase: run.workload.without[group]  # type: ignore[index]  # the keys are the group names
        for phase, group in undeclared(run.workload, survey.candidates).items()
    }


def _preview_step(candidate: Candidate) -> PreviewStep:
    kind, target, radius = candidate
    return PreviewStep(
        measure=kind.name,
        phase=kind.phase,
        target=target,
        permissions=tuple(permission.action for permission in kind.permissions),
        reversible=not kind.irreversible,
        irreversible=kind.irreversible,
        blast_radius=radius,
    )


def _unstored_ref(request: ContainmentInput) -> RunRef:
    nothing = Stored(uri="", version_id="", sha256=request.workload_digest, size=0)
    return RunRef(
        incident_id=request.incident_id,
        cloud=request.cloud,
        mode=request.mode,
        triggered_at=request.trigger.received_at,
        workload=nothing,
    )
