"""Logging in and out: by OpenID Connect, by a one-time link of an embedded stack, by the sealed account."""

from __future__ import annotations

import asyncio
import secrets
import warnings
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Annotated, Any

import structlog
from authlib.deprecate import AuthlibDeprecationWarning
from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from limits import parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from firebreak import start
from firebreak.errors import NotFoundError
from firebreak.logs import AUDIT
from firebreak.policy.rules import Person
from firebreak.settings import ConsoleSettings
from firebreak.web.identity import breakglass
from firebreak.web.identity.claims import person_of
from firebreak.web.identity.guard import Guard, TooManyAttemptsError
from firebreak.web.services import Services
from firebreak.web.webhook.request import UnauthenticatedError

with warnings.catch_warnings():
    # Authlib tells whoever imports it to install httpx2 beside httpx, which is its own choice of a client.
    warnings.filterwarnings("ignore", "The httpx module is deprecated", AuthlibDeprecationWarning)
    from authlib.integrations.base_client import OAuthError
    from authlib.integrations.starlette_client import OAuth

log = structlog.get_logger(AUDIT)

ATTEMPTS = parse("5/minute")
"""Of guessing the sealed password, from one address."""
EMBEDDED_ROLES = frozenset({"commander", "auditor"})
"""People of an embedded stack may do everything that two people may."""


@dataclass
class Door:
    """How people come in."""

    services: Services
    guard: Guard
    settings: ConsoleSettings
    oauth: OAuth | None
    unused: dict[str, str] = field(default_factory=dict)
    """One-time tokens by name, until they are used."""
    attempts: MovingWindowRateLimiter = field(
        default_factory=lambda: MovingWindowRateLimiter(MemoryStorage())
    )

    @classmethod
    def of(cls, services: Services, guard: Guard) -> Door:
        """The ways in that the settings open."""
        settings = services.settings.console
        embedded = services.settings.web.embedded
        tokens = {name: token.get_secret_value() for name, token in settings.one_time_logins.items()}
        return cls(services, guard, settings, _oauth(settings), tokens if embedded else {})

    def enter(self, person: Person, way: str) -> Response:
        """Log a person in and show the console."""
        log.info("person.entered", subject=person.subject, name=person.name, way=way)
        response = RedirectResponse("/", status_code=303)
        self.guard.sessions.begin(response, person)
        return response

    def used_once(self, name: str, token: str) -> Person:
        """The person of a link, which is worth nothing from now on."""
        expected = self.unused.get(name, "")
        if not expected or not compare_digest(expected.encode(), token.encode()):
            raise UnauthenticatedError("the link was used already, or never was one")
        del self.unused[name]
        return Person(subject=f"embedded-{name}", name=name, roles=EMBEDDED_ROLES)

    async def break_glass(self, password: str, address: str) -> Person:
        """The sealed account; every use, and every failure, is told to the on-call or logged."""
        stored = self.settings.break_glass_hash.get_secret_value()
        if not stored:
            raise NotFoundError("there is no sealed account here")
        if not await self.attempts.hit(ATTEMPTS, "break-glass", address):
            raise TooManyAttemptsError("too many attempts", remedy="wait a minute")
        if not await asyncio.to_thread(breakglass.matches, password, stored):
            log.warning("break_glass.refused", address=address)
            raise UnauthenticatedError("this is not the sealed password")
        log.critical("break_glass.used", address=address)
        await start.alarm(
            self.services.temporal,
            self.services.settings,
            reference=f"break-glass-{secrets.token_hex(6)}",
            kind="break_glass",
            message=f"the sealed account of the console was used from {address}",
        )
        return breakglass.ACCOUNT


def router(door: Door) -> APIRouter:
    """The routes of logging in and out; the page that offers them is the console's."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/login/oidc")
    async def to_provider(request: Request) -> Response:
        provider = _provider(door)
        answer: Response = await provider.authorize_redirect(request, _callback(door, request))
        return answer

    @routes.get("/login/callback")
    async def from_provider(request: Request) -> Response:
        provider = _provider(door)
        try:
            token = await provider.authorize_access_token(request)
        except OAuthError as error:
            raise UnauthenticatedError(f"the identity provider says: {error.error}") from error
        assert door.settings.oidc is not None  # noqa: S101 - without it there is no provider
        return door.enter(person_of(token.get("userinfo") or {}, door.settings.oidc), "oidc")

    @routes.get("/login/once")
    async def once(name: str, token: str) -> Response:
        return door.enter(door.used_once(name, token), "one-time link")

    @routes.post("/login/break-glass")
    async def sealed(request: Request, password: Annotated[str, Form(max_length=512)]) -> Response:
        address = request.client.host if request.client else ""
        return door.enter(await door.break_glass(password, address), "sealed account")

    @routes.post("/logout")
    async def logout(request: Request, csrf: Annotated[str, Form(max_length=128)]) -> Response:
        session = door.guard.session(request)
        if session is not None:
            door.guard.require_own_form(session, csrf)
            log.info("person.left", subject=session.person.subject)
        response = RedirectResponse("/login", status_code=303)
        door.guard.sessions.end(response)
        return response

    return routes


def _oauth(settings: ConsoleSettings) -> OAuth | None:
    if settings.oidc is None:
        return None
    oauth = OAuth()
    issuer = settings.oidc.issuer.rstrip("/")
    oauth.register(
        "people",
        server_metadata_url=f"{issuer}/.well-known/openid-configuration",
        client_id=settings.oidc.client_id,
        client_secret=settings.oidc.client_secret.get_secret_value() or None,
        # RFC 7636: a code that leaks is worth nothing without the verifier.
        client_kwargs={"scope": settings.oidc.scopes, "code_challenge_method": "S256"},
    )
    return oauth


def _provider(door: Door) -> Any:
    if door.oauth is None:
        raise NotFoundError(
            "no identity provider is configured", remedy="set FIREBREAK_CONSOLE__OIDC__ISSUER"
        )
    return door.oauth.people


def _callback(door: Door, request: Request) -> str:
    """Where the provider sends people back to; never made from a Host header where a URL is configured."""
    base = door.settings.public_url.rstrip("/") or str(request.base_url).rstrip("/")
    return f"{base}/login/callback"
