"""A header with an HMAC-SHA256 of the raw body: PagerDuty, Splunk Observability, and others like them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

from pydantic import SecretStr

from firebreak.web.webhook.configuration import HmacMode
from firebreak.web.webhook.replay import within
from firebreak.web.webhook.request import Caller, Received, UnauthenticatedError

MAX_SIGNATURES = 10
"""A sender that rotates sends two."""


class HmacSignature:
    """Verifies each signature of the header with each active secret."""

    secret_headers: frozenset[str] = frozenset()

    def __init__(self, mode: HmacMode, secrets: Mapping[str, SecretStr]) -> None:
        self._mode = mode
        self._keys = {name: secret.get_secret_value().encode() for name, secret in secrets.items()}

    async def authenticate(self, request: Received) -> Caller:
        """The key that signed this body; with a time header, that time and this body."""
        given = self._signatures(request.header(self._mode.header))
        message = self._message(request)
        good = [name for name, key in self._keys.items() if _made(key, message, given)]
        if not good:
            raise UnauthenticatedError("no active secret made this signature")
        return Caller(name=f"key {good[0]}", replayable=not self._mode.timestamp_header)

    def _message(self, request: Received) -> bytes:
        if not self._mode.timestamp_header:
            return request.body
        signed_at = request.header(self._mode.timestamp_header)
        within(signed_at, request.received_at)
        return f"{signed_at}.".encode() + request.body

    def _signatures(self, header: str) -> list[bytes]:
        parts = [part.strip() for part in header.split(",")][:MAX_SIGNATURES]
        wanted = [
            part.removeprefix(self._mode.prefix) for part in parts if part.startswith(self._mode.prefix)
        ]
        return [raw for raw in map(self._decoded, wanted) if raw]

    def _decoded(self, signature: str) -> bytes:
        try:
            if self._mode.encoding == "hex":
                return bytes.fromhex(signature)
            return base64.b64decode(signature, validate=True)
        except (ValueError, binascii.Error):  # no signature, so it matches none
            return b""


def _made(key: bytes, message: bytes, given: list[bytes]) -> bool:
    expected = hmac.digest(key, message, hashlib.sha256)
    return any(hmac.compare_digest(expected, each) for each in given)
