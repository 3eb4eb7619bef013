"""Release: give a contained workload back, from the recorded changes. Blocking, no Temporal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from firebreak import chronicle, marker
from firebreak.chronicle import evidence_id
from firebreak.engine import Engine
from firebreak.errors import GuardError
from firebreak.evidence import bag, custody
from firebreak.evidence.custody import Action, Actor, CustodyEvent, Head
from firebreak.model import Change, Finding, Phase, Stored, Verdict
from firebreak.package import own_exhibit, predicate, write_record
from firebreak.people import same_person
from firebreak.record import (
    ContainmentRecord,
    EvidenceStatus,
    PlannedStep,
    ReleaseInput,
    RunFacts,
    Sealed,
    StepOutcome,
)
from firebreak.statusdoc import status


def open_record(engine: Engine, request: ReleaseInput) -> ContainmentRecord:
    """How the containment ended, with the steps that still are its own to undo."""
    record = ContainmentRecord.model_validate_json(engine.get(request.record))
    held = marker.holder(engine, engine.open(record.plan.run).workload)
    if held is None or held.incident_id != request.incident_id:
        return record
    own = tuple(step for step in record.plan.steps if step.key in held.states)
    return record.model_copy(update={"plan": record.plan.model_copy(update={"steps": own})})


def refusals(engine: Engine, request: ReleaseInput, record: ContainmentRecord) -> tuple[str, ...]:
    """Every reason why the workload may not be released."""
    return (*_people(request), *_superseded(engine, record), *_altered(engine, record))


def _people(request: ReleaseInput) -> Iterator[str]:
    if same_person(request.by, request.approved_by):
        yield f"{request.by} cannot release alone: another person has to approve"


def _superseded(engine: Engine, record: ContainmentRecord) -> Iterator[str]:
    try:
        marker.require(engine, record.plan.run)
    except GuardError as refused:
        yield refused.message


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


def package_name(request: ReleaseInput) -> str:
    """The package of one release: a failed one may be repeated, and each keeps its own evidence."""
    return f"{request.incident_id}-release-{request.requested_at.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}"


def seal(
    engine: Engine,
    request: ReleaseInput,
    record: ContainmentRecord,
    facts: RunFacts,
    done: tuple[StepOutcome, ...],
    actor: Actor,
) -> Sealed:
    """Write the release's own signed package; its custody names where the containment's chain ended.

    A release that was refused or rejected has one too: the decision and its reason are evidence.
    """
    name, ended_at = package_name(request), facts.ended_at or request.requested_at
    stored = engine.put(f"{name}/data/release/outcomes.json", [o.model_dump(mode="json") for o in done])
    asked = engine.put(f"{name}/data/release/request.json", request)
    document = status(facts, record.plan, {o.key: o for o in done}, ended_at)
    documents = (asked, stored)
    events = (
        _asked(request, record.custody_head, asked),
        *_decisions(request, facts),
        *_reverted(done, stored, actor, ended_at),
        _ended(facts, documents, actor, ended_at),
    )
    lines, _ = custody.extend(custody.genesis(name), events)
    package = bag.seal(
        engine.vault,
        bag.Contents(
            incident_id=name,
            mode=request.mode,
            exhibits=[own_exhibit(each, "release document", name, ended_at) for each in documents],
            custody_lines=lines,
            predicate=predicate(record.plan.run, document),
            sealed_at=ended_at,
        ),
        engine.provider.signer(engine.settings, request.mode),
    )
    held_by = marker.release(engine, record.plan.run) if facts.verdict is Verdict.RELEASED else ""
    evidence = EvidenceStatus(uri=package.uri, manifest_sha256=package.manifest_sha256)
    kept = write_record(
        engine,
        record.plan,
        document.model_copy(update={"incident_id": name}),
        list(done),
        package.custody_head,
    )
    return Sealed(evidence=evidence, record=kept, custody_head=package.custody_head, held_by=held_by)


def _asked(request: ReleaseInput, head: Head | None, asked: Stored) -> CustodyEvent:
    chain = f"containment chain ended at seq {head.seq}, {head.hash}" if head else "no containment chain"
    return CustodyEvent(
        event_id="release-asked",
        action=Action.DECIDED,
        actor=Actor(who=request.by, human=True),
        at=request.requested_at,
        authorisation="release",
        evidence_ids=(evidence_id(asked),),
        sha256=(asked.sha256,),
        summary=f"{request.reason} ({chain})",
    )


def _decisions(request: ReleaseInput, facts: RunFacts) -> Iterator[CustodyEvent]:
    """What people decided while the release waited, or the approver whom the request named."""
    for number, decision in enumerate(facts.decisions, start=1):
        yield chronicle.decided(number, decision)
    if request.approved_by and not any(d.kind == "approve" and not d.refused for d in facts.decisions):
        yield CustodyEvent(
            event_id="release-approved",
            action=Action.DECIDED,
            actor=Actor(who=request.approved_by, human=True),
            at=request.requested_at,
            authorisation="approve",
            summary=f"approved before it was asked for: {request.reason}",
        )


def _reverted(
    done: Iterable[StepOutcome], outcomes: Stored, actor: Actor, ended_at: datetime
) -> Iterator[CustodyEvent]:
    for outcome in done:
        yield CustodyEvent(
            event_id=f"{outcome.key} reverted",
            action=Action.RELEASED,
            actor=actor,
            at=outcome.findings[-1].observed_at if outcome.findings else ended_at,
            evidence_ids=(evidence_id(outcomes),),
            sha256=(outcomes.sha256,),
            where=outcome.target.account,
            summary=f"{outcome.measure} on {outcome.target.ref}: {outcome.verdict}",
        )


def _ended(facts: RunFacts, documents: tuple[Stored, ...], actor: Actor, ended_at: datetime) -> CustodyEvent:
    return CustodyEvent(
        event_id="release-ended",
        action=Action.SEALED,
        actor=actor,
        at=ended_at,
        evidence_ids=tuple(evidence_id(each) for each in documents),
        sha256=tuple(each.sha256 for each in documents),
        summary="; ".join((f"release {facts.verdict}", *facts.refusals)),
    )
