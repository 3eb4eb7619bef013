"""Sessions in a signed cookie, and the token that ties a form to its session.

OWASP Session Management and Cross-Site Request Forgery Prevention cheat sheets.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta
from hmac import compare_digest

from itsdangerous import BadData, URLSafeTimedSerializer
from pydantic import ValidationError
from starlette.responses import Response

from firebreak.errors import SettingsError
from firebreak.model import FrozenModel
from firebreak.policy.rules import Person
from firebreak.settings import ConsoleSettings

MIN_KEY = 32
"""Characters of a key: as many bits as the hash that it feeds."""


class Session(FrozenModel):
    """A person who has logged in, with the secret that their forms carry."""

    person: Person
    csrf: str


@dataclass(frozen=True)
class Sessions:
    """Issues and reads session cookies."""

    serializer: URLSafeTimedSerializer
    lifetime: timedelta
    secure: bool

    @classmethod
    def open(cls, settings: ConsoleSettings, *, secure: bool) -> Sessions:
        """Sign with the key of the settings, or with a new one; raises SettingsError for a short one."""
        key = settings.session_key.get_secret_value() or secrets.token_urlsafe(MIN_KEY)
        if len(key) < MIN_KEY:
            raise SettingsError(
                "FIREBREAK_CONSOLE__SESSION_KEY is too short", remedy=f"use at least {MIN_KEY} characters"
            )
        serializer = URLSafeTimedSerializer(key, salt="firebreak session 1")
        return cls(serializer, timedelta(hours=settings.session_hours), secure)

    @property
    def cookie(self) -> str:
        """With ``__Host-`` a browser takes it from this host over TLS only (RFC 6265bis, section 4.1.3.2)."""
        return "__Host-firebreak" if self.secure else "firebreak-session"

    def begin(self, response: Response, person: Person) -> None:
        """Log a person in."""
        session = Session(person=person, csrf=secrets.token_urlsafe(24))
        response.set_cookie(
            self.cookie,
            self.serializer.dumps(session.model_dump(mode="json")),
            max_age=int(self.lifetime.total_seconds()),
            httponly=True,
            secure=self.secure,
            samesite="lax",
            path="/",
        )

    def end(self, response: Response) -> None:
        """Log out."""
        response.delete_cookie(self.cookie, path="/", secure=self.secure, httponly=True, samesite="lax")

    def read(self, cookie: str | None) -> Session | None:
        """The session of a cookie; None for none, an old one or one that we did not issue."""
        if not cookie:
            return None
        try:
            return Session.model_validate(
                self.serializer.loads(cookie, max_age=int(self.lifetime.total_seconds()))
            )
        except (BadData, ValidationError):
            return None


def is_own_form(session: Session, token: str) -> bool:
    """Whether a form was made for this session."""
    return compare_digest(session.csrf.encode(), token.encode())
