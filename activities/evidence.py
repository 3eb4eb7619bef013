"""Custody and the evidence package as activities of a cloud's queue."""

from __future__ import annotations

from typing import cast

from temporalio import activity

from activities.errors import translated
from activities.inputs import CustodyInput, CustodySegment, KeepInput, PackageInput
from activities.liveness import heartbeating
from firebreak import __version__, chronicle, exhibit0, marker, package, planning
from firebreak.delivery import DeliveryInput
from firebreak.engine import Engine
from firebreak.errors import EvidenceError
from firebreak.evidence import custody
from firebreak.evidence.custody import Actor, CustodyEvent
from firebreak.logs import bind_incident
from firebreak.model import Stored
from firebreak.record import Received, Sealed


class EvidenceActivities:
    """Writes what a run has to keep."""

    def __init__(self, engine: Engine, identity: str) -> None:
        self.engine = engine
        self.responder = Actor(who=identity, software=f"firebreak {__version__}")

    @activity.defn(name="firebreak.chain")
    async def chain(self, request: CustodyInput) -> CustodySegment:
        """Chain events behind the head, and store the new part."""
        bind_incident(request.run.incident_id)
        events = [self._signed(event) for event in request.events]
        lines, head = custody.extend(request.head, events)
        body = "".join(f"{line}\n" for line in lines).encode()
        key = f"{request.run.incident_id}.custody/{request.segment}.jsonl"
        with translated():
            async with heartbeating():
                stored = await self.engine.blocking(lambda: self.engine.vault.put(key, body))
        return CustodySegment(head=head, stored=stored)

    @activity.defn(name="firebreak.keep-alert")
    async def keep_alert(self, request: KeepInput) -> tuple[Stored, ...]:
        """Move a raw alert from the delivery that brought it into the evidence store."""
        bind_incident(request.run.incident_id)
        with translated():
            async with heartbeating():
                delivery = await _delivery(request.received)
                return await self.engine.blocking(
                    lambda: exhibit0.keep(
                        self.engine.vault, request.run.incident_id, request.number, request.received, delivery
                    )
                )

    @activity.defn(name="firebreak.package")
    async def package(self, request: PackageInput) -> Sealed:
        """Gather, sign and lock the evidence package, and forget the sealed probe sessions."""
        bind_incident(request.run.incident_id)
        with translated():
            async with heartbeating():
                return await self.engine.blocking(lambda: self._package(request))

    def _package(self, request: PackageInput) -> Sealed:
        plan = planning.read_plan(self.engine, request.plan)
        done = [*package.outcomes(self.engine, request.proved), *request.failed]
        sealed = package.seal(
            self.engine,
            plan,
            request.facts,
            package.Gathered(done, request.preserved, request.segments, request.alerts, request.unfinished),
            sealed_at=request.sealed_at,
            actor=self.responder,
        )
        self.engine.vault.forget(f"sealed/{request.run.incident_id}/")
        marker.settle(self.engine, plan, {outcome.key for outcome in done})
        return sealed

    def _signed(self, event: CustodyEvent) -> CustodyEvent:
        if event.actor != chronicle.RESPONDER:
            return event
        return event.model_copy(update={"actor": self.responder})


async def _delivery(received: Received) -> DeliveryInput:
    """What a delivery was started with: the first event of its history."""
    client = activity.client()
    async for event in client.get_workflow_handle(received.delivery).fetch_history_events():
        payloads = event.workflow_execution_started_event_attributes.input.payloads
        (delivery,) = await client.data_converter.decode(payloads, [DeliveryInput])
        return cast("DeliveryInput", delivery)
    raise EvidenceError("the delivery of the alert has no history", resource=received.delivery)
