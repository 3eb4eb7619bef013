"""Launch the Azure sandbox: one process with the proxy, the played hosts behind TLS and the control API."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import signal
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

import click
import uvicorn
from anyio import CapacityLimiter, to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from drills.sandbox.azure import control, hosts, modules, proxy, tokens
from drills.sandbox.azure.authority import Authority
from drills.sandbox.azure.call import Answer, Call
from drills.sandbox.azure.errors import DroppedError
from drills.sandbox.azure.gateway import serve
from drills.sandbox.azure.servicebus_websocket import AmqpWebSocket

# Handlers wait only for injected latency; beyond this many waiting calls a client queues.
_THREADS = 64
_KEEP_ALIVE_SECONDS = 75
LOOPBACK = "127.0.0.1"


class Hosts:
    """The played hosts as an ASGI application."""

    def __init__(self) -> None:
        """Start without a proxy; the launcher gives it once there is one."""
        self.proxy: proxy.Proxy | None = None
        self._limiter: CapacityLimiter | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or cut its connection."""
        request = Request(scope, receive)
        try:
            call = _call(request, await request.body())
        except ClientDisconnect:
            return
        self._limiter = self._limiter or CapacityLimiter(_THREADS)
        try:
            answer = await to_thread.run_sync(serve, call, limiter=self._limiter)
        except DroppedError:
            self._cut(request)
            return
        await _response(answer, call)(scope, receive, send)

    def _cut(self, request: Request) -> None:
        if self.proxy is not None and request.client is not None:
            self.proxy.cut(request.client.port)


async def control_api(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one control request."""
    request = Request(scope, receive)
    body, path, query = await request.body(), request.url.path, request.url.query
    status, document = await to_thread.run_sync(control.serve, request.method, path, query, body)
    await _json(status, document)(scope, receive, send)


def _call(request: Request, body: bytes) -> Call:
    hostname = request.headers.get("host", "").rsplit(":", 1)[0].lower()
    raw = request.scope.get("raw_path") or request.scope["path"].encode()
    return Call(
        host=hosts.kind_of(hostname) or "unknown",
        hostname=hostname,
        method=request.method,
        path=unquote(raw.decode("ascii")),
        query=dict(request.query_params),
        headers={name.lower(): value for name, value in request.headers.items()},
        raw=body,
    )


def _json(status: int, document: Any) -> Response:
    return Response(json.dumps(document), status, media_type="application/json")


def _response(answer: Answer, call: Call) -> Response:
    body = answer.body
    structured = isinstance(body, dict | list)
    response = _json(answer.status, body) if structured else Response(cast("bytes", body), answer.status)
    for name, value in answer.headers.items():
        response.headers[name] = value
    if call.method == "HEAD" or answer.status in {204, 304}:
        response.body = b""
    return response


@dataclass(frozen=True)
class Doors:
    """Where the proxy and the control API listen; port 0 takes a free one."""

    host: str = LOOPBACK
    control_port: int = 0
    proxy_port: int = 0


def _listener(host: str = LOOPBACK, port: int = 0) -> socket.socket:
    # The protocol is named, or asyncio leaves Nagle's algorithm on: 40 ms for each answer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    return listener


def _server(application: Any, **more: Any) -> uvicorn.Server:
    config = uvicorn.Config(
        application,
        lifespan="off",
        log_level="warning",
        access_log=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        server_header=False,
        **more,
    )
    config.load()
    return uvicorn.Server(config)


async def run(ready_file: Path | None, ca_file: Path, doors: Doors) -> None:
    """Serve until a signal asks to stop."""
    application, authority = Hosts(), Authority()
    authority.write_certificate(ca_file)
    tokens.entra_key()  # made before the first caller waits for it
    played, steering = _listener(), _listener(doors.host, doors.control_port)
    tls = _server(application, ws=AmqpWebSocket)
    tls.config.ssl = authority.server_context()
    plain = _server(control_api, ws="none")
    entrance = _listener(doors.host, doors.proxy_port)
    application.proxy, doorway = await proxy.start(played.getsockname()[1], entrance)
    _stop_on_signal(tls, plain)
    ports = {
        "url": f"http://127.0.0.1:{steering.getsockname()[1]}",
        "proxy": f"http://127.0.0.1:{doorway.sockets[0].getsockname()[1]}",
        "ca_file": str(ca_file),
    }
    serving = asyncio.gather(tls._serve([played]), plain._serve([steering]))
    await _started(tls, plain)
    gc.freeze()  # what is loaded stays: the collector need not walk through it again and again
    _announce(ports, ready_file)
    await serving
    doorway.close()


async def _started(*servers: uvicorn.Server) -> None:
    # uvicorn has a flag and no event for it
    while not all(server.started for server in servers):  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def _stop_on_signal(*servers: uvicorn.Server) -> None:
    def stop() -> None:
        for server in servers:
            server.should_exit = True
            server.force_exit = True

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop)
    loop.add_signal_handler(signal.SIGINT, stop)


def _announce(ports: dict[str, str], ready_file: Path | None) -> None:
    if ready_file is None:
        click.echo(json.dumps(ports))
        return
    partial = ready_file.with_suffix(".partial")
    partial.write_text(json.dumps(ports), encoding="utf-8")
    partial.replace(ready_file)


@click.command()
@click.option(
    "--ca-file",
    type=click.Path(path_type=Path),
    required=True,
    help="Write the certificate clients must trust here.",
)
@click.option(
    "--ready-file", type=click.Path(path_type=Path), help="Write the addresses here once the sandbox serves."
)
@click.option("--host", default=LOOPBACK, help="Address of the proxy and the control API.")
@click.option("--port", default=0, help="Port of the control API.")
@click.option("--proxy-port", default=0, help="Port of the proxy.")
def main(ca_file: Path, ready_file: Path | None, host: str, port: int, proxy_port: int) -> None:
    """Serve the Azure sandbox until it is told to stop."""
    logging.basicConfig(level=logging.WARNING)
    modules.load()
    asyncio.run(run(ready_file, ca_file.resolve(), Doors(host, port, proxy_port)))


if __name__ == "__main__":
    main()
