"""Uvicorn under our settings: TLS, client certificates, and no header that says who the peer is."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from ipaddress import ip_address
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from firebreak.errors import SettingsError, UsageError
from firebreak.settings import WebSettings

CERTIFICATE = "firebreak.client_certificate"
"""The key of the ASGI scope under which a client's certificate is found, as DER."""
DRAINING_SECONDS = 10
"""Requests under way may end; longer than making one alert durable may take."""


Leaving = Callable[[], Coroutine[Any, Any, None]]
"""Ends answers that never end by themselves."""


async def _nothing_to_leave() -> None:
    """An application without such answers."""


class PeerCertificate(H11Protocol):
    """Puts the certificate of the TLS handshake into the scope, which uvicorn itself does not."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Read the certificate once per connection."""
        super().connection_made(transport)
        handshake: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        certificate = handshake.getpeercert(binary_form=True) if handshake else None
        if certificate:
            self.app = partial(_with_certificate, self.app, certificate)


class _Server(uvicorn.Server):
    """Ends with its work done; uvicorn itself raises the signal again, so that a stop looks like a crash."""

    def __init__(self, config: uvicorn.Config, leaving: Leaving) -> None:
        super().__init__(config)
        self._leaving = leaving
        self._left: asyncio.Task[None] | None = None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at the first SIGTERM or SIGINT."""
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, self._stop)
        yield

    def _stop(self) -> None:
        """Take nothing new, and end what would go on for as long as somebody looks."""
        self.should_exit = True
        self._left = asyncio.create_task(self._leaving())


async def _with_certificate(
    app: ASGIApp, certificate: bytes, scope: Scope, receive: Receive, send: Send
) -> None:
    await app({**scope, CERTIFICATE: certificate}, receive, send)


def check(settings: WebSettings, *, sources: int) -> None:
    """Refuse to listen where nobody could be told apart from an attacker; raises SettingsError."""
    if settings.embedded and not _is_loopback(settings.host):
        raise SettingsError(
            "FIREBREAK_WEB__EMBEDDED is for this machine only",
            resource=settings.host,
            remedy="set FIREBREAK_WEB__HOST to 127.0.0.1",
        )
    if not sources and not settings.embedded:
        raise SettingsError(
            "no source of alerts is configured",
            remedy="name a file in FIREBREAK_WEB__SOURCES (docs/webhooks.md)",
        )
    if bool(settings.tls_certificate) != bool(settings.tls_key):
        raise SettingsError("FIREBREAK_WEB__TLS_CERTIFICATE and FIREBREAK_WEB__TLS_KEY belong together")
    if settings.tls_client_ca and not settings.tls_certificate:
        raise SettingsError("FIREBREAK_WEB__TLS_CLIENT_CA needs FIREBREAK_WEB__TLS_CERTIFICATE")


def listening(settings: WebSettings) -> socket.socket:
    """A socket on the configured address; raises UsageError when it cannot be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}",
            remedy="set FIREBREAK_WEB__HOST and FIREBREAK_WEB__PORT",
        ) from error


async def serve(
    app: ASGIApp,
    settings: WebSettings,
    at: socket.socket,
    told: Callable[[str], None] = lambda _: None,
    leaving: Leaving = _nothing_to_leave,
) -> None:
    """Serve until SIGTERM or SIGINT; requests under way are answered first, after ``leaving``."""
    config = uvicorn.Config(
        app,
        http=PeerCertificate,
        proxy_headers=False,  # the peer is who holds the connection; a trusted ingress is told by its address
        server_header=False,
        access_log=False,  # URLs may hold tokens
        log_config=None,
        lifespan="on",
        timeout_graceful_shutdown=DRAINING_SECONDS,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
        ssl_ca_certs=str(settings.tls_client_ca) if settings.tls_client_ca else None,
        ssl_cert_reqs=ssl.CERT_OPTIONAL if settings.tls_client_ca else ssl.CERT_NONE,
    )
    told(url(settings, at))
    await _Server(config, leaving).serve(sockets=[at])


def url(settings: WebSettings, at: socket.socket) -> str:
    """Where a browser finds it."""
    host, port = at.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if settings.tls_certificate else 'http'}://{shown}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:  # a name, which may mean anything
        return host == "localhost"
