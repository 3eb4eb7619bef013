"""Read and write AMQP 1.0 frames and messages with the codec that azure-servicebus ships.

Only frames and sections are known here, no behaviour (OASIS AMQP 1.0, part 2 "Transport", part 3
"Messaging").
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final

from azure.servicebus._pyamqp import performatives
from azure.servicebus._pyamqp._decode import _DECODE_BY_CONSTRUCTOR, decode_frame, decode_payload
from azure.servicebus._pyamqp._encode import encode_frame, encode_payload
from azure.servicebus._pyamqp.message import Header, Properties
from azure.servicebus._pyamqp.message import Message as Sections
from azure.servicebus._pyamqp.types import AMQPTypes

from drills.sandbox.azure.clock import seconds
from drills.sandbox.azure.servicebus_messages import Message

HEADER: Final = b"AMQP\x00\x01\x00\x00"
SASL_HEADER: Final = b"AMQP\x03\x01\x00\x00"
SASL_FRAME: Final = b"\x01"
_AMQP_FRAME: Final = b"\x00"
_BATCH: Final = 0x80013700
_HEADER_BYTES: Final = 8
"""Of a protocol header, and of a frame's own (AMQP 1.0, 2.2 and 2.3)."""
"""Message format of several messages in one transfer (Service Bus AMQP protocol guide)."""
_HEADER, _DELIVERY, _ANNOTATIONS = 0x70, 0x71, 0x72

Frame = tuple[int, int, list[Any]]
"""Channel, performative code, fields."""


def encoded(kind: str, channel: int = 0, *, sasl: bool = False, **fields: Any) -> bytes:
    """One frame; fields that are not given are null."""
    performative: Any = getattr(performatives, kind)
    values = dict.fromkeys(performative._fields) | fields
    header, body = encode_frame(performative(**values), frame_type=SASL_FRAME if sasl else _AMQP_FRAME)
    return bytes(header) + struct.pack(">H", channel) + bytes(body or b"")


class Incoming:
    """Cuts what arrives into protocol headers and frames."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes | Frame]:
        """Yield each whole header (as bytes) and frame; empty frames, which keep alive, are left out."""
        self._buffer += data
        while len(self._buffer) >= _HEADER_BYTES:
            if self._buffer[:4] == b"AMQP":
                yield self._take(_HEADER_BYTES)
                continue
            size = int.from_bytes(self._buffer[:4], "big")
            if len(self._buffer) < size:
                return
            frame = self._take(size)
            body = memoryview(frame)[frame[4] * 4 :]
            if body:
                code, fields = decode_frame(body)
                yield int.from_bytes(frame[6:8], "big"), code, fields

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken


def sections(payload: bytes) -> Any:
    """The decoded message of a request."""
    return decode_payload(memoryview(payload))


def arrived(payload: bytes, message_format: int | None) -> list[tuple[bytes, dict[str | bytes, Any]]]:
    """The messages of one transfer: what follows the annotations, untouched, and the annotations."""
    if message_format == _BATCH:
        return [_split(bytes(each)) for each in sections(payload).data]
    return [_split(payload)]


def _split(payload: bytes) -> tuple[bytes, dict[str | bytes, Any]]:
    rest, annotations = memoryview(payload), {}
    while rest and rest[2] in {_HEADER, _DELIVERY, _ANNOTATIONS}:
        kind = rest[2]
        rest, value = _DECODE_BY_CONSTRUCTOR[rest[3]](rest[4:])
        if kind == _ANNOTATIONS:
            annotations = value
    return bytes(rest), annotations


def delivered(message: Message) -> bytes:
    """A message as a receiver gets it: the service's header and annotations before the sender's sections."""
    annotations: dict[str | bytes, Any] = {
        **message.annotations,
        b"x-opt-sequence-number": {"TYPE": AMQPTypes.long, "VALUE": message.sequence_number},
        b"x-opt-enqueued-time": {"TYPE": AMQPTypes.timestamp, "VALUE": int(message.enqueued_at * 1000)},
    }
    if message.locked(seconds()):
        until = int(message.locked_until * 1000)
        annotations[b"x-opt-locked-until"] = {"TYPE": AMQPTypes.timestamp, "VALUE": until}
    head = Header(delivery_count=message.delivery_count)
    front = bytearray()
    encode_payload(front, Sections(header=head, message_annotations=annotations))
    return bytes(front) + message.payload


def reply(request: Any, properties: dict[str | bytes, Any], value: Any = None) -> bytes:
    """The answer to a request on a request-response link pair."""
    asked = request.properties
    output = bytearray()
    encode_payload(
        output,
        Sections(
            properties=Properties(correlation_id=asked.message_id, to=asked.reply_to),
            application_properties=properties,
            value=value,
        ),
    )
    return bytes(output)
