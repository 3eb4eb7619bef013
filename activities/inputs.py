"""What workflows hand to activities: one frozen value for each call, references instead of bytes."""

from __future__ import annotations

from pydantic import AwareDatetime, Field

from firebreak.evidence.custody import CustodyEvent, Head
from firebreak.model import Cloud, FrozenModel, JsonObject, Mode, Phase, Stored, Verdict
from firebreak.record import (
    AlertRef,
    ContainmentInput,
    PlannedStep,
    Question,
    Received,
    ReleaseInput,
    RunFacts,
    RunRef,
    StepOutcome,
    Unfinished,
)
from firebreak.steps import Gate


class StepInput(FrozenModel):
    """One step to contain, or to go on proving when ``applied`` is given."""

    run: RunRef
    step: PlannedStep
    until: AwareDatetime
    gate: Gate = "all"
    applied: StepOutcome | None = None
    seen: Stored | None = None
    """What an earlier attempt observed, in the evidence store."""
    resume: JsonObject = Field(default_factory=dict)
    """What an activity of the same step that ran out of time had reported last."""


class MarkInput(FrozenModel):
    """The plan whose workload is being contained from now on."""

    plan: Stored


class CustodyInput(FrozenModel):
    """Events of one phase, to be chained to what came before."""

    run: RunRef
    segment: str
    """Name of the part, for example ``phase-1``."""
    head: Head
    events: tuple[CustodyEvent, ...]


class CustodySegment(FrozenModel):
    """A written part of the custody chain, and the head it ends with."""

    head: Head
    stored: Stored


class KeepInput(FrozenModel):
    """A raw alert that belongs into the evidence store, and its number in the run."""

    run: RunRef
    number: int
    received: Received


class PackageInput(FrozenModel):
    """Everything that the evidence package refers to."""

    run: RunRef
    plan: Stored
    facts: RunFacts
    proved: tuple[Stored, ...]
    """Outcomes in the evidence store."""
    failed: tuple[StepOutcome, ...] = ()
    """Outcomes that never came to be stored."""
    preserved: tuple[Stored, ...] = ()
    """Changes of the volatile pre-capture."""
    segments: tuple[Stored, ...]
    sealed_at: AwareDatetime
    alerts: tuple[Stored, ...] = ()
    """Raw alerts in the evidence store."""
    unfinished: tuple[Unfinished, ...] = ()


class RevertInput(FrozenModel):
    """One step to revert."""

    run: RunRef
    step: PlannedStep
    applied: StepOutcome


class ReleasePlan(FrozenModel):
    """What a release will revert, or why it may not."""

    run: RunRef
    steps: tuple[PlannedStep, ...] = ()
    outcomes: tuple[StepOutcome, ...] = ()
    refusals: tuple[str, ...] = ()


class ReleasePackageInput(FrozenModel):
    """What the release's own package refers to."""

    request: ReleaseInput
    facts: RunFacts
    outcomes: tuple[StepOutcome, ...]


class Page(FrozenModel):
    """Something that the on-call should know now."""

    incident_id: str
    kind: str
    """``started``, ``gate``, ``warning``, ``breach``, ``decision_needed``, ``decided``, ``verdict``."""
    message: str
    phase: Phase | None = None
    verdict: Verdict | None = None
    """How the phase was judged, or how the run or the release ended, on its last page."""
    workload_id: str = ""
    cloud: Cloud | None = None
    mode: Mode = Mode.LIVE
    at: AwareDatetime | None = None
    """The run's own time; pages of 0.1 do not carry it."""
    alerts: tuple[AlertRef, ...] = ()
    """The alerts that the run is about, to be commented where their source allows."""
    question: Question | None = None
    """What is asked, where people have to decide."""


class Relief(FrozenModel):
    """What a run tells its sentry at its own end."""

    containment_id: str
    following: tuple[ContainmentInput, ...] = ()
    """To be started once the run has closed: alerts that came when it was decided already."""
