"""Standard Webhooks: HMAC over id, time and body (https://github.com/standard-webhooks/standard-webhooks)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from pydantic import SecretStr
from standardwebhooks import Webhook

from firebreak.errors import SettingsError
from firebreak.web.webhook.configuration import MIN_SECRET_BYTES
from firebreak.web.webhook.replay import within
from firebreak.web.webhook.request import Caller, Received, UnauthenticatedError

HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")


class StandardWebhooks:
    """Verifies with each active secret, so that one can be replaced without a gap."""

    secret_headers: frozenset[str] = frozenset()

    def __init__(self, secrets: Mapping[str, SecretStr]) -> None:
        self._keys = {name: Webhook(_key(name, secret)) for name, secret in secrets.items()}

    async def authenticate(self, request: Received) -> Caller:
        """The key that signed this id, time and body within the last five minutes."""
        headers = {name: request.header(name) for name in HEADERS}
        if not all(headers.values()):
            raise UnauthenticatedError("a header of Standard Webhooks is missing")
        within(headers["webhook-timestamp"], request.received_at)
        good = [name for name, key in self._keys.items() if _signed(key, request.body, headers)]
        if not good:
            raise UnauthenticatedError("no active secret made this signature")
        return Caller(name=f"key {good[0]}")


def _key(name: str, secret: SecretStr) -> bytes:
    """The bytes of a secret; the library itself would take text that is not base64 for a short key."""
    try:
        key = base64.b64decode(secret.get_secret_value().removeprefix("whsec_"), validate=True)
    except binascii.Error:
        key = b""
    if len(key) < MIN_SECRET_BYTES:
        raise SettingsError(
            f"the secret {name} is not {MIN_SECRET_BYTES} bytes or more in base64",
            remedy="make one with: openssl rand -base64 32",
        )
    return key


def _signed(key: Webhook, body: bytes, headers: dict[str, str]) -> bool:
    try:
        key.verify(body, headers, json_parse=False)
    except Exception:  # noqa: BLE001 - hostile input makes the library raise ValueError, binascii.Error, ...
        return False
    return True
