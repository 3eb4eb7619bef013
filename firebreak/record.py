"""What a run says about itself: the plan, each step's outcome, and the public status document."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, Field

from firebreak.evidence.custody import Head
from firebreak.model import (
    CONTAINMENT_TARGET,
    Budgets,
    Cloud,
    Consent,
    Finding,
    FrozenModel,
    IncidentId,
    JsonObject,
    Mode,
    Phase,
    Stored,
    Target,
    Verdict,
)
from firebreak.people import PersonName, Reason, same_person

COMMENTED_ALERTS = 20
"""Of one run; a storm of alerts shall not become a storm of comments."""


class Received(FrozenModel):
    """A raw alert by reference: its bytes are the input of the delivery's own workflow (docs/adr/0006)."""

    delivery: str
    """Workflow id of the delivery."""
    sha256: str
    size: int


class Trigger(FrozenModel):
    """Why a containment was asked for. Its text is evidence and never chooses a target."""

    source: str
    reason: Reason
    requested_by: PersonName
    received_at: AwareDatetime
    confirmed: bool = False
    """The source says that the compromise is confirmed."""
    consent: Literal["declared", "ask", "confirm"] = "declared"
    """``ask``: a person is asked, whatever the workload declares. ``confirm``: and silence means no."""
    finding: Annotated[str, Field(max_length=512)] = ""
    """The source's own id of the finding."""
    received: Received | None = None
    """The raw alert, where there was one."""


class AlertRef(FrozenModel):
    """A finding by its source and the source's own id, for comments on it."""

    source: str
    finding: Annotated[str, Field(min_length=1, max_length=512)]


def alert_refs(triggers: Iterable[Trigger]) -> tuple[AlertRef, ...]:
    """The findings that asked for a run, each once, as many as are commented."""
    found = (AlertRef(source=each.source, finding=each.finding) for each in triggers if each.finding)
    return tuple(dict.fromkeys(found))[:COMMENTED_ALERTS]


class Decision(FrozenModel):
    """What a named person decided, and why."""

    by: PersonName
    reason: Reason
    kind: Literal["approve", "reject", "retry", "proceed", "stop", "release"]
    decided_at: AwareDatetime | None = None
    """Stamped by the run, never by the client."""
    refused: str = ""
    """Why the run did not accept it, where it did not."""
    phase: Phase | None = None
    via: Literal["", "signed link"] = ""
    """How it was given, where that has to be told."""
    question: AwareDatetime | None = None
    """When the one question was asked that it may answer; None answers whatever is asked."""


class Question(FrozenModel):
    """What a run asks people, by reference: enough to let one person answer exactly this."""

    workflow_id: str
    run_id: str
    kind: Literal["approval", "decision"]
    requested_by: str
    """Who asked for the run."""
    asked_at: AwareDatetime
    until: AwareDatetime | None = None

    @property
    def of_release(self) -> bool:
        """Whether a release asks, and not a containment."""
        return self.workflow_id.startswith("release-")


class RunRef(FrozenModel):
    """A run by reference: everything an activity needs to open it."""

    incident_id: IncidentId
    cloud: Cloud
    mode: Mode
    triggered_at: AwareDatetime
    workload: Stored
    """The frozen workload in the evidence store."""


class PlannedStep(FrozenModel):
    """One measure on one target, with its pre-state."""

    measure: str
    phase: Phase
    target: Target
    state: Stored
    irreversible: str = ""
    preserve_first: bool = False
    last_in_phase: bool = False
    last_in_release: bool = False
    blast_radius: tuple[str, ...] = ()
    taken_at: AwareDatetime | None = None
    """When the pre-state was read; plans of 0.1 do not say it."""

    @property
    def key(self) -> str:
        """Unique within a plan."""
        return f"{self.measure} {self.target.key}"


class Plan(FrozenModel):
    """What a run will do, fixed before the first change."""

    run: RunRef
    steps: tuple[PlannedStep, ...] = ()
    refusals: tuple[str, ...] = ()
    """Why nothing may be done; a plan with refusals has no effect."""
    notes: tuple[str, ...] = ()
    """What the on-call should know: shared identities, scoped denies, carried pre-states."""
    empty_phases: dict[Phase, str] = Field(default_factory=dict)
    """Phases in which the workload declares to have nothing, with the declared reason."""
    consent: Consent = Consent()
    flow_log_gate: Literal["strict", "deferred"] = "strict"
    budgets: Budgets = Budgets()
    stored: tuple[Stored, ...] = ()
    """Exhibits written while planning: trigger, workload, plan."""
    planned_at: AwareDatetime | None = None
    """When it was fixed; plans of 0.1 do not say it."""

    def of(self, phase: Phase) -> tuple[PlannedStep, ...]:
        """The steps of one phase."""
        return tuple(step for step in self.steps if step.phase is phase)


class StepOutcome(FrozenModel):
    """What one step did and what was observed."""

    measure: str
    target: Target
    phase: Phase
    verdict: Verdict = Verdict.PENDING
    change: Stored | None = None
    changed: bool = False
    applied_at: AwareDatetime | None = None
    proved_at: AwareDatetime | None = None
    observations: int = 0
    findings: tuple[Finding, ...] = ()
    """The last observation."""
    findings_stored: Stored | None = None
    """This outcome with every observation of every attempt, in the evidence store."""
    awaiting_logs: bool = False
    """All but the log evidence holds (``flow_log_gate: deferred``)."""
    interrupted: bool = False
    """The worker was asked to stop; another one goes on observing."""
    error: str = ""

    @property
    def proved(self) -> bool:
        """Whether the step is contained; unknown is not."""
        return self.verdict is Verdict.CONTAINED

    @property
    def key(self) -> str:
        """The planned step that it belongs to."""
        return f"{self.measure} {self.target.key}"


class Observations(FrozenModel):
    """What is stored of a step: its outcome and everything that was observed on the way.

    Of each process that observed, the last 1,000 observations are kept; the outcome counts all.
    """

    outcome: StepOutcome
    observations: tuple[tuple[Finding, ...], ...]


class Unfinished(FrozenModel):
    """A step or a pre-capture that ran out of time, with what it had reported until then."""

    measure: str
    target: Target
    reported: JsonObject
    ended_at: AwareDatetime


class MeasureStatus(FrozenModel):
    """One measure on one target, as the public document shows it."""

    name: str
    target: str
    verdict: Verdict
    change: str
    """``pending``, ``applied``, ``already in place``, ``reverted``, ``kept`` or ``failed``."""
    error: str = ""
    applied_at: AwareDatetime | None = None
    proved_at: AwareDatetime | None = None
    findings: tuple[Finding, ...] = ()
    blast_radius: tuple[str, ...] = ()
    """Others who use the target, and lose it too."""


class PhaseStatus(FrozenModel):
    """One phase, as the public document shows it."""

    phase: Phase
    title: str
    verdict: Verdict
    started_at: AwareDatetime | None = None
    verified_at: AwareDatetime | None = None
    elapsed_seconds: float | None = None
    budget_seconds: float
    deviations: tuple[str, ...] = ()
    measures: tuple[MeasureStatus, ...] = ()


class EvidenceStatus(FrozenModel):
    """Where the sealed package lies."""

    uri: str
    manifest_sha256: str


class Awaiting(FrozenModel):
    """A decision that the run waits for."""

    kind: Literal["approval", "decision"]
    phase: Phase | None = None
    reason: str
    since: AwareDatetime
    until: AwareDatetime | None = None


class RunStatus(FrozenModel):
    """The public document of a run (docs: ``contain --wait --json`` and ``status --json``)."""

    incident_id: str
    workflow_id: str
    workload_id: str
    cloud: Cloud
    mode: Mode
    verdict: Verdict
    requested_by: str = ""
    """Who asked for the run; nobody approves what they asked for themselves."""
    triggered_at: AwareDatetime
    contained_at: AwareDatetime | None = None
    elapsed_seconds: float
    target_seconds: float = CONTAINMENT_TARGET.total_seconds()
    within_target: bool
    phases: tuple[PhaseStatus, ...] = ()
    evidence: EvidenceStatus | None = None
    finished: bool = False
    awaiting: Awaiting | None = None
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    decisions: tuple[Decision, ...] = ()
    alerts: int = 1
    """Triggers recorded on this run, the first included."""
    triggers: tuple[Trigger, ...] = ()
    """The first of them, in the order in which they came."""


class PhaseFacts(BaseModel):
    """How a phase went; changed by the run as it goes."""

    verdict: Verdict = Verdict.PENDING
    started_at: AwareDatetime | None = None
    verified_at: AwareDatetime | None = None
    deviations: list[str] = Field(default_factory=list)


class RunFacts(BaseModel):
    """What a run knows besides its plan and its outcomes; small enough for any payload."""

    incident_id: str
    workflow_id: str
    workload_id: str
    cloud: Cloud
    mode: Mode
    triggered_at: AwareDatetime
    verdict: Verdict = Verdict.PENDING
    contained_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None
    phases: dict[Phase, PhaseFacts] = Field(default_factory=lambda: {phase: PhaseFacts() for phase in Phase})
    evidence: EvidenceStatus | None = None
    awaiting: Awaiting | None = None
    warnings: list[str] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)
    refusals: list[str] = Field(default_factory=list)
    decisions: list[Decision] = Field(default_factory=list)
    alerts: list[Trigger] = Field(default_factory=list)
    further_alerts: int = 0
    """Alerts of a storm that were counted and not kept whole."""


class ContainmentInput(FrozenModel):
    """What starts a containment: references and short text, never evidence or secrets."""

    incident_id: IncidentId
    workload_id: str
    workload_digest: str
    cloud: Cloud
    mode: Mode
    trigger: Trigger
    task_queue: str
    """Queue of the cloud's activities."""


class ContainmentRecord(FrozenModel):
    """How a run ended, kept in the evidence store; what release starts from."""

    status: RunStatus
    plan: Plan
    outcomes: tuple[StepOutcome, ...] = ()
    custody_head: Head | None = None


class Sealed(FrozenModel):
    """The evidence package of a run, and the record that release starts from."""

    evidence: EvidenceStatus
    record: Stored
    custody_head: Head
    held_by: str = ""
    """After a release: another incident that holds the workload still, or again."""


class Ended(FrozenModel):
    """The result of a run's workflow: small, by reference."""

    incident_id: str
    verdict: Verdict
    sealed: Sealed | None = None


class ReleaseInput(FrozenModel):
    """What starts a release."""

    incident_id: IncidentId
    workload_id: str
    cloud: Cloud
    mode: Mode
    by: PersonName
    approved_by: PersonName | Literal[""]
    """Empty when the release still waits for another person's approval."""
    reason: Reason
    requested_at: AwareDatetime
    record: Stored
    task_queue: str
    alerts: tuple[AlertRef, ...] = ()
    """What asked for the containment; requests of 0.1 do not carry it."""


def answered_once(decisions: Iterable[Decision], by: str, question: datetime) -> bool:
    """Whether a person has answered that question in a way that works once."""
    own = (made for made in decisions if made.question == question and not made.refused)
    return any(same_person(made.by, by) for made in own)


def needs_approval(plan: Plan, trigger: Trigger) -> bool:
    """Whether a person has to agree before the first change."""
    mode = plan.consent.mode
    unconfirmed = mode == "auto_if_confirmed" and not trigger.confirmed
    return mode == "approval" or unconfirmed or trigger.consent != "declared"


def asked_consent(plan: Plan, trigger: Trigger) -> Consent:
    """What people are asked for; silence after an alert that a person must confirm means no."""
    declared = plan.consent
    return declared.model_copy(update={"default": "reject"}) if trigger.consent == "confirm" else declared
