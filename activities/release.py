"""Release as activities of a cloud's queue."""

from __future__ import annotations

from temporalio import activity

from activities.errors import translated
from activities.inputs import ReleasePackageInput, ReleasePlan
from activities.liveness import heartbeating
from firebreak import __version__, marker, releasing
from firebreak.engine import Engine
from firebreak.evidence.custody import Actor
from firebreak.logs import bind_incident
from firebreak.record import ReleaseInput, Sealed


class ReleaseActivities:
    """Reads the containment's record, and writes the release's own."""

    def __init__(self, engine: Engine, identity: str) -> None:
        self.engine = engine
        self.responder = Actor(who=identity, software=f"firebreak {__version__}")

    @activity.defn(name="firebreak.plan-release")
    async def plan(self, request: ReleaseInput) -> ReleasePlan:
        """Read what was changed, and check that artifacts still are what was frozen."""
        bind_incident(request.incident_id)
        with translated():
            async with heartbeating():
                return await self.engine.blocking(lambda: self._plan(request))

    @activity.defn(name="firebreak.package-release")
    async def package(self, request: ReleasePackageInput) -> Sealed:
        """Seal the release's package, and mark the workload as released."""
        bind_incident(request.request.incident_id)
        with translated():
            async with heartbeating():
                return await self.engine.blocking(lambda: self._package(request))

    def _plan(self, request: ReleaseInput) -> ReleasePlan:
        record = releasing.open_record(self.engine, request)
        refusals = releasing.refusals(self.engine, request, record)
        if refusals:
            return ReleasePlan(run=record.plan.run, refusals=refusals)
        marker.begin_release(self.engine, record.plan.run)
        return ReleasePlan(run=record.plan.run, steps=record.plan.steps, outcomes=record.outcomes)

    def _package(self, request: ReleasePackageInput) -> Sealed:
        record = releasing.open_record(self.engine, request.request)
        marker.end_release(self.engine, record.plan.run)
        sealed = releasing.seal(
            self.engine, request.request, record, request.facts, request.outcomes, self.responder
        )
        self.engine.vault.forget(f"sealed/{request.request.incident_id}/")  # what comparing left
        return sealed
