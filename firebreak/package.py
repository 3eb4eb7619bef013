"""The evidence package of a run: gather what its steps stored, and seal it. Blocking, no Temporal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from firebreak import capture, exhibit0
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
    Unfinished,
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
    unfinished: Sequence[Unfinished] = ()
    """Captures that ran out of time: what they had stored counts as evidence, never as proof."""


def outcomes(engine: Engine, stored: Sequence[Stored]) -> list[StepOutcome]:
    """Read proved outcomes back, each pointing to where it lies."""
    read = (Observations.model_validate_json(each).outcome for each in engine.get_all(stored))
    return [
        outcome.model_copy(update={"findings_stored": at}) for outcome, at in zip(read, stored, strict=True)
    ]


def documents(plan: Plan, done: Iterable[StepOutcome]) -> Iterator[Exhibit]:
    """The run's own documents: trigger, workload, plan, pre-states, changes, findings, each at its time."""
    incident, planned_at = plan.run.incident_id, plan.planned_at or plan.run.triggered_at
    for stored in plan.stored:
        yield own_exhibit(stored, "run document", incident, planned_at)
    for step in plan.steps:
        yield own_exhibit(step.state, "pre-state", incident, step.taken_at or planned_at)
    for outcome in done:
        if outcome.findings_stored is not None:
            yield own_exhibit(outcome.findings_stored, "findings", incident, outcome.findings[-1].observed_at)
        if outcome.change is not None:
            yield own_exhibit(outcome.change, "change", incident, outcome.applied_at or planned_at)


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
    acquired = [
        *_acquisitions(engine, done, gathered.preserved),
        *_stored_so_far(engine, gathered.unfinished),
    ]
    lines = [line for part in engine.get_all(list(gathered.segments)) for line in part.decode().splitlines()]
    received = list(_received(facts, plan.run.incident_id, gathered.alerts))
    events = [*_raw_alerts(received, actor), *_collected(acquired, actor)]
    last, _ = custody.extend(_head(lines, plan.run), events)
    items = [
        *(exhibit for _, some in received for exhibit in some),
        *documents(plan, done),
        *(exhibit for _, some in acquired for exhibit in some),
    ]
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
    return engine.put(f"{document.incident_id}.record.json", record)


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


def own_exhibit(stored: Stored, kind: str, source: str, collected_at: datetime) -> Exhibit:
    """A document of our own as an exhibit."""
    return Exhibit(
        evidence_id=evidence_id(stored),
        kind=kind,
        source=source,
        acquired_by="firebreak",
        collected_at=collected_at,
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


def _stored_so_far(
    engine: Engine, unfinished: Iterable[Unfinished]
) -> Iterator[tuple[Change, tuple[Exhibit, ...]]]:
    """The parts that unfinished captures had locked."""
    for each in unfinished:
        exhibits = capture.reported(engine.vault, each.reported)
        yield (
            Change(
                measure=each.measure,
                target=each.target,
                changed=True,
                applied_at=each.ended_at,
                before={},
                after={"unfinished": True},
                exhibits=exhibits,
            ),
            exhibits,
        )


def _received(
    facts: RunFacts, incident_id: str, alerts: Sequence[Stored]
) -> Iterator[tuple[int, tuple[Exhibit, ...]]]:
    """The raw alerts that were stored, by their number in the run, each at the time it came."""
    stored = {evidence_id(each): each for each in alerts}
    for number, alert in enumerate(facts.alerts, start=1):
        kept = [stored[name] for name in exhibit0.names(number) if name in stored]
        if kept:
            yield (
                number,
                tuple(own_exhibit(each, "raw alert", incident_id, alert.received_at) for each in kept),
            )


def _raw_alerts(received: Iterable[tuple[int, tuple[Exhibit, ...]]], actor: Actor) -> Iterator[CustodyEvent]:
    for number, items in received:
        yield CustodyEvent(
            event_id=f"collected alert {number}",
            action=Action.COLLECTED,
            actor=actor,
            at=items[0].collected_at,
            evidence_ids=tuple(item.evidence_id for item in items),
            sha256=tuple(item.stored.sha256 for item in items),
            purpose="the alert as it was received",
            summary=f"raw alert {number} and its headers",
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
                summary=f"{change.measure} on {change.target.ref}: {len(items)} exhibits{_so_far(change)}",
            )


def _so_far(change: Change) -> str:
    return ", it ran out of time" if change.after.get("unfinished") else ""


def _head(lines: list[str], run: RunRef) -> Head:
    if not lines:
        return custody.genesis(run.incident_id)
    entry = custody.read(lines[-1])
    return Head(seq=entry.seq, hash=entry.this_hash)
