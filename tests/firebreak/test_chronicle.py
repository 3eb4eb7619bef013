"""Custody events from what a run did: each fact once, with the person or the responder who did it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from firebreak import chronicle
from firebreak.evidence.custody import Action
from firebreak.model import Stored, Verdict
from firebreak.record import Decision, StepOutcome, Trigger
from tests.workflows.script import act, observed, reference

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PART = act("deny-all", 1)


def outcome(**fields: object) -> StepOutcome:
    usual = {
        "measure": PART.measure,
        "target": PART.target,
        "phase": PART.phase,
        "verdict": Verdict.CONTAINED,
    }
    return StepOutcome.model_validate(usual | fields)


WHOLE = outcome(
    change=reference("INC-1", "phases/1/change.json"),
    applied_at=AT,
    findings=observed(holds=True),
    findings_stored=reference("INC-1", "phases/1/findings.json"),
)


def test_a_step_tells_its_change_and_its_proof() -> None:
    changed, verified = chronicle.step_events(WHOLE, 1)
    assert (changed.action, changed.evidence_ids, changed.at) == (
        Action.CHANGED,
        ("phases/1/change.json",),
        AT,
    )
    assert (verified.action, verified.evidence_ids) == (Action.VERIFIED, ("phases/1/findings.json",))
    assert verified.summary.endswith(": contained")
    assert not changed.actor.human


def test_another_content_of_the_same_document_is_another_event() -> None:
    stored = WHOLE.findings_stored
    assert stored is not None
    other = WHOLE.model_copy(update={"findings_stored": stored.model_copy(update={"sha256": "0" * 64})})
    (_, verified), (_, differing) = chronicle.step_events(WHOLE, 1), chronicle.step_events(other, 1)
    assert verified.event_id == differing.event_id
    assert verified != differing


def test_a_step_that_never_came_back_tells_nothing_it_does_not_know() -> None:
    assert list(chronicle.step_events(outcome(verdict=Verdict.UNPROVEN, error="timed out"), 1)) == []


def test_another_attempt_has_other_event_ids_and_a_retried_write_the_same() -> None:
    first, second = chronicle.phase_events([WHOLE], 1), chronicle.phase_events([WHOLE], 2)
    assert {event.event_id for event in first}.isdisjoint(event.event_id for event in second)
    assert first == chronicle.phase_events([WHOLE], 1)


def test_only_the_first_alert_is_exhibit_0() -> None:
    trigger = Trigger(source="siem", reason="odd", requested_by="riley", received_at=AT)
    first, second = chronicle.triggered(1, trigger), chronicle.triggered(2, trigger)
    assert (first.evidence_ids, second.evidence_ids) == (("trigger/trigger.json",), ())
    assert first.actor.human
    assert first.event_id != second.event_id


def test_a_refused_decision_is_told_with_the_reason() -> None:
    made = Decision(by="riley", reason="hurry", kind="approve", decided_at=AT, refused="asked for it")
    event = chronicle.decided(1, made)
    assert event.summary == "approve: hurry (not accepted: asked for it)"
    assert (event.actor.who, event.actor.human) == ("riley", True)


def test_a_decision_without_a_time_is_never_recorded() -> None:
    with pytest.raises(ValueError, match="stamped"):
        chronicle.decided(1, Decision(by="riley", reason="hurry", kind="approve"))


def test_a_decision_by_signed_link_says_so_where_no_reason_can_pretend_it() -> None:
    made = Decision(by="sam", reason="by signed link", kind="approve", decided_at=AT)
    assert chronicle.decided(1, made).authorisation == "approve"
    linked = made.model_copy(update={"via": "signed link"})
    assert chronicle.decided(1, linked).authorisation == "approve by signed link"


def test_the_evidence_id_is_the_path_inside_the_bag() -> None:
    stored = Stored(uri="s3://b/INC-1/data/phases/1/x/data/y.json", version_id="", sha256="", size=0)
    assert chronicle.evidence_id(stored) == "phases/1/x/data/y.json"
