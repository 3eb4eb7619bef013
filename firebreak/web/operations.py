"""What a person may do through the API and the console: asked of the rules first, recorded always."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import structlog
from pydantic import AwareDatetime
from temporalio.client import WorkflowExecution, WorkflowExecutionStatus, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from firebreak import runs, start
from firebreak.connect import INCIDENT, MODE, WORKLOAD
from firebreak.errors import FirebreakError, ForbiddenError, NotFoundError, UsageError
from firebreak.links import Link
from firebreak.logs import AUDIT
from firebreak.model import FrozenModel, Mode, Verdict, Workload
from firebreak.planning import Preview
from firebreak.policy.rules import Action, Person, Rules
from firebreak.record import Decision, RunStatus, Trigger
from firebreak.runs import PATIENCE
from firebreak.start import Started
from firebreak.web.services import Services

log = structlog.get_logger(AUDIT)

LISTED = 50
LIST_PATIENCE = timedelta(seconds=4)
"""With every workflow worker away, people should still have the list soon."""
REMEMBERED = 500
"""Documents of ended runs, which do not change any more."""
KINDS = {kind: Action(kind) for kind in ("approve", "reject", "retry", "proceed", "stop")}


class RunSummary(FrozenModel):
    """One run in a list."""

    incident_id: str
    workflow_id: str
    workload_id: str
    kind: str
    """``containment`` or ``release``."""
    mode: str
    started_at: AwareDatetime
    verdict: Verdict | None = None
    """None where no worker answers for it."""
    finished: bool
    awaiting: str = ""
    elapsed_seconds: float | None = None


@dataclass
class Operations:
    """Everything that the API and the console offer, under the rules."""

    services: Services
    rules: Rules
    ended: OrderedDict[str, RunStatus] = field(default_factory=OrderedDict)

    def workloads(self, person: Person) -> list[Workload]:
        """The workloads that the person may see."""
        known = self.services.inventory.current().workloads.values()
        return [each for each in known if self.rules.ask(person, Action.VIEW, each).allowed]

    def workload(self, person: Person, workload_id: str) -> Workload:
        """One workload; one that the person may not see does not exist for them (NotFoundError)."""
        known = self.services.inventory.current().workloads.get(workload_id)
        if known is None or not self.rules.ask(person, Action.VIEW, known).allowed:
            raise NotFoundError(f"there is no workload {workload_id}")
        return known

    async def runs(self, person: Person, limit: int = LISTED) -> list[RunSummary]:
        """The newest runs of workloads that the person may see."""
        visible = {each.id for each in await asyncio.to_thread(self.workloads, person)}
        found = [e for e in await runs.newest(self.services.temporal, limit) if _workload_of(e) in visible]
        return list(await asyncio.gather(*(self._summary(each) for each in found)))

    async def newest(self, limit: int = LISTED) -> tuple[RunSummary, ...]:
        """The newest runs of all workloads, asked for once and then shown to each person what is theirs."""
        found = await runs.newest(self.services.temporal, limit)
        return tuple(await asyncio.gather(*(self._summary(each) for each in found)))

    async def status(self, person: Person, incident_id: str, *, release: bool = False) -> RunStatus:
        """The document of a containment, or of its release; NotFoundError where the person may not see it."""
        document = await self._document(incident_id, release=release)
        self.workload(person, document.workload_id)
        return document

    def may(self, person: Person, document: RunStatus) -> frozenset[str]:
        """What the person may do about a run, for a page that offers nothing else."""
        workload = self.workload(person, document.workload_id)
        allowed = (a for a in Action if self._rule(person, a, workload, document))
        return frozenset(action.value for action in allowed)

    async def contain(
        self, person: Person, workload_id: str, reason: str, mode: Mode = Mode.LIVE, incident_id: str = ""
    ) -> Started:
        """Start or join a containment in the person's name."""
        workload = self.workload(person, workload_id)
        self._permit(person, Action.CONTAIN, workload, mode=mode)
        trigger = Trigger(
            source="console",
            reason=reason,
            requested_by=person.name,
            received_at=self.services.clock(),
            confirmed=True,
        )
        return await start.contain(
            self.services.temporal,
            self.services.settings,
            workload,
            trigger,
            incident_id=incident_id or start.new_incident_id(),
            mode=mode,
        )

    async def preview(self, person: Person, workload_id: str) -> Preview:
        """What a containment would do; nothing is changed."""
        workload = self.workload(person, workload_id)
        self._permit(person, Action.VIEW, workload)
        trigger = Trigger(
            source="console", reason="preview", requested_by=person.name, received_at=self.services.clock()
        )
        return await start.preview(self.services.temporal, self.services.settings, workload, trigger)

    async def decide(
        self, person: Person, incident_id: str, kind: str, reason: str, link: Link | None = None
    ) -> Decision:
        """Decide in the person's name; raises GuardError where rules or run do not accept it.

        With a link, its one question of its one run is answered and nothing else.
        """
        if kind not in KINDS:
            raise UsageError(f"{kind} is no decision", remedy=f"use one of {', '.join(sorted(KINDS))}")
        if link:
            document = await self.asked(person, link)
        else:
            document = await self._awaiting(person, incident_id)
        workload = self.workload(person, document.workload_id)
        action = Action.APPROVE_RELEASE if is_release(document) and kind == "approve" else KINDS[kind]
        self._permit(person, action, workload, mode=document.mode, requested_by=document.requested_by)
        decision = Decision.model_validate({"by": person.name, "reason": reason, "kind": kind})
        if link is None:
            return await runs.decide(self.services.temporal, incident_id, decision)
        return await runs.hand_over(self._run_of(link), incident_id, by_link(decision, link))

    async def asked(self, person: Person, link: Link) -> RunStatus:
        """The document of the run that a link is about; NotFoundError where the person may not see it."""
        try:
            document = await self._ask(self._run_of(link), link.run_id)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            raise NotFoundError(f"there is no run of {link.incident_id} any more") from error
        self.workload(person, document.workload_id)
        return document

    async def request_release(self, person: Person, incident_id: str, reason: str) -> Started:
        """Ask for a release, which then waits for another person."""
        document = await self.status(person, incident_id)
        workload = self.workload(person, document.workload_id)
        self._permit(person, Action.REQUEST_RELEASE, workload, mode=document.mode)
        return await start.release(
            self.services.temporal, self.services.settings, incident_id, by=person.name, reason=reason
        )

    def read_evidence(self, person: Person, document: RunStatus) -> None:
        """Raise ForbiddenError unless the person may read a run's evidence."""
        workload = self.workload(person, document.workload_id)
        self._permit(person, Action.READ_EVIDENCE, workload, mode=document.mode)

    def _run_of(self, link: Link) -> WorkflowHandle[Any, Any]:
        return self.services.temporal.get_workflow_handle(link.workflow_id, run_id=link.run_id)

    async def _awaiting(self, person: Person, incident_id: str) -> RunStatus:
        """The release of the incident where one waits for a person, or else the containment."""
        try:
            released = await self.status(person, incident_id, release=True)
        except NotFoundError:  # no release has been asked for
            return await self.status(person, incident_id)
        return await self.status(person, incident_id) if released.finished else released

    async def _document(self, incident_id: str, *, release: bool) -> RunStatus:
        if not release:
            return await self._ask(await runs.containment(self.services.temporal, incident_id))
        handle = self.services.temporal.get_workflow_handle(f"release-{incident_id}")
        try:
            return await self._ask(handle)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            raise NotFoundError(f"there is no release of {incident_id}") from error

    async def _ask(
        self, handle: WorkflowHandle[Any, Any], run_id: str = "", patience: timedelta = PATIENCE
    ) -> RunStatus:
        known = self.ended.get(run_id)
        if known is not None:
            return known
        document = await runs.status(handle, patience)
        if document.finished and run_id:
            self.ended[run_id] = document
            while len(self.ended) > REMEMBERED:
                self.ended.popitem(last=False)
        return document

    async def _summary(self, run: WorkflowExecution) -> RunSummary:
        handle = self.services.temporal.get_workflow_handle(run.id, run_id=run.run_id)
        document: RunStatus | None = None
        try:
            document = await self._ask(handle, run.run_id, LIST_PATIENCE)
        except (RPCError, FirebreakError):  # a list must not fail with one run: it shows it without a verdict
            log.warning("run.silent", workflow_id=run.id)
        return RunSummary(
            incident_id=run.typed_search_attributes.get(INCIDENT, ""),
            workflow_id=run.id,
            workload_id=_workload_of(run),
            kind=run.workflow_type,
            mode=run.typed_search_attributes.get(MODE, ""),
            started_at=run.start_time,
            verdict=document.verdict if document else None,
            finished=run.status is not WorkflowExecutionStatus.RUNNING,
            awaiting=document.awaiting.reason if document and document.awaiting else "",
            elapsed_seconds=document.elapsed_seconds if document else None,
        )

    def _permit(
        self,
        person: Person,
        action: Action,
        workload: Workload,
        *,
        mode: Mode = Mode.LIVE,
        requested_by: str = "",
    ) -> None:
        ruling = self.rules.ask(person, action, workload, mode=mode, requested_by=requested_by)
        log.info(
            "person.asked",
            subject=person.subject,
            name=person.name,
            action=action.value,
            workload=workload.id,
            allowed=ruling.allowed,
            because=ruling.because,
        )
        if not ruling.allowed:
            raise ForbiddenError(
                f"{person.name} may not {action.value.replace('_', ' ')} here{_why(ruling.because)}",
                resource=workload.id,
            )

    def _rule(self, person: Person, action: Action, workload: Workload, document: RunStatus) -> bool:
        return self.rules.ask(
            person, action, workload, mode=document.mode, requested_by=document.requested_by
        ).allowed


def by_link(decision: Decision, link: Link) -> Decision:
    """A decision that says how it was given, and which one question it answers."""
    return decision.model_copy(update={"via": "signed link", "question": link.asked_at})


def _why(because: Sequence[str]) -> str:
    return f" ({', '.join(because)})" if because else ""


def is_release(document: RunStatus) -> bool:
    """Whether a release tells of itself, and not a containment."""
    return document.workflow_id.startswith("release-")


def _workload_of(run: WorkflowExecution) -> str:
    return run.typed_search_attributes.get(WORKLOAD, "")
