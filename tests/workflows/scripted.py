"""Fakes at the production seam: activities of the production names and models that follow a script."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal, NoReturn

from temporalio import activity

from activities.errors import translated
from activities.inputs import (
    CustodyInput,
    CustodySegment,
    KeepInput,
    MarkInput,
    PackageInput,
    Page,
    ReleasePackageInput,
    ReleasePlan,
    RevertInput,
    StepInput,
)
from activities.liveness import heartbeating
from firebreak.errors import PermanentCloudError, TransientCloudError
from firebreak.evidence import custody
from firebreak.model import Method, Phase, Stored, Verdict
from firebreak.planning import Preview
from firebreak.record import (
    ContainmentInput,
    EvidenceStatus,
    Plan,
    PlannedStep,
    ReleaseInput,
    RunRef,
    Sealed,
    StepOutcome,
    needs_approval,
)
from tests.workflows.script import ACCOUNT, REGION, Act, Play, Script, observed, reference, standard


@dataclass(frozen=True)
class Event:
    """One edge of one activity."""

    what: str
    """``contain``, ``plan``, ``mark``, ``chain``, ``package``, ``preserve``, ``revert``, ``page``."""
    edge: Literal["began", "ended"]
    name: str = ""
    """The step's measure, the segment, or the kind of page."""
    phase: Phase | None = None
    late: bool = False
    """Its phase went on without it, since only its log evidence was missing."""


@dataclass
class Recording:
    """What the fakes saw of one run."""

    script: Script
    events: list[Event] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    packages: list[PackageInput] = field(default_factory=list)
    release_packages: list[ReleasePackageInput] = field(default_factory=list)
    pages: list[Page] = field(default_factory=list)
    kept: list[KeepInput] = field(default_factory=list)
    steps: list[StepInput] = field(default_factory=list)
    outcomes: list[StepOutcome] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    head: custody.Head | None = None
    read: list[int] = field(default_factory=list)
    """Pages that slow captures have read."""

    def count(self, what: str, name: str = "") -> int:
        """How often an activity began."""
        return sum(e.what == what and e.edge == "began" and name in ("", e.name) for e in self.events)

    def order(self, what: str, edge: str = "ended") -> list[str]:
        """The names of an activity's edges, in order."""
        return [e.name for e in self.events if e.what == what and e.edge == edge]

    def index(self, what: str, edge: str, name: str = "") -> int:
        """Where an edge stands in the run."""
        return next(
            i for i, e in enumerate(self.events) if (e.what, e.edge) == (what, edge) and name in ("", e.name)
        )

    def next_error(self, what: str, errors: Sequence[type[Exception]]) -> None:
        """Raise what the script says for this call, once per error."""
        number = self.calls[what]
        self.calls[what] += 1
        if number < len(errors):
            msg = f"{what} fails as scripted"
            raise errors[number](msg)


class ScriptedActivities:
    """Plays runs by their incident id; an unknown one is the standard run."""

    def __init__(self, otherwise: Callable[[], Script] = lambda: Script(standard())) -> None:
        self.otherwise = otherwise
        self.runs: dict[str, Recording] = {}

    def expect(self, incident_id: str, script: Script) -> Recording:
        """Say how a run will play."""
        self.runs[incident_id] = Recording(script)
        return self.runs[incident_id]

    def of(self, incident_id: str) -> Recording:
        """What was seen of a run."""
        if incident_id not in self.runs:
            self.expect(incident_id, self.otherwise())
        return self.runs[incident_id]

    def on_cloud_queue(self) -> list[Callable[..., Any]]:
        """The activities of a cloud's worker."""
        return [
            self.preview,
            self.plan,
            self.mark,
            self.contain,
            self.preserve,
            self.revert,
            self.chain,
            self.keep_alert,
            self.package,
            self.plan_release,
            self.package_release,
        ]

    @activity.defn(name="firebreak.preview")
    async def preview(self, request: ContainmentInput) -> Preview:
        run = self.of(request.incident_id)
        with translated():
            run.next_error("preview", run.script.plan_errors)
        return Preview(
            workload_id=request.workload_id,
            account=ACCOUNT,
            region=REGION,
            steps=(),
            refusals=run.script.refusals,
            missing_permissions=(),
        )

    @activity.defn(name="firebreak.plan")
    async def plan(self, request: ContainmentInput) -> Any:
        run = self.of(request.incident_id)
        async with self._recorded(run, Event("plan", "began")):
            await _held(run.script.planning_held)
            run.next_error("plan", run.script.plan_errors)
            if run.script.malformed_plan:
                return {"run": "nonsense", "steps": 7}
            made = _plan(request, run.script)
            if not made.refusals and not needs_approval(made, request.trigger):
                run.events.append(Event("mark", "began"))
            return _newer(made) if run.script.newer_worker else made

    @activity.defn(name="firebreak.mark")
    async def mark(self, request: MarkInput) -> Stored:
        incident_id = request.plan.uri.split("/incidents/")[1].split("/")[0]
        run = self.of(incident_id)
        async with self._recorded(run, Event("mark", "began")):
            run.next_error("mark", run.script.mark_errors)
            return reference(incident_id, "marker.json")

    @activity.defn(name="firebreak.contain")
    async def contain(self, request: StepInput) -> Any:
        run = self.of(request.run.incident_id)
        run.steps.append(request)
        part = run.script.act(request.step.key)
        late = any(o.key == part.key and o.awaiting_logs for o in run.outcomes)
        async with self._recorded(run, Event("contain", "began", part.measure, part.phase, late)):
            await _held(part.held_late if late else part.held)
            play = self._play(run, part)
            if play == "slow" or request.resume:
                await _slow(run, request, ends=play != "slow")
            run.outcomes.append(_outcome(request, play))
            return _newer(run.outcomes[-1]) if run.script.newer_worker else run.outcomes[-1]

    @activity.defn(name="firebreak.preserve")
    async def preserve(self, request: StepInput) -> Stored:
        run = self.of(request.run.incident_id)
        part = run.script.act(request.step.key)
        async with self._recorded(run, Event("preserve", "began", part.measure)):
            if part.preserved == "never":
                await _slow(run, request)
            _raise_as(part.preserved)
            return reference(request.run.incident_id, f"preserved/{part.measure}/change.json")

    @activity.defn(name="firebreak.revert")
    async def revert(self, request: RevertInput) -> StepOutcome:
        run = self.of(request.run.incident_id)
        part = run.script.act(request.step.key)
        async with self._recorded(run, Event("revert", "began", part.measure, part.phase)):
            number = run.calls[f"revert {part.key}"]
            run.calls[f"revert {part.key}"] += 1
            play = part.reverts[number] if number < len(part.reverts) else "released"
            _raise_as(play)
            verdict = Verdict.UNPROVEN if play == "unproven" else Verdict.RELEASED
            findings = observed(holds=verdict is Verdict.RELEASED, methods=(Method.CONFIGURATION,))
            if play == "kept":
                findings = tuple(f.model_copy(update={"detail": {"kept": True}}) for f in findings)
            return request.applied.model_copy(update={"verdict": verdict, "findings": findings})

    @activity.defn(name="firebreak.chain")
    async def chain(self, request: CustodyInput) -> CustodySegment:
        run = self.of(request.run.incident_id)
        async with self._recorded(run, Event("chain", "began", request.segment)):
            run.next_error("chain", run.script.chain_errors)
            lines, head = custody.extend(request.head, request.events)
            run.lines.extend(lines)
            run.head = head
            stored = reference(request.run.incident_id, f"custody/{request.segment}.jsonl")
            return CustodySegment(head=head, stored=stored)

    @activity.defn(name="firebreak.keep-alert")
    async def keep_alert(self, request: KeepInput) -> tuple[Stored, ...]:
        run = self.of(request.run.incident_id)
        async with self._recorded(run, Event("keep-alert", "began", str(request.number))):
            run.next_error("keep-alert", run.script.keep_errors)
            run.kept.append(request)
            return (reference(request.run.incident_id, f"trigger/raw-{request.number}.bin"),)

    @activity.defn(name="firebreak.package")
    async def package(self, request: PackageInput) -> Sealed:
        run = self.of(request.run.incident_id)
        async with self._recorded(run, Event("package", "began")):
            await _held(run.script.package_held)
            run.next_error("package", run.script.package_errors)
            run.packages.append(request)
            return _sealed(request.run.incident_id, run.head)

    @activity.defn(name="firebreak.plan-release")
    async def plan_release(self, request: ReleaseInput) -> ReleasePlan:
        run = self.of(request.incident_id)
        package = run.packages[-1]
        with translated():
            run.next_error("plan-release", run.script.release_plan_errors)
        if run.script.release_refusals:
            return ReleasePlan(run=package.run, refusals=run.script.release_refusals)
        steps = tuple(_step(request.incident_id, part) for part in run.script.acts)
        outcomes = tuple(
            _outcome(StepInput(run=package.run, step=step, until=_now()), "proved") for step in steps
        )
        return ReleasePlan(run=package.run, steps=steps, outcomes=outcomes)

    @activity.defn(name="firebreak.package-release")
    async def package_release(self, request: ReleasePackageInput) -> Sealed:
        run = self.of(request.request.incident_id)
        async with self._recorded(run, Event("package", "began", "release")):
            run.next_error("package-release", run.script.package_errors)
            run.release_packages.append(request)
            return _sealed(request.request.incident_id, run.head)

    @activity.defn(name="firebreak.notify")
    async def notify(self, page: Page) -> None:
        run = self.of(page.incident_id)
        async with self._recorded(run, Event("page", "began", page.kind)):
            if run.script.notifier == "silent":
                await _forever()
            if run.script.notifier == "dead":
                msg = "the pager answers 503"
                raise TransientCloudError(msg)
            run.pages.append(page)

    @asynccontextmanager
    async def _recorded(self, run: Recording, event: Event) -> AsyncIterator[None]:
        run.events.append(event)
        try:
            with translated():
                yield
        finally:
            run.events.append(replace(event, edge="ended"))

    def _play(self, run: Recording, part: Act) -> Play:
        number = run.calls[part.key]
        run.calls[part.key] += 1
        play = part.plays[number] if number < len(part.plays) else part.then
        _raise_as(play)
        return play


def _newer(value: Plan | StepOutcome) -> dict[str, Any]:
    """As a later version writes it, also further down."""
    fields: dict[str, Any] = value.model_dump(mode="json")
    for inner in (
        fields,
        *(fields[name] for name in ("run", "consent", "target", "change") if name in fields),
    ):
        inner["of_a_later_version"] = 1
    return fields


def _raise_as(play: str) -> None:
    if play == "transient":
        _fail(TransientCloudError, "ThrottlingException")
    if play == "permanent":
        _fail(PermanentCloudError, "AccessDenied of the responder")


def _fail(kind: type[Exception], text: str) -> NoReturn:
    raise kind(text)


async def _held(event: asyncio.Event | None) -> None:
    """Wait, alive, for a test to let go."""
    while event is not None and not event.is_set():
        activity.heartbeat()
        await asyncio.wait({asyncio.create_task(event.wait())}, timeout=0.2)


async def _slow(run: Recording, request: StepInput, *, ends: bool = False) -> None:
    """Read the next page, which takes longer than there is time unless it is the last one."""
    async with heartbeating(request.resume) as progress:
        page = int(progress.resume.get("page", 0)) + 1
        run.read.append(page)
        progress.report({"page": page})
        if not ends:
            await asyncio.Event().wait()


async def _forever() -> None:
    held = asyncio.Event()
    await _held(held)


def _plan(request: ContainmentInput, script: Script) -> Plan:
    ref = RunRef(
        incident_id=request.incident_id,
        cloud=request.cloud,
        mode=request.mode,
        triggered_at=request.trigger.received_at,
        workload=reference(request.incident_id, "workload.json"),
    )
    if script.refusals:
        return Plan(run=ref, refusals=script.refusals)
    return Plan(
        run=ref,
        steps=tuple(_step(request.incident_id, part) for part in script.acts),
        consent=script.consent,
        flow_log_gate=script.flow_log_gate,
        budgets=script.budgets,
        empty_phases=script.empty_phases,
        stored=tuple(reference(request.incident_id, name) for name in ("trigger/trigger.json", "plan.json")),
    )


def _step(incident_id: str, part: Act) -> PlannedStep:
    return PlannedStep(
        measure=part.measure,
        phase=part.phase,
        target=part.target,
        state=reference(incident_id, f"phases/{int(part.phase)}/{part.measure}/agent-1a2b3c4d/before.json"),
        irreversible=part.irreversible,
        preserve_first=part.preserve_first,
        last_in_phase=part.last_in_phase,
        last_in_release=part.last_in_release,
        blast_radius=part.blast_radius,
    )


def _outcome(request: StepInput, play: Play) -> StepOutcome:
    step, awaits = request.step, play == "awaiting" and request.gate == "prompt"
    folder = f"phases/{int(step.phase)}/{step.measure}/agent-1a2b3c4d"
    proved = play == "proved"
    findings = observed(holds=proved)
    if awaits:
        findings = (*observed(holds=True), *observed(holds=False, methods=(Method.LOG_EVIDENCE,)))
    return StepOutcome(
        measure=step.measure,
        target=step.target,
        phase=step.phase,
        verdict=Verdict.CONTAINED if proved else Verdict.UNPROVEN,
        change=reference(request.run.incident_id, f"{folder}/change.json"),
        changed=True,
        applied_at=request.applied.applied_at if request.applied else _now(),
        proved_at=_now() if proved else None,
        observations=3,
        findings=findings,
        findings_stored=reference(request.run.incident_id, f"{folder}/findings.json"),
        awaiting_logs=awaits,
        interrupted=play == "interrupted",
    )


def _sealed(incident_id: str, head: custody.Head | None) -> Sealed:
    package = reference(incident_id, "manifest-sha256.txt")
    evidence = EvidenceStatus(uri=package.uri, manifest_sha256=package.sha256)
    record = reference(incident_id, "record.json")
    return Sealed(evidence=evidence, record=record, custody_head=head or custody.genesis(incident_id))


def _now() -> datetime:
    return datetime.now(UTC)
