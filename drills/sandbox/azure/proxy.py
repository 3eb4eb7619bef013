"""The way in: an HTTP CONNECT proxy that leads every played host to the sandbox's TLS server.

RFC 9110, section 9.3.6. A host the sandbox does not play is refused, so that nothing leaves the machine.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from drills.sandbox.azure import hosts

_CHUNK = 65536
_MAX_HEAD = 65536
_REFUSED = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Proxy:
    """Splice connections to the server; `cut` ends one as a lost network would."""

    def __init__(self, server_port: int) -> None:
        """Lead to the TLS server on this loopback port."""
        self._server_port = server_port
        self._clients: dict[int, asyncio.StreamWriter] = {}
        self.loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Lead one client."""
        # a client that is gone ends its connection, nothing else
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            if await self._admitted(reader, writer):
                await self._lead(reader, writer)
        writer.close()

    def cut(self, port: int) -> None:
        """Cut the connection that reached the server from this port; callable from any thread."""
        if self.loop is not None:
            self.loop.call_soon_threadsafe(self._cut, port)

    def _cut(self, port: int) -> None:
        writer = self._clients.get(port)
        if writer is not None:
            writer.transport.abort()

    async def _admitted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, target, *_ = head.split(" ", 2)
        hostname = target.rsplit(":", 1)[0]
        admitted = method == "CONNECT" and hosts.kind_of(hostname) is not None
        writer.write(_OPEN if admitted else _REFUSED)
        await writer.drain()
        return admitted

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        port = server_writer.get_extra_info("sockname")[1]
        self._clients[port] = writer
        try:
            await asyncio.gather(_pump(reader, server_writer), _pump(server_reader, writer))
        finally:
            del self._clients[port]
            server_writer.close()


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(_CHUNK):
            target.write(data)
            await target.drain()
    finally:
        # half-closed connections serve nobody here: TLS and HTTP/1.1 need both directions
        target.close()


async def start(server_port: int, entrance: socket.socket) -> tuple[Proxy, asyncio.Server]:
    """Listen on a bound socket."""
    proxy = Proxy(server_port)
    proxy.loop = asyncio.get_running_loop()
    listener = await asyncio.start_server(proxy.serve, sock=entrance, limit=_MAX_HEAD)
    return proxy, listener
