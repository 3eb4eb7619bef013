"""Access tokens for places that take no static one: asked for with each comment, and kept nowhere."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import httpx
import jwt

from firebreak.errors import CommentRefusedError, SettingsError
from firebreak.notify.comments.place import Sending

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
"""RFC 7523, section 2.1."""
LIFETIME_SECONDS = 600
"""Of an assertion; Google takes at most an hour ("Using OAuth 2.0 for Server to Server Applications")."""


@dataclass(frozen=True)
class ServiceAccount:
    """Who signs assertions; the address of the token endpoint in the key file counts for nothing."""

    email: str
    key_id: str
    private_key: str

    @classmethod
    def read(cls, text: str, setting: str) -> ServiceAccount:
        """A key file's content; raises SettingsError, without showing any of it, where it cannot sign."""
        wrong = SettingsError(
            f"{setting} is no key of a service account", remedy="use the JSON of the key file"
        )
        try:
            found = json.loads(text)
            account = cls(found["client_email"], found["private_key_id"], found["private_key"])
            account.assertion("https://localhost", "")
        except (ValueError, KeyError, TypeError, jwt.PyJWTError) as error:
            raise wrong from error
        return account

    def assertion(self, audience: str, scope: str) -> str:
        """A signed claim of who we are (RFC 7523), for this audience only."""
        now = int(time.time())
        claims = {
            "iss": self.email,
            "scope": scope,
            "aud": audience,
            "iat": now,
            "exp": now + LIFETIME_SECONDS,
        }
        return jwt.encode(claims, self.private_key, algorithm="RS256", headers={"kid": self.key_id})


async def bearer(send: Sending, name: str, url: str, form: dict[str, str]) -> dict[str, str]:
    """The authorization header for a token that this form gets (RFC 6749, section 5.1)."""
    return {"authorization": f"Bearer {_token(await send('POST', url, data=form), name)}"}


def _token(answer: httpx.Response, name: str) -> str:
    try:
        document: Any = answer.json()
        token = document["access_token"]
    except (ValueError, KeyError, TypeError) as error:
        raise CommentRefusedError(f"{name}: the token endpoint sent no token") from error
    if not (isinstance(token, str) and token.isascii() and token.isprintable()):
        raise CommentRefusedError(f"{name}: the token endpoint sent no usable token")
    return token
