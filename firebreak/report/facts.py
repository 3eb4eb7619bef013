"""What a report says, read from an evidence package that was verified first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import AwareDatetime, Field

from firebreak.errors import EvidenceError
from firebreak.evidence import custody
from firebreak.evidence.custody import Action, CustodyEntry
from firebreak.evidence.folder import Folder
from firebreak.evidence.layout import BAG, CUSTODY, EXHIBITS
from firebreak.evidence.verify import Report
from firebreak.model import Change, Exhibit, FrozenModel, Phase, Workload
from firebreak.record import Observations, Plan, StepOutcome, Trigger

RecordT = TypeVar("RecordT")
DATA = f"{BAG}/data/"
FINDINGS, CHANGE = "/findings.json", "/change.json"


class PhaseFacts(FrozenModel):
    """One phase, as the signed statement has it."""

    phase: Phase
    title: str
    verdict: str
    started_at: AwareDatetime | None = None
    verified_at: AwareDatetime | None = None
    elapsed_seconds: float | None = None
    budget_seconds: float
    deviations: tuple[str, ...] = ()


class Alteration(FrozenModel):
    """A change that was made to the system, and where its state from before is kept."""

    measure: str
    target: str
    applied_at: AwareDatetime
    before_sha256: str
    irreversible: str = ""


class Facts(FrozenModel):
    """Everything a report shows."""

    verification: Report
    workload: Workload
    trigger: Trigger
    plan: Plan
    verdict: str
    triggered_at: AwareDatetime
    contained_at: AwareDatetime | None = None
    phases: tuple[PhaseFacts, ...]
    steps: tuple[StepOutcome, ...]
    alterations: tuple[Alteration, ...]
    exhibits: tuple[Exhibit, ...]
    custody: tuple[CustodyEntry, ...] = Field(default=())

    @property
    def decisions(self) -> tuple[CustodyEntry, ...]:
        """What people decided."""
        return tuple(entry for entry in self.custody if entry.action is Action.DECIDED)

    @property
    def elapsed_seconds(self) -> float | None:
        """Trigger to the proof of the last phase; None for what was not contained."""
        return (self.contained_at - self.triggered_at).total_seconds() if self.contained_at else None

    def of(self, phase: Phase) -> tuple[StepOutcome, ...]:
        """The steps of a phase, by name."""
        chosen = (step for step in self.steps if step.phase is phase)
        return tuple(sorted(chosen, key=lambda step: step.key))


def read(root: Path, verification: Report) -> Facts:
    """Read a containment's package; raises EvidenceError for what is not one or cannot be read."""
    folder = Folder.scan(root)
    said = verification.containment
    if "phases" not in said:
        raise EvidenceError(
            "this package is not of a containment", resource=str(root), remedy="give a containment's package"
        )
    plan = _document(folder, "plan.json", Plan.model_validate_json)
    steps = tuple(_steps(folder))
    return Facts(
        verification=verification,
        workload=_document(folder, "workload.json", Workload.model_validate_json),
        trigger=_document(folder, "trigger/trigger.json", Trigger.model_validate_json),
        plan=plan,
        verdict=str(said["verdict"]),
        triggered_at=said["triggered_at"],
        contained_at=said.get("contained_at"),
        phases=said["phases"],
        steps=steps,
        alterations=tuple(_alterations(folder, plan)),
        exhibits=tuple(_lines(folder, EXHIBITS, Exhibit.model_validate_json)),
        custody=tuple(_lines(folder, CUSTODY, custody.read)),
    )


def _steps(folder: Folder) -> Iterator[StepOutcome]:
    for name in sorted(folder.files):
        if name.startswith(f"{DATA}phases/") and name.endswith(FINDINGS):
            yield _parsed(folder, name, Observations.model_validate_json).outcome


def _alterations(folder: Folder, plan: Plan) -> Iterator[Alteration]:
    """Every change with an effect, in the order of time."""
    planned = {step.key: step for step in plan.steps}
    names = (name for name in folder.files if name.startswith(f"{DATA}phases/") and name.endswith(CHANGE))
    changes = [_parsed(folder, name, Change.model_validate_json) for name in names]
    for change in sorted(changes, key=lambda change: change.applied_at):
        step = planned.get(f"{change.measure} {change.target.key}")
        if change.changed and step is not None:
            yield Alteration(
                measure=change.measure,
                target=change.target.ref,
                applied_at=change.applied_at,
                before_sha256=step.state.sha256,
                irreversible=step.irreversible,
            )


def _document(folder: Folder, name: str, parse: Callable[[bytes], RecordT]) -> RecordT:
    return _parsed(folder, f"{DATA}{name}", parse)


def _parsed(folder: Folder, name: str, parse: Callable[[bytes], RecordT]) -> RecordT:
    try:
        return parse(folder.read(name))
    except ValueError as error:
        raise EvidenceError(
            "a document of the package cannot be read", resource=name, remedy="see firebreak evidence verify"
        ) from error


def _lines(folder: Folder, name: str, parse: Callable[[str], RecordT]) -> Iterator[RecordT]:
    for line in folder.lines(f"{BAG}/{name}"):
        try:
            yield parse(line)
        except ValueError as error:
            raise EvidenceError(
                "a list of the package cannot be read", resource=name, remedy="see firebreak evidence verify"
            ) from error
