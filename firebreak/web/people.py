"""People and programs: identity, rules, operations, the API over them, and the console."""

from __future__ import annotations

import secrets

from fastapi import FastAPI
from starlette.middleware.sessions import SessionMiddleware

from firebreak.errors import SettingsError
from firebreak.policy.rules import Rules
from firebreak.web.api import answers
from firebreak.web.api.routes import router as api
from firebreak.web.console import mount as console
from firebreak.web.identity.bearer import Bearer
from firebreak.web.identity.guard import Guard
from firebreak.web.identity.login import Door
from firebreak.web.identity.login import router as login
from firebreak.web.identity.sessions import Sessions
from firebreak.web.operations import Operations
from firebreak.web.services import Services
from firebreak.web.webhook.authenticate.fetch import Fetch

LOGIN_SECONDS = 600
"""How long somebody may take at the identity provider."""


def install(app: FastAPI, services: Services, read_keys: Fetch) -> None:
    """Add login, the API and the console; raises SettingsError for rules or keys that cannot be used."""
    settings = services.settings.console
    if settings.one_time_logins and not services.settings.web.embedded:
        raise SettingsError(
            "FIREBREAK_CONSOLE__ONE_TIME_LOGINS is for an embedded stack only", remedy="configure OIDC"
        )
    secure = settings.public_url.startswith("https://") or services.settings.web.tls_certificate is not None
    sessions = Sessions.open(settings, secure=secure)
    guard = Guard(sessions, Bearer(settings.oidc, read_keys) if settings.oidc else None)
    app.state.guard = guard
    app.state.operations = Operations(services, Rules.load(settings.policy_file))
    app.state.door = Door.of(services, guard)
    app.add_middleware(
        SessionMiddleware,  # holds the state of a login that is under way, and nothing else
        secret_key=secrets.token_urlsafe(32),
        session_cookie="firebreak-login",
        max_age=LOGIN_SECONDS,
        same_site="lax",
        https_only=secure,
    )
    answers.install(app)
    app.include_router(login(app.state.door))
    app.include_router(api)
    console.install(app, services, app.state.operations, app.state.door)
