"""Everything about one incident: asked of Temporal for all who look, and written for each of them."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property

from temporalio.client import WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from firebreak import runs
from firebreak.measure import now
from firebreak.model import Verdict
from firebreak.policy.rules import Action, Person
from firebreak.reading import Clock, open_phases, verify_command
from firebreak.record import Ended, RunStatus
from firebreak.web.console import render
from firebreak.web.console.examine import Examiner
from firebreak.web.console.graph import graph
from firebreak.web.console.panel import panel
from firebreak.web.console.story import happenings, one_line, open_points
from firebreak.web.console.strip import strip
from firebreak.web.operations import Operations
from firebreak.web.services import Services
from workflows.containment import Containment

SHARED = ("head", "said", "clock", "todo", "phases", "graph", "timeline", "people", "later")
"""The sections that are the same for everybody who may see the incident, by the names of their events.

``open``, ``error`` and ``message`` are the browser's own events.
"""


@dataclass(frozen=True)
class Incident:
    """The documents of one incident at one moment."""

    containment: RunStatus
    release: RunStatus | None

    @cached_property
    def fingerprint(self) -> str:
        """The same while nothing happens but the passing of time."""
        documents = [_timeless(each).model_dump_json() for each in (self.containment, self.release) if each]
        return hashlib.sha256("\n".join(documents).encode()).hexdigest()[:16]

    @property
    def over(self) -> bool:
        """Whether neither the containment nor a release goes on."""
        return self.containment.finished and (self.release is None or self.release.finished)

    @property
    def released(self) -> bool:
        """Whether the workload was given back, after which nothing follows."""
        return self.release is not None and self.release.verdict is Verdict.RELEASED

    @property
    def current(self) -> RunStatus:
        """The run that people look at now."""
        return self.release if self.release is not None and not self.release.finished else self.containment

    @cached_property
    def sections(self) -> dict[str, str]:
        """The shared sections, written once however many look."""
        context = self._context()
        return {name: render.part(f"incident/{name}", **context) for name in SHARED}

    def _context(self) -> dict[str, object]:
        moment, run = now(), self.containment
        running = [phase for phase in open_phases(run) if phase.started_at]
        return {
            "run": run,
            "release": self.release,
            "now": moment,
            "clock": Clock.read(run, moment),
            "strip": strip(run, moment),
            "running": running,
            "rest": sum(phase.budget_seconds for phase in open_phases(run) if not phase.started_at),
            "points": open_points(self.current),
            "graph": graph(run),
            "happenings": happenings(run, self.release),
            "said": one_line(self.current),
            "later": self.fingerprint if self.over and not self.released else "",
        }


def asking(services: Services, incident_id: str) -> Callable[[], Awaitable[Incident]]:
    """Asks for the documents of an incident again and again, finding its run only once."""
    found: list[WorkflowHandle[Containment, Ended]] = []
    ended: list[RunStatus] = []

    async def ask() -> Incident:
        if not found:
            found.append(await runs.containment(services.temporal, incident_id))
        document = ended[0] if ended else await runs.status(found[0])
        if document.finished and not ended:
            ended.append(document)
        return Incident(document, await _release(services, incident_id) if document.finished else None)

    return ask


def own_sections(
    operations: Operations, person: Person, incident: Incident, examiner: Examiner
) -> dict[str, str]:
    """The sections that depend on who looks."""
    may, run = operations.may(person, incident.current), incident.containment
    reads = Action.READ_EVIDENCE in may
    context = {
        "panel": panel(person, may, run, incident.release),
        "run": run,
        "verify": verify_command(run, run.evidence) if run.evidence else "",
        "examinable": reads and examiner.usable(run),
        "examined": examiner.seen(run) if reads else None,
    }
    return {name: render.part(f"incident/{name}", **context) for name in ("panel", "evidence")}


async def _release(services: Services, incident_id: str) -> RunStatus | None:
    try:
        return await runs.status(services.temporal.get_workflow_handle(f"release-{incident_id}"))
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:  # otherwise nobody has asked for one
            raise
        return None


def _timeless(status: RunStatus) -> RunStatus:
    if status.finished:
        return status
    phases = tuple(phase.model_copy(update={"elapsed_seconds": None}) for phase in status.phases)
    return status.model_copy(update={"elapsed_seconds": 0.0, "phases": phases})
