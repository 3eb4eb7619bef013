"""Preserve what agents were telling each other: messages waiting in queues and subscriptions."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from firebreak.capture import Page
from firebreak.declarations import of_kind, targets_of
from firebreak.measure import found, on_target
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, Target, Workload
from providers.azure.answers import translated
from providers.azure.existence import existing
from providers.azure.forensics.capture import AzureCapture
from providers.azure.ids import ResourceId
from providers.azure.resources.network import ServiceBusQueue, ServiceBusTopic

if TYPE_CHECKING:
    from azure.servicebus import ServiceBusReceivedMessage

_VERSION = "2024-01-01"
"""api-version of ``Microsoft.ServiceBus``."""
_NAMESPACES = "Microsoft.ServiceBus/namespaces"
_BATCH = 250
_COMPARED = 100
"""Messages of each place whose delivery counts are compared at every observation."""

_DEAD_LETTERS = "/$DeadLetterQueue"


class CaptureChannelMessages(
    AzureCapture, cloud=Cloud.AZURE, phase=Phase.FORENSIC_CAPTURE, name="capture-channel-messages"
):
    """Peek at every message waiting in a queue or in a topic's subscriptions, dead letters too; receive none.

    A queue that is wholly disabled cannot be peeked at; one with sending disabled can (Service Bus, "Suspend
    and reactivate messaging entities").
    """

    permissions = on_target(
        f"{_NAMESPACES}/queues/read",
        f"{_NAMESPACES}/topics/read",
        f"{_NAMESPACES}/topics/subscriptions/read",
        f"data:{_NAMESPACES}/messages/receive/action",
    )
    preserve_first = True
    kind = "inter-agent messages"
    acquired_by = "com.microsoft:peek-message"

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """Every declared queue and topic. Event Grid keeps no messages that could be read."""
        channels = workload.channels
        declared = [*of_kind(channels, ServiceBusQueue), *of_kind(channels, ServiceBusTopic)]
        return targets_of(workload, declared)

    @classmethod
    def needed(cls, target: Target) -> tuple[Any, ...]:
        """What a queue or a topic needs."""
        other = "topics" if target.kind == "service-bus-queue" else "queues"
        return tuple(each for each in cls.permissions if f"/{other}/" not in each.action)

    def discover(self, target: Target) -> list[Target]:
        """The queue or topic; raises AbsentError where it does not exist."""
        self._entity(target)
        return [target]

    def snapshot(self, target: Target) -> JsonObject:
        """Count what waits."""
        return {"places": self._places(target), "counts": self._counts(target)}

    def pages(self, target: Target, position: JsonObject) -> Iterator[Page]:
        """Peek from the lowest sequence number to the highest, one place after the other."""
        place = {"places": self._places(target), "index": 0, "behind": 0, "compared": {}, **position}
        while place["index"] < len(place["places"]):
            for page in self._peeked(target, place):
                yield page
                place = page.position

    def notes(self, target: Target, position: JsonObject) -> JsonObject:
        """The delivery counts as they were when the messages were copied."""
        return {"delivery_counts": position.get("compared", {}), "effect": "none: peeked, never received"}

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """Prove the copies, and that looking has left the messages as they were."""
        return (*super().verify(target, change), self._untouched(target, change))

    def _untouched(self, target: Target, change: Change) -> Finding:
        """Compare delivery counts: receiving would have raised them or taken the messages away."""
        copied: dict[str, dict[str, int]] = change.after["delivery_counts"]
        current = {
            path: self._delivery_counts(target, path, len(seen)) for path, seen in copied.items() if seen
        }
        pairs = [(name, number, count) for name, seen in copied.items() for number, count in seen.items()]
        raised = [f"{name}#{n}" for name, n, count in pairs if current[name].get(n, count) != count]
        gone = [f"{name}#{number}" for name, number, _ in pairs if number not in current[name]]
        return found(
            Method.LIVE_PROBE,
            f"{len(pairs) - len(gone)} of {len(pairs)} messages wait, {len(raised)} delivered meanwhile",
            holds=not raised,
            delivered=raised[:_COMPARED],
            taken_by_their_receivers=gone[:_COMPARED],
            counts_before=change.before["counts"],
            counts_now=self._counts(target),
        )

    def _delivery_counts(self, target: Target, path: str, most: int) -> dict[str, int]:
        counts: dict[str, int] = {}
        behind = 0
        with self._browser(target, path) as opened:
            while len(counts) < most:
                batch = _peek(opened, behind, most - len(counts))
                if not batch:
                    break
                counts |= {str(each.sequence_number): each.delivery_count or 0 for each in batch}
                behind = batch[-1].sequence_number or behind
        return counts

    def _peeked(self, target: Target, place: JsonObject) -> Iterator[Page]:
        """Every message of one place, behind the last one that is known."""
        path = place["places"][place["index"]]
        compared, behind, index = {path: {}, **place["compared"]}, place["behind"], place["index"]
        with self._browser(target, path) as opened:
            while index == place["index"]:
                batch = _peek(opened, behind, _BATCH)
                room = _COMPARED - len(compared[path])
                counts = {str(each.sequence_number): each.delivery_count or 0 for each in batch[:room]}
                compared = {**compared, path: {**compared[path], **counts}}
                behind = batch[-1].sequence_number if batch else 0
                index += 0 if batch else 1
                position = {**place, "index": index, "behind": behind, "compared": compared}
                yield Page([{"place": path, **_record(each)} for each in batch], position)

    def _browser(self, target: Target, path: str) -> Any:
        from providers.azure.forensics.browsing import browser  # noqa: PLC0415 - only where there is a channel

        host = f"{ResourceId.parse(target.ref).part('namespaces')}.{self.access.endpoints.bus_suffix}"
        return browser(self.access.reached(), host, path)

    def _places(self, target: Target) -> list[str]:
        """A queue, or the subscriptions of a topic, each with its dead letters."""
        entity = ResourceId.parse(target.ref).name
        if target.kind == "service-bus-queue":
            return [entity, f"{entity}{_DEAD_LETTERS}"]
        names = sorted(each["name"] for each in self._subscriptions(target))
        paths = [f"{entity}/Subscriptions/{name}" for name in names]
        return [f"{path}{dead}" for path in paths for dead in ("", _DEAD_LETTERS)]

    def _subscriptions(self, target: Target) -> list[JsonObject]:
        with translated(target.ref):
            return list(self.access.arm().pages(f"{target.ref}/subscriptions", _VERSION))

    def _entity(self, target: Target) -> JsonObject:
        return existing(self.access, target.ref, _VERSION, "the queue or topic")

    def _counts(self, target: Target) -> JsonObject:
        """How many messages the service counts, active and dead, by place."""
        entity = self._entity(target)
        listed = [entity] if target.kind == "service-bus-queue" else self._subscriptions(target)
        details = {each["name"]: each["properties"].get("countDetails", {}) for each in listed}
        return {
            name: {
                key: count[key] for key in ("activeMessageCount", "deadLetterMessageCount") if key in count
            }
            for name, count in details.items()
        }


def _peek(opened: Any, behind: int, most: int) -> list[ServiceBusReceivedMessage]:
    from providers.azure.forensics.browsing import peeked  # noqa: PLC0415 - only where there is a channel

    return peeked(opened, behind, most)


def _record(message: ServiceBusReceivedMessage) -> JsonObject:
    """A message as evidence: every property, and the body in base64 because it may be anything."""
    raw = message.raw_amqp_message
    return {
        "sequence_number": message.sequence_number,
        "message_id": message.message_id,
        "enqueued_at": message.enqueued_time_utc,
        "delivery_count": message.delivery_count,
        "state": message.state.name,
        "session_id": message.session_id,
        "correlation_id": message.correlation_id,
        "content_type": message.content_type,
        "subject": message.subject,
        "to": message.to,
        "reply_to": message.reply_to,
        "time_to_live_seconds": message.time_to_live.total_seconds() if message.time_to_live else None,
        "dead_letter_reason": message.dead_letter_reason,
        "application_properties": _texts(message.application_properties),
        "annotations": _texts(raw.annotations),
        "body_type": message.body_type.name,
        "body_base64": b64encode(_body(message)).decode(),
    }


def _body(message: ServiceBusReceivedMessage) -> bytes:
    if message.body_type.name == "DATA":
        return b"".join(message.body)
    return str(message.body if message.body_type.name == "VALUE" else list(message.body)).encode()


def _texts(properties: Any) -> JsonObject:
    return {_text(key): _text(value) for key, value in (properties or {}).items()}


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)
