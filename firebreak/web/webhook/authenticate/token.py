"""A static token in a header or in the URL: weak, since whoever sees one request can make others."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from pydantic import SecretStr

from firebreak.web.webhook.configuration import TokenMode
from firebreak.web.webhook.request import Caller, Received, UnauthenticatedError


class StaticToken:
    """Compares digests, so that neither length nor content shows in the time it takes."""

    def __init__(self, mode: TokenMode, secrets: Mapping[str, SecretStr]) -> None:
        self._mode = mode
        self._digests = {name: _digest(each.get_secret_value()) for name, each in secrets.items()}
        self.secret_headers = frozenset({mode.header.lower()} if mode.header else ())

    async def authenticate(self, request: Received) -> Caller:
        """The name of the token that came with the request; always weak."""
        given = _digest(self._given(request))
        good = [name for name, digest in self._digests.items() if hmac.compare_digest(digest, given)]
        if not good:
            raise UnauthenticatedError("the token is not an active one")
        return Caller(name=f"token {good[0]}", weak=True)

    def _given(self, request: Received) -> str:
        if self._mode.query:
            return request.query.get(self._mode.query, "")
        return request.header(self._mode.header).removeprefix("Bearer ").strip()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
