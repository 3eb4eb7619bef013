"""What happens to a request: who sent it, what it says, which workload it is about, and the durable start."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Literal

import structlog
from temporalio.service import RPCError

from firebreak import intake, start
from firebreak.delivery import DeliveryInput
from firebreak.errors import FirebreakError
from firebreak.model import FrozenModel, JsonObject, Workload
from firebreak.record import ContainmentInput, Trigger
from firebreak.web.services import Services
from firebreak.web.webhook.alert import Alert, MalformedError
from firebreak.web.webhook.authenticate import authenticator
from firebreak.web.webhook.authenticate.fetch import Fetch
from firebreak.web.webhook.configuration import Source
from firebreak.web.webhook.envelopes import opened
from firebreak.web.webhook.exhibit import Exhibit, exhibit
from firebreak.web.webhook.fields import parsed, text
from firebreak.web.webhook.limits import Limits, TooManyError
from firebreak.web.webhook.places import Places
from firebreak.web.webhook.replay import TOLERANCE
from firebreak.web.webhook.request import Authenticator, Caller, Received, UnauthenticatedError
from firebreak.web.webhook.resolve import Index, Resolved
from firebreak.web.webhook.sources import ADAPTERS

log = structlog.get_logger("firebreak.webhook")

ACTIONABLE = frozenset({"new", "updated"})
NOT_CONNECTED = "Failed client connect"
"""How the SDK's RuntimeError begins where a lazy connection fails."""
CONFIRMATIONS = frozenset({"SubscriptionConfirmation", "UnsubscribeConfirmation"})


class AwayError(FirebreakError):
    """The start could not be made durable in time; the sender has to try again."""


class StaleError(FirebreakError):
    """The event is older than repeats are remembered, so it cannot be told from a replay."""


class Acknowledged(FrozenModel):
    """The answer to a sender: durable by then, and the same for each repeat."""

    status: Literal["started", "paged", "ignored"]
    incident_id: str | None = None
    workflow_id: str | None = None
    joined: bool | None = None
    """The workload was already being contained."""
    repeated: bool = False
    """This delivery had come before."""
    reference: str | None = None
    """Where nothing was started: the name under which people were told."""
    reason: str | None = None


@dataclass(frozen=True)
class Gate:
    """One source with its way of proving who sends."""

    source: Source
    authenticator: Authenticator


@dataclass(frozen=True)
class Message:
    """An authenticated request."""

    source: Source
    caller: Caller
    request: Received
    exhibit: Exhibit


class Reception:
    """Receives for every configured source."""

    def __init__(self, services: Services, sources: Sequence[Source], fetch: Fetch) -> None:
        self._services = services
        self._gates: Mapping[str, Gate] = {
            each.name: Gate(each, authenticator(each.authentication, services.settings.web, fetch))
            for each in sources
        }
        self._limits = Limits()
        self._places = Places(services.settings.web.concurrency)
        self._index: Index | None = None

    async def receive(self, name: str, request: Received) -> Acknowledged:
        """Acknowledge one request, or raise what became of it; what is acknowledged is durable."""
        message = await self._authenticated(name, request)
        try:
            body = parsed(request.body)
            if text(body, "Type") in CONFIRMATIONS:
                return await self._confirmation(message, body)
            alert = ADAPTERS[message.source.adapter](opened(body))
        except MalformedError as error:
            await self._unreadable(message, error)
            raise
        return await self._alerted(message, alert)

    async def _authenticated(self, name: str, request: Received) -> Message:
        gate = self._gates.get(name)
        if gate is None:
            raise UnauthenticatedError("there is no such source")
        caller = await gate.authenticator.authenticate(request)
        kept = exhibit(request, gate.authenticator.secret_headers)
        return Message(gate.source, caller, request, kept)

    async def _alerted(self, message: Message, alert: Alert) -> Acknowledged:
        why = _ignored(alert)
        if why:
            log.info("alert.ignored", source=message.source.name, finding=alert.finding_info.uid, why=why)
            return Acknowledged(status="ignored", reason=why)
        self._check_age(message, alert)
        found = await self._resolved(message.source, alert)
        if found.workload is None:
            return await self._told(message, alert.key, f"{_about(alert)}: {found.why}", alert)
        return await self._started(message, alert, found.workload)

    def _check_age(self, message: Message, alert: Alert) -> None:
        """Refuse what could be a replay from before our memory begins."""
        remembered = timedelta(days=self._services.settings.web.remember_days)
        now = message.request.received_at
        if alert.time is None:
            if message.caller.replayable:
                raise StaleError("the signature covers no time, and the body has none either")
            return
        if not now - remembered <= alert.time <= now + TOLERANCE:
            raise StaleError(f"the event's own time, {alert.time.isoformat()}, is not acceptable")

    async def _resolved(self, source: Source, alert: Alert) -> Resolved:
        index = await asyncio.to_thread(self._indexed)
        found = index.resolve(alert.resources)
        if found.workload and not any(fnmatchcase(found.workload.id, each) for each in source.workloads):
            return Resolved(None, f"the source may not ask for {found.workload.id}")
        return found

    def _indexed(self) -> Index:
        inventory = self._services.inventory.current()
        if self._index is None or self._index.digest != inventory.digest:
            self._index = Index(inventory)
        return self._index

    async def _started(self, message: Message, alert: Alert, workload: Workload) -> Acknowledged:
        self._limits.alert(message.source, workload.id)
        unusual = self._limits.unusual(message.source, workload.id)
        name = intake.delivery_id(message.source.name, alert.key)
        trigger = _trigger(message, alert, name, unusual=unusual)
        request = start.request_for(
            self._services.settings, workload, trigger, start.new_incident_id(), message.source.mode
        )
        delivery = self._delivery(message, request.incident_id, alert.finding_info.uid, containment=request)
        delivery = delivery.model_copy(update={"containment_id": start.workflow_id(workload)})
        return await self._durable(name, delivery, workload)

    async def _told(self, message: Message, key: str, page: str, alert: Alert | None = None) -> Acknowledged:
        """Have people told, durably; nothing is started."""
        self._limits.page(message.source)
        finding = alert.finding_info.uid if alert else ""
        reference = start.new_incident_id().replace("INC-", "ALERT-")
        delivery = self._delivery(message, reference, finding, page=f"{message.source.name}: {page}")
        return await self._durable(intake.delivery_id(message.source.name, key), delivery, None)

    async def _unreadable(self, message: Message, error: MalformedError) -> None:
        """Tell people of a source that sends what nobody can read: its alerts would be missed otherwise."""
        page = f"sends what cannot be read: {error.message}"
        try:
            told = await self._told(message, f"unreadable {message.exhibit.sha256}", page)
        except TooManyError:  # people know of this source by now
            return
        error.remedy = f"see {told.reference}"

    async def _confirmation(self, message: Message, body: JsonObject) -> Acknowledged:
        """Never follow a URL of a body: a person who set the topic up confirms it."""
        kind, topic, token = (text(body, name) for name in ("Type", "TopicArn", "Token"))
        page = (
            f"{kind} of {topic}; nothing was opened. If you wanted this subscription: "
            f"aws sns confirm-subscription --topic-arn {topic} --token {token}"
        )
        return await self._told(message, f"{kind} {text(body, 'MessageId')}", page)

    def _delivery(
        self,
        message: Message,
        reference: str,
        finding: str,
        *,
        containment: ContainmentInput | None = None,
        page: str = "",
    ) -> DeliveryInput:
        return DeliveryInput(
            reference=reference,
            source=message.source.name,
            finding=finding,
            caller=message.caller.name,
            received_at=message.request.received_at,
            headers=message.exhibit.headers,
            body=message.exhibit.packed,
            sha256=message.exhibit.sha256,
            size=message.exhibit.size,
            containment=containment,
            page=page,
            remember_seconds=self._services.settings.web.remember_days * 86_400,
        )

    async def _durable(self, name: str, delivery: DeliveryInput, workload: Workload | None) -> Acknowledged:
        settings = self._services.settings
        try:
            async with self._places.one(settings.web.answer_seconds):
                taken = await intake.take(self._services.temporal, settings, name, delivery, workload)
        except (RPCError, TimeoutError, FirebreakError) as error:
            raise AwayError(f"Temporal does not answer: {type(error).__name__} {error}") from error
        except RuntimeError as error:
            if not str(error).startswith(NOT_CONNECTED):
                raise
            raise AwayError("Temporal has not been reached yet") from error
        log.info(
            "alert.taken",
            source=delivery.source,
            delivery=name,
            reference=taken.reference,
            page=delivery.page,
        )
        return _acknowledged(taken, delivery)


def _acknowledged(taken: intake.Taken, delivery: DeliveryInput) -> Acknowledged:
    if taken.settled is None:
        return Acknowledged(
            status="paged", reference=taken.reference, repeated=taken.repeated, reason=delivery.page or None
        )
    return Acknowledged(
        status="started",
        incident_id=taken.settled.incident_id,
        workflow_id=taken.settled.workflow_id,
        joined=taken.settled.joined,
        repeated=taken.repeated,
    )


def _ignored(alert: Alert) -> str:
    if alert.sample:
        return "a sample finding"
    return "" if alert.state in ACTIONABLE else f"the finding is {alert.state}"


def _about(alert: Alert) -> str:
    return f"alert {alert.finding_info.uid} ({alert.finding_info.title or 'untitled'})"


def _trigger(message: Message, alert: Alert, delivery: str, *, unusual: bool) -> Trigger:
    weak = message.caller.weak or message.source.starts == "approval"
    consent = "confirm" if weak else "ask" if unusual else "declared"
    return Trigger.model_validate(
        {
            "source": message.source.name,
            "reason": (alert.finding_info.title or alert.finding_info.uid)[:2000],
            "requested_by": f"{message.source.name} ({message.caller.name})"[:128],
            "received_at": message.request.received_at,
            "confirmed": alert.confirmed and not weak,
            "consent": consent,
            "finding": alert.finding_info.uid,
            "received": message.exhibit.reference(delivery),
        }
    )
