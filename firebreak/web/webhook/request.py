"""One HTTP request as authentication and evidence need it: raw bytes, headers, peer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from firebreak.errors import FirebreakError


class UnauthenticatedError(FirebreakError):
    """The request does not prove who sent it. The text is for our log; every caller gets the same 401."""


@dataclass(frozen=True)
class Received:
    """What came in."""

    body: bytes
    headers: tuple[tuple[str, str], ...]
    """Names in lower case, in the order received."""
    query: Mapping[str, str]
    peer: str
    """Address of the other end of the connection; never what a header says."""
    certificate: bytes | None
    """DER of the client's certificate, where this process did the handshake."""
    received_at: datetime

    def header(self, name: str) -> str:
        """The one value of a header; UnauthenticatedError when it comes twice, empty when it is missing."""
        values = [value for each, value in self.headers if each == name.lower()]
        if len(values) > 1:
            raise UnauthenticatedError(f"the header {name} is given {len(values)} times")
        return values[0] if values else ""


@dataclass(frozen=True)
class Caller:
    """Who sent a request, as far as it was proved."""

    name: str
    """The key or subject, never a secret."""
    weak: bool = False
    """Proved by a secret that travels with every request: a person has to confirm what it asks for."""
    replayable: bool = False
    """The signature covers no time and is bound to no session: the body itself has to say when."""


class Authenticator(Protocol):
    """One way of proving who sent a request."""

    secret_headers: frozenset[str]
    """Headers that hold a secret; they never become evidence."""

    async def authenticate(self, request: Received) -> Caller:
        """Who sent it; raises UnauthenticatedError, and nothing else, for whatever is wrong."""
        ...
