"""What every run that people approve takes from them: consent, refusal, and what was not accepted."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from firebreak.record import Decision

from workflows.decisions import Decisions, check_kind


class Approvable:
    """A run that changes nothing until the people who must agree have agreed."""

    decisions: Decisions

    @workflow.signal
    def decision_refused(self, decision: Decision) -> None:
        """Keep a decision that was not accepted; a refused update leaves no trace of its own."""
        self.decisions.record(decision)

    @workflow.update
    def approve(self, decision: Decision) -> Decision:
        """Agree to what was asked for."""
        return self.decisions.accept(decision)

    @workflow.update
    def reject(self, decision: Decision) -> Decision:
        """Refuse it: nothing is changed."""
        return self.decisions.accept(decision)

    @approve.validator
    def _may_approve(self, decision: Decision) -> None:
        check_kind(decision, "approve")
        self.decisions.check_approve(decision)

    @reject.validator
    def _may_reject(self, decision: Decision) -> None:
        check_kind(decision, "reject")
        self.decisions.check_awaited("approval", decision)
