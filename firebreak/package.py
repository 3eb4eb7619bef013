"""The evidence package of a run: gather what its steps stored, and seal it. Blocking, no Temporal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from firebreak.chronicle import evidence_id
from firebreak.engine import Engine
from firebreak.evidence import bag, custody
from firebreak.evidence.custody import Action, Actor, CustodyEvent, Head
from firebreak.model import Change, Exhibit, JsonObject, Stored
from firebreak.record import (
    ContainmentRecord,
    EvidenceStatus,
    Observations,
    Plan,
    RunFacts,
    RunRef,
    RunStatus,
    Sealed,
    StepOutcome,
)
from firebreak.statusdoc import status


@dataclass(frozen=True)
class Gathered:
    """What the steps of a run left in the evidence store."""

    done: list[StepOutcome]
    preserved: Sequence[Stored]
    """Changes of the volatile pre-capture."""
    segments: Sequence[Stored]
    """Parts of the custody chain, in order."""
    alerts: Sequence[Stored] = ()
    """Raw alerts: exhibit 0, and those of alerts that joined."""


def outcomes(engine: Engine, stored: Sequence[Stored]) -> list[StepOutcome]:
    """Read proved outcomes back, each pointing to where it lies."""
    read = (Observations.model_validate_json(each).outcome for each in engine.get_all(stored))
    return [
        outcome.model_copy(update={"findings_stored": at}) for outcome, at in zip(read, stored, strict=True)
    ]


def documents(plan: Plan, done: Iterable[StepOutcome]) -> Iterator[Exhibit]:
    """The run's own documents: trigger, workload, plan, pre-states, changes, findings."""
    for stored in plan.stored:
        yield _document(stored, "run document", plan.run)
    for step in plan.steps:
        yield _document(step.state, "pre-state", plan.run)
    for outcome in done:
        if outcome.findings_stored is not None:
            yield _document(outcome.findings_stored, "findings", plan.run)
        if outcome.change is not None:
            yield _document(outcome.change, "change", plan.run)


def seal(
    engine: Engine,
    plan: Plan,
    facts: RunFacts,
    gathered: Gathered,
    *,
    sealed_at: datetime,
    actor: Actor,
) -> Sealed:
    """Write the record and the signed package; every object is locked."""
    done = gathered.done
    document = status(facts, plan, {outcome.key: outcome for outcome in done}, sealed_at)
    acquired = list(_acquisitions(engine, done, gathered.preserved))
    lines = [line for part in engine.get_all(list(gathered.segments)) for line in part.decode().splitlines()]
    kept = [_document(stored, "raw alert", plan.run) for stored in gathered.alerts]
    events = [*_received(kept, plan.run, actor), *_collected(acquired, actor)]
    last, _ = custody.extend(_head(lines, plan.run), events)
    items = [*kept, *documents(plan, done), *(exhibit for _, some in acquired for exhibit in some)]
    package = bag.seal(
        engine.vault,
        bag.Contents(
            incident_id=plan.run.incident_id,
            mode=plan.run.mode,
            exhibits=items,
            custody_lines=[*lines, *last],
            predicate=predicate(plan.run, document),
            sealed_at=sealed_at,
        ),
        engine.provider.signer(engine.settings, plan.run.mode),
    )
    evidence = EvidenceStatus(uri=package.uri, manifest_sha256=package.manifest_sha256)
    record = write_record(
        engine, plan, document.model_copy(update={"evidence": evidence}), done, package.custody_head
    )
    return Sealed(evidence=evidence, record=record, custody_head=package.custody_head)


def write_record(
    engine: Engine, plan: Plan, document: RunStatus, done: list[StepOutcome], head: Head
) -> Stored:
    """Keep what release starts from, beside the package."""
    record = ContainmentRecord(status=document, plan=plan, outcomes=tuple(done), custody_head=head)
    return engine.put(f"{plan.run.incident_id}.record.json", record)


def predicate(run: RunRef, document: RunStatus) -> JsonObject:
    """The run's own statement, signed with the package."""
    return {
        "workload": {"id": document.workload_id, "sha256": run.workload.sha256},
        "cloud": document.cloud,
        "verdict": document.verdict,
        "triggered_at": document.triggered_at.isoformat(),
        "contained_at": document.contained_at.isoformat() if document.contained_at else None,
        "phases": [phase.model_dump(mode="json", exclude={"measures"}) for phase in document.phases],
        "decisions": [decision.model_dump(mode="json") for decision in document.decisions],
    }


def _document(stored: Stored, kind: str, run: RunRef) -> Exhibit:
    return Exhibit(
        evidence_id=evidence_id(stored),
        kind=kind,
        source=run.incident_id,
        acquired_by="firebreak",
        collected_at=run.triggered_at,
        stored=stored,
    )


def _acquisitions(
    engine: Engine, done: Iterable[StepOutcome], preserved: Iterable[Stored]
) -> Iterator[tuple[Change, tuple[Exhibit, ...]]]:
    """What every step acquired; the change of a pre-capture is itself an exhibit."""
    changes = [outcome.change for outcome in done if outcome.change is not None]
    for read in engine.get_all(changes):
        change = Change.model_validate_json(read)
        yield change, change.exhibits
    captured = list(preserved)
    for stored, read in zip(captured, engine.get_all(captured), strict=True):
        change = Change.model_validate_json(read)
        itself = Exhibit(
            evidence_id=evidence_id(stored),
            kind="volatile pre-capture",
            source=change.target.ref,
            acquired_by=change.measure,
            collected_at=change.applied_at,
            stored=stored,
        )
        yield change, (itself, *change.exhibits)


def _received(kept: Sequence[Exhibit], run: RunRef, actor: Actor) -> Iterator[CustodyEvent]:
    if kept:
        yield CustodyEvent(
            event_id="collected alerts",
            action=Action.COLLECTED,
            actor=actor,
            at=run.triggered_at,
            evidence_ids=tuple(item.evidence_id for item in kept),
            sha256=tuple(item.stored.sha256 for item in kept),
            purpose="the alerts as they were received",
            summary=f"raw alerts and their headers: {len(kept)} exhibits",
        )


def _collected(
    acquired: Iterable[tuple[Change, tuple[Exhibit, ...]]], actor: Actor
) -> Iterator[CustodyEvent]:
    for number, (change, items) in enumerate(acquired, start=1):
        if items:
            yield CustodyEvent(
                event_id=f"collected {number} {change.measure} {change.target.key}",
                action=Action.COLLECTED,
                actor=actor,
                at=change.applied_at,
                evidence_ids=tuple(item.evidence_id for item in items),
                sha256=tuple(item.stored.sha256 for item in items),
                where=change.target.account,
                purpose="forensic capture",
                summary=f"{change.measure} on {change.target.ref}: {len(items)} exhibits",
            )


def _head(lines: list[str], run: RunRef) -> Head:
    if not lines:
        return custody.genesis(run.incident_id)
    entry = custody.read(lines[-1])
    return Head(seq=entry.seq, hash=entry.this_hash)
