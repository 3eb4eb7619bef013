"""Speak AMQP 1.0 as a Service Bus namespace does: put-token, links to entities, and the peek operation.

Service Bus AMQP protocol guide; "AMQP 1.0 in Azure Service Bus: request-response-based operations".
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

from azure.servicebus._pyamqp import endpoints
from azure.servicebus._pyamqp.error import AMQPError
from azure.servicebus._pyamqp.outcomes import Accepted, Modified, Rejected, Released

from drills.sandbox.azure import state
from drills.sandbox.azure.servicebus_codec import (
    HEADER,
    SASL_HEADER,
    Incoming,
    arrived,
    delivered,
    encoded,
    reply,
    sections,
)
from drills.sandbox.azure.servicebus_entities import Entity, Namespace, RefusedError
from drills.sandbox.azure.servicebus_messages import Message, messages

_OPEN, _BEGIN, _ATTACH, _FLOW, _TRANSFER, _DISPOSITION, _DETACH, _END, _CLOSE = range(0x10, 0x19)
_SASL_INIT = 0x41
_RECEIVER, _SENDER = True, False
_SETTLED = 1
_OUTCOMES: Final = {
    "accepted": Accepted(),
    "rejected": Rejected(None),
    "released": Released(),
    "modified": Modified(None, None, None),
}
_SOURCE: Any = endpoints.Source
_TARGET: Any = endpoints.Target
_MANAGEMENT = "/$management"
_CBS = "$cbs"
_WINDOW: Final = 5_000
_CREDIT: Final = 1_000
_FRAME_BYTES: Final = 64 * 1024
"""The largest frame of a Service Bus connection (Service Bus AMQP protocol guide)."""


@dataclass
class Link:
    """One link of the client, from our side."""

    channel: int
    handle: int
    name: bytes
    address: str
    gives: bool
    """We send on it: the client receives."""
    settled: bool = False
    """Receive and delete."""
    entity: Entity | None = None
    credit: int = 0
    sent: int = 0
    parts: bytearray = field(default_factory=bytearray)


class Peer:
    """One connection of a client to a namespace. ``feed`` takes its bytes, ``write`` gets ours."""

    def __init__(self, namespace: Namespace, write: Callable[[bytes], None]) -> None:
        self._namespace = namespace
        self._write = write
        self._incoming = Incoming()
        self._links: dict[tuple[int, int], Link] = {}
        self._unsettled: dict[tuple[int, int], tuple[Link, Message]] = {}
        self._next_delivery = 0
        self._frame_bytes = _FRAME_BYTES
        self._handlers: dict[int, Callable[[int, list[Any]], None]] = {
            _SASL_INIT: lambda *_: self._send("SASLOutcome", sasl=True, code=0),
            _OPEN: self._opened,
            _BEGIN: self._begun,
            _ATTACH: self._attached,
            _FLOW: self._flowed,
            _TRANSFER: self._transferred,
            _DISPOSITION: self._disposed,
            _DETACH: self._detached,
            _END: lambda channel, _: self._send("EndFrame", channel),
            _CLOSE: lambda *_: self._send("CloseFrame"),
        }

    def feed(self, data: bytes) -> None:
        """Answer what the client sent."""
        with state.lock:
            for each in self._incoming.feed(data):
                if isinstance(each, bytes):
                    self._greet(each)
                else:
                    channel, code, fields = each
                    self._handlers[code](channel, fields)

    def pump(self) -> None:
        """Give waiting receivers what has come in meanwhile."""
        with state.lock:
            for link in [each for each in self._links.values() if each.gives and each.entity]:
                self._give(link)

    # connection and session

    def _greet(self, header: bytes) -> None:
        self._write(header if header == SASL_HEADER else HEADER)
        if header == SASL_HEADER:
            self._send("SASLMechanism", sasl=True, sasl_server_mechanisms=[b"ANONYMOUS", b"EXTERNAL"])

    def _opened(self, _: int, fields: list[Any]) -> None:
        self._frame_bytes = min(fields[2], _FRAME_BYTES)
        self._send(
            "OpenFrame",
            container_id=str(uuid4()),
            max_frame_size=_FRAME_BYTES,
            channel_max=4999,
            idle_timeout=240_000,
        )

    def _begun(self, channel: int, fields: list[Any]) -> None:
        self._send(
            "BeginFrame",
            channel,
            remote_channel=channel,
            next_outgoing_id=self._next_delivery,
            incoming_window=_WINDOW,
            outgoing_window=_WINDOW,
            handle_max=255,
        )

    def _send(self, kind: str, channel: int = 0, *, sasl: bool = False, **fields: Any) -> None:
        self._write(encoded(kind, channel, sasl=sasl, **fields))

    # links

    def _attached(self, channel: int, fields: list[Any]) -> None:
        name, handle, role, settle_mode, _, source, target = fields[:7]
        address = _text((source if role is _RECEIVER else target)[0])
        link = Link(channel, handle, name, address, gives=role is _RECEIVER, settled=settle_mode == _SETTLED)
        refused = self._refusal(link)
        self._links[channel, handle] = link
        # A refused link has no source or target of ours; the reason follows (part 2, 2.6.3).
        self._send(
            "AttachFrame",
            channel,
            name=name,
            handle=handle,
            role=not role,
            send_settle_mode=settle_mode,
            rcv_settle_mode=0,
            source=None if refused and link.gives else _SOURCE(address=_text(source[0])),
            target=None if refused and not link.gives else _TARGET(address=_text(target[0])),
            initial_delivery_count=0 if link.gives else None,
            max_message_size=1024 * 1024,
        )
        if refused:
            self._refuse(link, refused)
        elif not link.gives:
            self._flow(link)

    def _refusal(self, link: Link) -> RefusedError | None:
        """Why the link may not be, or None."""
        if link.address == _CBS:
            return None
        try:
            entity = self._namespace.entity(link.address.removesuffix(_MANAGEMENT))
            if link.address.endswith(_MANAGEMENT):
                entity.admit_to_manage()
            elif link.gives:
                entity.admit_receiver()
            else:
                entity.admit_sender()
        except RefusedError as refused:
            return refused
        link.entity = entity
        return None

    def _refuse(self, link: Link, refused: RefusedError) -> None:
        error = AMQPError(condition=refused.condition, description=str(refused), info=None)
        self._send("DetachFrame", link.channel, handle=link.handle, closed=True, error=error)
        self._links.pop((link.channel, link.handle), None)

    def _detached(self, channel: int, fields: list[Any]) -> None:
        if self._links.pop((channel, fields[0]), None):
            self._send("DetachFrame", channel, handle=fields[0], closed=fields[1])

    def _flow(self, link: Link) -> None:
        """Let the client send on."""
        self._send(
            "FlowFrame",
            link.channel,
            next_incoming_id=0,
            incoming_window=_WINDOW,
            next_outgoing_id=self._next_delivery,
            outgoing_window=_WINDOW,
            handle=link.handle,
            delivery_count=link.sent,
            link_credit=_CREDIT,
        )

    def _flowed(self, channel: int, fields: list[Any]) -> None:
        handle, count, credit = fields[4:7]
        link = self._links.get((channel, handle))
        if handle is None or link is None or not link.gives:
            return
        link.credit = (count or 0) + (credit or 0) - link.sent
        if link.entity and not link.address.endswith(_MANAGEMENT):
            self._give(link)

    # what the client sends

    def _transferred(self, channel: int, fields: list[Any]) -> None:
        handle, number, _, message_format, settled, more = fields[:6]
        link = self._links.get((channel, handle))
        if link is None:
            return  # sent before the client has read that the link was refused
        link.parts += fields[11]
        if more:
            return
        payload, link.parts = bytes(link.parts), bytearray()
        try:
            self._take(link, payload, message_format)
        except RefusedError as refused:
            self._refuse(link, refused)
            return
        link.sent += 1
        if not settled:
            self._send(
                "DispositionFrame",
                channel,
                role=_RECEIVER,
                first=number,
                last=number,
                settled=True,
                state=Accepted(),
            )
        self._flow(link)

    def _take(self, link: Link, payload: bytes, message_format: int | None) -> None:
        if link.address == _CBS:
            self._answer(link, *self._put_token(payload))
        elif link.entity and link.address.endswith(_MANAGEMENT):
            self._answer(link, *_managed(link.entity, payload))
        elif link.entity:
            link.entity.admit_sender()
            for rest, annotations in arrived(payload, message_format):
                link.entity.put(rest, annotations)
            messages.announce()

    def _put_token(self, payload: bytes) -> tuple[Any, dict[str | bytes, Any], Any]:
        request = sections(payload)
        try:
            self._namespace.put_token(_text(request.value), _text(request.application_properties[b"type"]))
        except RefusedError as refused:
            return request, {"status-code": 401, "status-description": str(refused)}, None
        return request, {"status-code": 202, "status-description": "Accepted"}, None

    def _answer(self, asked_on: Link, request: Any, properties: dict[str | bytes, Any], value: Any) -> None:
        pair = next(
            each
            for each in self._links.values()
            if each.gives and each.address == asked_on.address and each.channel == asked_on.channel
        )
        self._transfer(pair, reply(request, properties, value), settled=True)

    # what the client receives

    def _give(self, link: Link) -> None:
        if link.entity is None or link.address.endswith(_MANAGEMENT):
            return
        try:
            link.entity.admit_receiver()
        except RefusedError as refused:
            self._refuse(link, refused)
            return
        while link.credit > 0:
            message = link.entity.messages.lock_next(delete=link.settled)
            if message is None:
                return
            number = self._transfer(
                link, delivered(message), settled=link.settled, tag=message.lock_token.bytes_le
            )
            link.credit -= 1
            if not link.settled:
                self._unsettled[link.channel, number] = (link, message)

    def _transfer(self, link: Link, payload: bytes, *, settled: bool, tag: bytes | None = None) -> int:
        number = self._next_delivery
        self._next_delivery += 1
        room = self._frame_bytes - 256  # what the frame says about the message needs less
        pieces = [payload[at : at + room] for at in range(0, len(payload), room)]
        for index, piece in enumerate(pieces):
            self._send(
                "TransferFrame",
                link.channel,
                handle=link.handle,
                delivery_id=number,
                delivery_tag=tag or struct.pack(">I", number),
                message_format=0,
                settled=settled,
                more=index < len(pieces) - 1,
                payload=piece,
            )
        link.sent += 1
        return number

    def _disposed(self, channel: int, fields: list[Any]) -> None:
        role, first, last, _, state = fields[:5]
        if role is not _RECEIVER:
            return
        outcome, values = next(iter((state or {"accepted": []}).items()))
        for number in range(first, (first if last is None else last) + 1):
            link, message = self._unsettled.pop((channel, number), (None, None))
            if link is not None and link.entity is not None and message is not None:
                failed = outcome == "modified" and bool(values and values[0])
                link.entity.messages.settle(message, outcome, failed=failed)
        done = _OUTCOMES[outcome]
        self._send(
            "DispositionFrame", channel, role=_SENDER, first=first, last=last, settled=True, state=done
        )


def _managed(entity: Entity, payload: bytes) -> tuple[Any, dict[str | bytes, Any], Any]:
    """Answer an operation on the entity; only browsing is played."""
    request = sections(payload)
    operation = _text(request.application_properties[b"operation"])
    if operation != "com.microsoft:peek-message":
        return request, {"statusCode": 501, "statusDescription": f"{operation} is not played here"}, None
    try:
        entity.admit_to_manage()
    except RefusedError as refused:
        condition = refused.condition.decode()
        status: dict[str | bytes, Any] = {
            "statusCode": refused.status,
            "statusDescription": str(refused),
            "errorCondition": condition,
        }
        return request, status, None
    asked = {_text(key): value for key, value in request.value.items()}
    shown = entity.messages.peek(asked["from-sequence-number"], asked["message-count"])
    if not shown:
        return request, {"statusCode": 204, "statusDescription": "No Content"}, None
    listed = [{"message": delivered(each)} for each in shown]
    return request, {"statusCode": 200, "statusDescription": "OK"}, {"messages": listed}


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
