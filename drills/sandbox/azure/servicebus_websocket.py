"""Carry AMQP over WebSocket, for clients behind an HTTP proxy: RFC 6455 on the sandbox's own TLS listener.

Service Bus AMQP protocol guide: port 443, path ``/$servicebus/websocket``, subprotocol AMQPWSB10.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha1
from typing import Any, Final, cast

from drills.sandbox.azure import state
from drills.sandbox.azure.servicebus_amqp import Peer
from drills.sandbox.azure.servicebus_entities import find_namespace
from drills.sandbox.azure.servicebus_messages import messages

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_PATH: Final = "/$servicebus/websocket"
_SUBPROTOCOL: Final = "AMQPWSB10"
_SHORTEST_HEADER: Final = 2
"""Opcode and length (RFC 6455, section 5.2)."""
_BINARY, _CLOSE, _PING, _PONG = 0x2, 0x8, 0x9, 0xA
_SHORT, _MEDIUM = 126, 127


class Frames:
    """Cuts what a client sends into WebSocket frames (RFC 6455, section 5.2)."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield opcode and payload of each whole frame; fragments come as they are."""
        self._buffer += data
        while True:
            frame = self._next()
            if frame is None:
                return
            yield frame

    def _next(self) -> tuple[int, bytes] | None:
        if len(self._buffer) < _SHORTEST_HEADER:
            return None
        length, at = self._buffer[1] & 0x7F, _SHORTEST_HEADER
        extra = {_SHORT: 2, _MEDIUM: 8}.get(length, 0)
        if extra:
            length = int.from_bytes(self._buffer[2 : 2 + extra], "big")
        at += extra
        end = at + 4 + length
        if len(self._buffer) < end:
            return None
        mask, body = bytes(self._buffer[at : at + 4]), bytes(self._buffer[at + 4 : end])
        opcode = self._buffer[0] & 0x0F
        del self._buffer[:end]
        return opcode, _unmasked(body, mask)


def _unmasked(body: bytes, mask: bytes) -> bytes:
    if not body:
        return b""
    whole = mask * (len(body) // 4 + 1)
    number = int.from_bytes(body, "big") ^ int.from_bytes(whole[: len(body)], "big")
    return number.to_bytes(len(body), "big")


def frame(opcode: int, body: bytes) -> bytes:
    """One unmasked frame, as a server sends it."""
    size = len(body)
    if size < _SHORT:
        length = bytes([size])
    elif size < 1 << 16:
        length = bytes([_SHORT]) + size.to_bytes(2, "big")
    else:
        length = bytes([_MEDIUM]) + size.to_bytes(8, "big")
    return bytes([0x80 | opcode]) + length + body


class AmqpWebSocket(asyncio.Protocol):
    """One upgraded connection; uvicorn makes it where a request asks for a WebSocket."""

    def __init__(self, config: Any, server_state: Any, app_state: Any) -> None:
        self._connections: set[Any] = server_state.connections
        self._frames = Frames()
        self._head = b""
        self._peer: Peer | None = None
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = cast("asyncio.Transport", transport)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client; what it had locked stays locked until the locks run out."""
        with state.lock:
            messages.stop_listening(self)
        self._connections.discard(self)

    def shutdown(self) -> None:
        """Close at the end of the server."""
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Shake hands, then pass frames on."""
        if self._peer is None:
            self._head += data
            head, found, rest = self._head.partition(b"\r\n\r\n")
            if found:
                self._shake_hands(head.decode("latin-1"), rest)
            return
        for opcode, body in self._frames.feed(data):
            self._received(opcode, body)

    def _shake_hands(self, head: str, rest: bytes) -> None:
        request, *lines = head.split("\r\n")
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
        }
        with state.lock:
            namespace = find_namespace(headers.get("host", ""))
            messages.listen(self, self._wake)
        if request.split(" ")[1].rstrip("/") != _PATH or namespace is None:
            self._write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            self.shutdown()
            return
        accept = b64encode(sha1(headers["sec-websocket-key"].encode() + _GUID).digest())  # noqa: S324 - RFC 6455
        self._write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Protocol: "
            + _SUBPROTOCOL.encode()
            + b"\r\nSec-WebSocket-Accept: "
            + accept
            + b"\r\n\r\n"
        )
        self._peer = Peer(namespace, lambda data: self._write(frame(_BINARY, data)))
        if rest:
            self.data_received(rest)

    def _wake(self) -> None:
        """Look for messages on the connection's own thread; the sender may be on another."""
        if self._peer is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._peer.pump)

    def _received(self, opcode: int, body: bytes) -> None:
        if opcode == _CLOSE:
            self._write(frame(_CLOSE, body))
            self.shutdown()
        elif opcode == _PING:
            self._write(frame(_PONG, body))
        elif opcode != _PONG and self._peer is not None:
            self._peer.feed(body)

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
