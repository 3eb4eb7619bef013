"""What one person may do about a run now, and why not the rest. Pure; the rules were asked before."""

from __future__ import annotations

from dataclasses import dataclass

from firebreak.model import Verdict
from firebreak.people import same_person
from firebreak.policy.rules import Action, Person
from firebreak.reading import answers
from firebreak.record import RunStatus

RELEASABLE = (Verdict.CONTAINED, Verdict.PARTIALLY_CONTAINED, Verdict.UNPROVEN)


@dataclass(frozen=True)
class Choice:
    """One thing that a person may do."""

    kind: str
    """As in the address of its confirmation page."""
    label: str
    means: str
    look: str = "plain"
    """``primary``, ``danger`` or ``plain``."""


APPROVE = Choice("approve", "Approve", "The containment begins once enough people agreed.", "primary")
REJECT = Choice("reject", "Reject", "Nothing is changed, and the run ends.")
RETRY = Choice(
    "retry", "Retry", "The measures that are not proved are applied and observed again.", "primary"
)
PROCEED = Choice(
    "proceed",
    "Accept the risk",
    "The run goes on without this proof; it is recorded as a deviation.",
    "danger",
)
STOP = Choice("stop", "Stop", "What is contained stays contained; nothing further is done.", "danger")
RELEASE = Choice("release", "Request the release", "Another person has to approve it.")
APPROVE_RELEASE = Choice(
    "approve", "Approve the release", "Every change is reverted and proved equal to before.", "primary"
)
REJECT_RELEASE = Choice("reject", "Reject the release", "The workload stays contained.")
ALL = (APPROVE, REJECT, RETRY, PROCEED, STOP)


@dataclass(frozen=True)
class Panel:
    """The panel of one person."""

    title: str
    choices: tuple[Choice, ...]
    remark: str = ""
    """Why a choice that the person may look for is not there."""


def panel(person: Person, may: frozenset[str], containment: RunStatus, release: RunStatus | None) -> Panel:
    """What the page offers this person."""
    if release is not None and not release.finished:
        return _of_release(person, may, release)
    if not containment.finished:
        return _of_containment(person, may, containment)
    return _after(may, containment, release)


def _of_release(person: Person, may: frozenset[str], release: RunStatus) -> Panel:
    if release.awaiting is None:
        return Panel("The release is under way", ())
    if release.awaiting.kind == "approval":
        offered = {Action.APPROVE_RELEASE: APPROVE_RELEASE, Action.REJECT: REJECT_RELEASE}
    else:
        offered = {Action.RETRY: RETRY, Action.PROCEED: PROCEED, Action.STOP: STOP}
    choices = tuple(choice for action, choice in offered.items() if action in may)
    return Panel("The release needs a person", choices, _remark(person, release, choices))


def _of_containment(person: Person, may: frozenset[str], run: RunStatus) -> Panel:
    if run.awaiting is None:
        return Panel("The containment is under way", (STOP,) if STOP.kind in may else ())
    wanted = [choice for choice in ALL if choice.kind in answers(run.awaiting)]
    choices = tuple(choice for choice in wanted if choice.kind in may and not _said(person, choice, run))
    what = "approval" if run.awaiting.kind == "approval" else "a decision"
    return Panel(f"This run needs {what}", choices, _remark(person, run, choices))


def _after(may: frozenset[str], run: RunStatus, release: RunStatus | None) -> Panel:
    if release is not None and release.verdict is Verdict.RELEASED:
        return Panel("The workload was released", ())
    releasable = run.evidence is not None and run.verdict in RELEASABLE
    choices = (RELEASE,) if releasable and Action.REQUEST_RELEASE in may else ()
    return Panel("The run has ended", choices)


def _said(person: Person, choice: Choice, run: RunStatus) -> bool:
    """One person approves once."""
    return choice is APPROVE and any(
        same_person(each.by, person.name)
        for each in run.decisions
        if each.kind == "approve" and not each.refused
    )


def _remark(person: Person, run: RunStatus, choices: tuple[Choice, ...]) -> str:
    consents = run.awaiting is not None and run.awaiting.kind == "approval"
    if consents and _said(person, APPROVE, run):
        return "You have approved. Another person has to approve as well."
    if consents and same_person(person.name, run.requested_by):
        return "You asked for this yourself, so that another person has to approve it."
    return "" if choices else "Your roles do not let you decide here. The people on call were paged."
