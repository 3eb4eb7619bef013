"""Release: give a contained workload back, from the recorded changes. Blocking, no Temporal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from firebreak import planning
from firebreak.chronicle import evidence_id
from firebreak.engine import Engine
from firebreak.evidence import bag, custody
from firebreak.evidence.custody import Action, Actor, CustodyEvent, Head
from firebreak.model import Change, Exhibit, Finding, Phase, Stored
from firebreak.package import predicate, write_record
from firebreak.record import (
    ContainmentRecord,
    EvidenceStatus,
    PlannedStep,
    ReleaseInput,
    RunFacts,
    Sealed,
    StepOutcome,
    same_person,
)
from firebreak.statusdoc import status


def open_record(engine: Engine, request: ReleaseInput) -> ContainmentRecord:
    """How the containment ended."""
    return ContainmentRecord.model_validate_json(engine.get(request.record))


def refusals(engine: Engine, request: ReleaseInput, record: ContainmentRecord) -> tuple[str, ...]:
    """Every reason why the workload may not be released."""
    return (*_people(request), *_superseded(engine, request, record), *_altered(engine, record))


def _people(request: ReleaseInput) -> Iterator[str]:
    if same_person(request.by, request.approved_by):
        yield f"{request.by} cannot release alone: another person has to approve"


def _superseded(engine: Engine, request: ReleaseInput, record: ContainmentRecord) -> Iterator[str]:
    marker = planning.read_marker(engine, engine.open(record.plan.run).workload)
    if marker is None or marker.status not in planning.ACTIVE:
        yield f"{request.workload_id} is not contained"
    elif marker.incident_id != request.incident_id:
        yield f"{request.workload_id} was contained again by {marker.incident_id}: release that incident"


def _altered(engine: Engine, record: ContainmentRecord) -> Iterator[str]:
    for step, change in _frozen(engine, record):
        finding = _intact(engine, record, step, change)
        if finding is not None and not finding.holds:
            yield f"{step.target.ref} is not what was frozen: {finding.observed}"


def _frozen(engine: Engine, record: ContainmentRecord) -> Iterator[tuple[PlannedStep, Change]]:
    done = {outcome.key: outcome for outcome in record.outcomes}
    for step in record.plan.of(Phase.ARTIFACT_FREEZE):
        outcome = done.get(step.key)
        if outcome is not None and outcome.change is not None:
            yield step, Change.model_validate_json(engine.get(outcome.change))


def _intact(engine: Engine, record: ContainmentRecord, step: PlannedStep, change: Change) -> Finding | None:
    return engine.measure(record.plan.run, step).intact(step.target, change)


def seal(
    engine: Engine,
    request: ReleaseInput,
    record: ContainmentRecord,
    facts: RunFacts,
    done: tuple[StepOutcome, ...],
    actor: Actor,
) -> Sealed:
    """Write the release's own signed package; its custody names where the containment's chain ended."""
    name = f"{request.incident_id}-release"
    stored = engine.put(f"{name}/data/release/outcomes.json", [o.model_dump(mode="json") for o in done])
    asked = engine.put(f"{name}/data/release/request.json", request)
    document = status(facts, record.plan, {o.key: o for o in done}, facts.ended_at or facts.triggered_at)
    events = _events(request, record.custody_head, done, (asked, stored), actor)
    lines, _ = custody.extend(custody.genesis(name), events)
    package = bag.seal(
        engine.vault,
        bag.Contents(
            incident_id=name,
            mode=request.mode,
            exhibits=[_exhibit(name, each, facts) for each in (asked, stored)],
            custody_lines=lines,
            predicate=predicate(record.plan.run, document),
            sealed_at=facts.ended_at or request.requested_at,
        ),
        engine.provider.signer(engine.settings, request.mode),
    )
    if all(outcome.verdict == "released" for outcome in done):
        planning.mark(engine, record.plan, "released")
    evidence = EvidenceStatus(uri=package.uri, manifest_sha256=package.manifest_sha256)
    kept = write_record(
        engine,
        record.plan,
        document.model_copy(update={"incident_id": name}),
        list(done),
        package.custody_head,
    )
    return Sealed(evidence=evidence, record=kept, custody_head=package.custody_head)


def _events(
    request: ReleaseInput,
    head: Head | None,
    done: Iterable[StepOutcome],
    documents: tuple[Stored, Stored],
    actor: Actor,
) -> Iterator[CustodyEvent]:
    asked, outcomes = documents
    chain = f"containment chain ended at seq {head.seq}, {head.hash}" if head else "no containment chain"
    for number, person in enumerate((request.by, request.approved_by), start=1):
        yield CustodyEvent(
            event_id=f"release-decision-{number}",
            action=Action.DECIDED,
            actor=Actor(who=person, human=True),
            at=request.requested_at,
            authorisation="release",
            evidence_ids=(evidence_id(asked),),
            sha256=(asked.sha256,),
            summary=f"{request.reason} ({chain})",
        )
    for outcome in done:
        yield CustodyEvent(
            event_id=f"{outcome.key} reverted",
            action=Action.RELEASED,
            actor=actor,
            at=outcome.findings[-1].observed_at if outcome.findings else request.requested_at,
            evidence_ids=(evidence_id(outcomes),),
            sha256=(outcomes.sha256,),
            where=outcome.target.account,
            summary=f"{outcome.measure} on {outcome.target.ref}: {outcome.verdict}",
        )


def _exhibit(incident_id: str, stored: Stored, facts: RunFacts) -> Exhibit:
    return Exhibit(
        evidence_id=evidence_id(stored),
        kind="release document",
        source=incident_id,
        acquired_by="firebreak",
        collected_at=facts.ended_at or facts.triggered_at,
        stored=stored,
    )
