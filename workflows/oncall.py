"""The 15-minute clock and the on-call: warnings, the breach, and pages that never hold a phase."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TypedDict, Unpack

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError, TimeoutError  # noqa: A004 - Temporal's own

with workflow.unsafe.imports_passed_through():
    from activities.inputs import Page
    from firebreak.model import CONTAINMENT_TARGET, Phase, Verdict
    from firebreak.record import COMMENTED_ALERTS, AlertRef, Question, RunFacts, alert_refs

from workflows.failures import message
from workflows.options import PAGING
from workflows.paging import tell

WARNINGS_AT = (0.5, 0.8)
"""Fractions of the 15 minutes at which the on-call is warned."""

MINUTES = CONTAINMENT_TARGET.seconds // 60
BREACH = f"not contained within {MINUTES} minutes; the run goes on"

NEWS = "pages at the start, at each gate and for each decision"
"""The patch of 0.2; histories of 0.1 page only where people have to act, and at the end."""

OWN_CLOCK = "a trigger from the future counts from the start of the run"
"""The patch of 0.2."""

SAME_TIME_SECONDS = 5.0
"""What clocks that are kept by NTP, and the way to the server, may differ."""

LAST_PAGES = timedelta(seconds=12)
"""How long an ended run stays open for its last pages: longer than one channel may take
(``FIREBREAK_NOTIFY__TIMEOUT_SECONDS``, 10 by default)."""

UNANSWERED = "not every channel had answered when the run ended"

COMMENT_ERRORS = frozenset({"NotCommentedError", "CommentRefusedError"})
"""Where everybody was told, and only a comment on an alert is missing."""


class About(TypedDict, total=False):
    """What a page is about, beside its text."""

    phase: Phase
    verdict: Verdict
    question: Question


class OnCall:
    """Pages people about one run, and keeps its clock; ``about`` are the alerts that it began with."""

    def __init__(self, facts: RunFacts, about: Sequence[AlertRef]) -> None:
        self.facts = facts
        self.about = tuple(about)
        self.pages: list[asyncio.Task[None]] = []
        self.news = False

    def correct_clock(self) -> None:
        """Count from the start of the run where the caller's clock is fast: that would lend the run time."""
        started, told = workflow.info().start_time, self.facts.triggered_at
        apart = (told - started).total_seconds()
        if abs(apart) <= SAME_TIME_SECONDS or not workflow.patched(OWN_CLOCK):
            return
        if apart < 0:
            self.facts.notes.append(f"the trigger is {-apart:.0f} s older than the run")
            return
        self.facts.triggered_at = started
        self.facts.notes.append(
            f"the trigger's time is {apart:.0f} s after the start of the run: the caller's clock is fast, "
            "and the time counts from the start"
        )

    def page(self, kind: str, text: str, **about: Unpack[About]) -> None:
        """Send a page in the background."""
        self.pages.append(asyncio.create_task(self._deliver(self.written(kind, text, **about))))

    def written(self, kind: str, text: str, **about: Unpack[About]) -> Page:
        """A page about this run as of now."""
        return Page(
            incident_id=self.facts.incident_id,
            kind=kind,
            message=text,
            workload_id=self.facts.workload_id,
            cloud=self.facts.cloud,
            mode=self.facts.mode,
            at=workflow.now(),
            alerts=self._alerts(),
            **about,
        )

    def tell(self, kind: str, text: str, **about: Unpack[About]) -> None:
        """Send news that ask for nothing; runs that began before 0.2 have none in their history."""
        if self.news:
            self.page(kind, text, **about)

    def begin(self, text: str) -> None:
        """Say that the run has begun."""
        self.news = workflow.patched(NEWS)
        self.tell("started", f"{self.facts.workload_id} ({self.facts.cloud}, {self.facts.mode}): {text}")

    def gate(self, phase: Phase) -> None:
        """Say how a phase was judged."""
        verdict = self.facts.phases[phase].verdict
        self.tell("gate", f"phase {int(phase)} {phase.title}: {verdict}", phase=phase, verdict=verdict)

    def end(self) -> None:
        """Say how the run ended."""
        verdict = self.facts.verdict
        self.page("verdict", f"{self.facts.workload_id}: {verdict}", verdict=verdict)

    async def deliver_last(self) -> None:
        """Give the pages on their way a moment to arrive."""
        _, missing = await workflow.wait(self.pages, timeout=LAST_PAGES.total_seconds())
        for task in missing:
            task.cancel()
        if missing:
            await workflow.wait(missing)

    async def watch_clock(self) -> None:
        """Warn at half and at four fifths of the time, and record the breach; the run goes on."""
        for fraction in WARNINGS_AT:
            await self._sleep_until(self.facts.triggered_at + CONTAINMENT_TARGET * fraction)
            self._warn("warning", f"{fraction:.0%} of the {MINUTES} minutes have passed")
        await self._sleep_until(self.facts.triggered_at + CONTAINMENT_TARGET)
        self._warn("breach", BREACH)

    def overdue(self) -> None:
        """Record the breach where the time ran out while the run still counted as contained."""
        late = workflow.now() >= self.facts.triggered_at + CONTAINMENT_TARGET
        if late and BREACH not in self.facts.warnings:
            self._warn("breach", BREACH)

    async def _sleep_until(self, moment: datetime) -> None:
        wait = (moment - workflow.now()).total_seconds()
        if wait > 0:
            await workflow.sleep(wait)

    def _warn(self, kind: str, text: str) -> None:
        if self.facts.contained_at is None and self.facts.ended_at is None:
            self.facts.warnings.append(text)
            self.page(kind, text)

    async def _deliver(self, page: Page) -> None:
        try:
            await tell(page, PAGING)
        except ActivityError as error:  # a dead notifier is shown, and never holds a run
            self._note(page, error)

    def _note(self, page: Page, error: ActivityError) -> None:
        """Say what did not arrive, and only that a comment is missing where people were told."""
        cause = error.cause.cause if isinstance(error.cause, TimeoutError) else error.cause
        if isinstance(cause, ApplicationError) and cause.type in COMMENT_ERRORS:
            note = f"an alert could not be commented: {message(error)}"
        else:
            why = UNANSWERED if isinstance(cause, CancelledError) else message(error)
            note = f"the on-call could not be paged ({page.kind}): {why}"
        if note not in self.facts.notes:
            self.facts.notes.append(note)

    def _alerts(self) -> tuple[AlertRef, ...]:
        """Those that joined since, too."""
        return tuple(dict.fromkeys((*self.about, *alert_refs(self.facts.alerts))))[:COMMENTED_ALERTS]
