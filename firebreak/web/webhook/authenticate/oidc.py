"""A bearer token of an identity provider: Entra for Azure, Google for Pub/Sub, any OpenID provider."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import jwt
from jwt import PyJWK

from firebreak.model import JsonObject
from firebreak.web.webhook.authenticate.fetch import Fetch, FetchError
from firebreak.web.webhook.configuration import OidcMode
from firebreak.web.webhook.request import Caller, Received, UnauthenticatedError

LEEWAY_SECONDS = 60
COOLDOWN_SECONDS = 60.0
"""Between two reads of a key set: tokens with made-up key ids must not make us hammer the provider."""
REFRESH_SECONDS = 3600.0
"""A key that the provider withdrew is forgotten after that."""


class KeySet:
    """The signing keys of one issuer, read when a key is asked for that is not known."""

    def __init__(self, url: str, fetch: Fetch, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._fetch = fetch
        self._clock = clock
        self._keys: dict[str, PyJWK] = {}
        self._read_at = float("-inf")
        self._tried_at = float("-inf")

    async def key(self, key_id: str) -> PyJWK:
        """The key of that id; raises UnauthenticatedError when the issuer has none."""
        now = self._clock()
        outdated = key_id not in self._keys or now - self._read_at > REFRESH_SECONDS
        if outdated and now - self._tried_at > COOLDOWN_SECONDS:
            self._tried_at = now
            await self._read(now)
        if key_id not in self._keys:
            raise UnauthenticatedError("the token's key is not one of the issuer's")
        return self._keys[key_id]

    async def _read(self, now: float) -> None:
        try:
            self._keys = _parsed(await self._fetch(self._url))
        except FetchError as error:
            if not self._keys:
                raise UnauthenticatedError(f"the issuer's keys cannot be read: {error}") from error
            return  # the keys at hand serve until the issuer answers again
        self._read_at = now


class Oidc:
    """Pins issuer, audience, algorithms and the caller."""

    secret_headers = frozenset({"authorization"})

    def __init__(self, mode: OidcMode, fetch: Fetch) -> None:
        self._mode = mode
        self._keys = KeySet(mode.jwks_url, fetch)

    async def authenticate(self, request: Received) -> Caller:
        """The caller that the issuer names in a token for us."""
        scheme, _, token = request.header("authorization").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise UnauthenticatedError("there is no bearer token")
        key = await self._keys.key(_key_id(token, self._mode.algorithms))
        return self._caller(_claims(token.strip(), key, self._mode))

    def _caller(self, claims: JsonObject) -> Caller:
        who = claims.get(self._mode.caller_claim)
        if not isinstance(who, str) or who not in self._mode.callers:
            raise UnauthenticatedError(f"{self._mode.caller_claim} is not an allowed caller")
        if self._mode.caller_claim == "email" and claims.get("email_verified") is not True:
            raise UnauthenticatedError("the caller's address is not verified")
        return Caller(name=f"{self._mode.caller_claim} {who}")


def _key_id(token: str, algorithms: tuple[str, ...]) -> str:
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise UnauthenticatedError("the token cannot be read") from error
    key_id = header.get("kid")
    if header.get("alg") not in algorithms or not isinstance(key_id, str):
        raise UnauthenticatedError("the token's algorithm or key id is not acceptable")
    return key_id


def _claims(token: str, key: PyJWK, mode: OidcMode) -> JsonObject:
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=list(mode.algorithms),
            issuer=mode.issuer,
            audience=list(mode.audiences),
            leeway=LEEWAY_SECONDS,
            options={"require": ["exp", "iss", "aud"]},
        )
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise UnauthenticatedError(f"the token is not acceptable: {type(error).__name__}") from error
    return claims


def _parsed(raw: bytes) -> dict[str, PyJWK]:
    """Keys by id; symmetric ones and those of unknown kinds are left out."""
    try:
        listed = json.loads(raw)["keys"]
        usable = [each for each in listed if each.get("kid") and each.get("kty") in {"RSA", "EC", "OKP"}]
        return {str(each["kid"]): PyJWK(each) for each in usable}
    except (ValueError, KeyError, TypeError, AttributeError, jwt.PyJWTError) as error:
        raise FetchError(f"not a key set: {type(error).__name__}") from error
