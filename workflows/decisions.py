"""What named people decide about one run: consent before it, and every gate that is not proved."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from firebreak.model import Consent, Phase, Verdict
    from firebreak.people import same_person
    from firebreak.record import Awaiting, Decision, Question, RunFacts, Trigger, answered_once

from workflows.failures import refused
from workflows.oncall import OnCall


class Decisions:
    """Asks people, checks what they may decide, and keeps every decision."""

    def __init__(self, facts: RunFacts, trigger: Trigger, oncall: OnCall) -> None:
        self.facts = facts
        self.trigger = trigger
        self.oncall = oncall
        self.latest: Decision | None = None
        self.stop_requested = False

    def accept(self, decision: Decision) -> Decision:
        """Record a decision that its validator let through; the first one that settles a question ends it."""
        stamped = self.record(decision)
        self.latest = stamped
        self.oncall.tell("decided", f"{decision.by} decided to {decision.kind}: {decision.reason}")
        self.stop_requested = self.stop_requested or decision.kind == "stop"
        if decision.kind != "approve":
            self.facts.awaiting = None
        return stamped

    def cancelled(self, reason: str) -> None:
        """A cancel by way of Temporal is a stop by somebody whom Temporal does not name."""
        self.accept(
            Decision(
                kind="stop", by="unknown, by Temporal", reason=f"the workflow was cancelled: {reason}"[:2000]
            )
        )

    @property
    def closing(self) -> bool:
        """Whether a person ended the run: what comes now came too late for it."""
        return self.stop_requested or self._rejected()

    def approvers(self) -> list[str]:
        """Who agreed, each once: nobody is let through twice."""
        return [made.by for made in self.facts.decisions if made.kind == "approve" and not made.refused]

    def record(self, decision: Decision) -> Decision:
        """Keep a decision, accepted or not, with the run's own time."""
        phase = self.facts.awaiting.phase if self.facts.awaiting else None
        stamped = decision.model_copy(update={"decided_at": workflow.now(), "phase": phase})
        self.facts.decisions.append(stamped)
        return stamped

    def check_approve(self, decision: Decision) -> None:
        """Another person than the requester and than the first approver has to agree."""
        self.check_awaited("approval", decision)
        if same_person(decision.by, self.trigger.requested_by):
            raise refused(f"{decision.by} asked for this containment and cannot approve it")
        if any(same_person(decision.by, name) for name in self.approvers()):
            raise refused(f"{decision.by} has already approved; another person has to")

    def check_awaited(self, kind: str, decision: Decision) -> None:
        """The run has to wait for such a decision."""
        awaiting = self.facts.awaiting
        if awaiting is None or awaiting.kind != kind:
            raise refused(f"the run does not wait for {'an' if kind == 'approval' else 'a'} {kind}")
        self._check_question(decision)

    def check_stop(self, decision: Decision) -> None:
        """A run can be stopped between its consent and its verdict, and where it asks after that."""
        if self.facts.ended_at is not None:
            raise refused("the run has already ended")
        self._check_question(decision)
        if self.facts.awaiting is not None and self.facts.awaiting.kind == "approval":
            raise refused("the run waits for approval: reject it instead")
        if self.facts.awaiting is None and self.facts.verdict is not Verdict.PENDING:
            raise refused(f"the run is decided already: {self.facts.verdict}")

    def _check_question(self, decision: Decision) -> None:
        """What answers one question answers no other, and answers once."""
        if decision.question is None:
            return
        if self.facts.awaiting is None or self.facts.awaiting.since != decision.question:
            raise refused("the question that this answers is not asked any more")
        if answered_once(self.facts.decisions, decision.by, decision.question):
            raise refused(f"{decision.by} has already answered this question by {decision.via}")

    async def approval(self, consent: Consent, cleared: Callable[[], bool]) -> bool:
        """Whether enough people agreed in time, or a further alert cleared it.

        Unanswered, the declared default counts.
        """
        people = "one person" if consent.approvers == 1 else "two people"
        until = workflow.now() + timedelta(seconds=consent.timeout_seconds)
        self._await("approval", None, f"approval by {people} before anything is changed", until)
        try:
            await workflow.wait_condition(
                lambda: self.closing or cleared() or len(self.approvers()) >= consent.approvers,
                timeout=consent.timeout_seconds,
            )
        except TimeoutError:
            self.facts.notes.append(f"approval unanswered: the default is to {consent.default}")
            return consent.default == "contain"
        finally:
            self.facts.awaiting = None
        return not self.closing

    async def decide(self, phase: Phase | None, reason: str) -> Decision:
        """Page the on-call and wait, however long, for retry, proceed or stop."""
        self._await("decision", phase, reason)
        await workflow.wait_condition(lambda: self.latest is not None)
        self.facts.awaiting = None
        assert self.latest is not None  # noqa: S101 - the condition just awaited
        return self.latest

    async def retried(self, reason: str) -> bool:
        """Whether a person wants to try again what has to succeed before the first change."""
        if self.stop_requested:
            return False
        decision = await self.decide(None, reason)
        return decision.kind == "retry"

    async def resealed(self, reason: str, unless: Callable[[], bool]) -> bool:
        """Whether a person wants to seal again, before something else goes first."""
        self._await("decision", None, reason)
        await workflow.wait_condition(lambda: self.latest is not None or unless())
        self.facts.awaiting = None
        return self.latest is not None and self.latest.kind == "retry"

    def _await(self, kind: str, phase: Phase | None, reason: str, until: datetime | None = None) -> None:
        self.latest = None
        self.facts.awaiting = Awaiting.model_validate(
            {"kind": kind, "phase": phase, "reason": reason, "since": workflow.now(), "until": until}
        )
        self.oncall.page("decision_needed", reason, question=self._question(self.facts.awaiting))

    def _question(self, awaiting: Awaiting) -> Question:
        info = workflow.info()
        return Question(
            workflow_id=info.workflow_id,
            run_id=info.run_id,
            kind=awaiting.kind,
            requested_by=self.trigger.requested_by,
            asked_at=awaiting.since,
            until=awaiting.until,
        )

    def _rejected(self) -> bool:
        return any(d.kind == "reject" and not d.refused for d in self.facts.decisions)


def check_kind(decision: Decision, kind: str) -> None:
    """A decision is taken under its own name only: each one has checks of its own."""
    if decision.kind != kind:
        raise refused(f"a decision to {decision.kind} cannot be taken as {kind}")
