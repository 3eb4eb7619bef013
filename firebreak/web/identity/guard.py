"""Every request to the API and the console passes here: who is it, and did they mean it."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

from firebreak.errors import FirebreakError
from firebreak.policy.rules import Person
from firebreak.web.identity.bearer import Bearer
from firebreak.web.identity.sessions import Session, Sessions, is_own_form
from firebreak.web.webhook.request import UnauthenticatedError

CSRF_FIELD, CSRF_HEADER = "csrf", "x-csrf-token"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""RFC 9110, section 9.2.1; none of ours changes anything."""


class ForgedError(FirebreakError):
    """A form that was not made for this session."""


class TooManyAttemptsError(FirebreakError):
    """Somebody is guessing."""


@dataclass(frozen=True)
class Guard:
    """Tells who asks."""

    sessions: Sessions
    bearer: Bearer | None

    def session(self, request: Request) -> Session | None:
        """The session of a browser."""
        return self.sessions.read(request.cookies.get(self.sessions.cookie))

    async def caller(self, request: Request) -> Person:
        """The person of a bearer token or of a browser's session; raises UnauthenticatedError for neither.

        A token is never sent by a browser on its own, so that only sessions need the form's token.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if token:
            if scheme.lower() != "bearer" or self.bearer is None:
                raise UnauthenticatedError("only bearer tokens are taken here")
            return await self.bearer.person(token.strip())
        session = self.session(request)
        if session is None:
            raise UnauthenticatedError("nobody is logged in")
        if request.method not in SAFE:
            self.require_own_form(session, request.headers.get(CSRF_HEADER, ""))
        return session.person

    @staticmethod
    def require_own_form(session: Session, token: str) -> None:
        """Raise ForgedError unless the form was made for this session."""
        if not is_own_form(session, token):
            raise ForgedError("this form is not from your session", remedy="reload the page and try again")
