"""Bearer tokens of programs: issuer, audience, algorithm and time are checked, keys come from the issuer."""

from __future__ import annotations

import json
from typing import Any

import jwt

from firebreak.policy.rules import Person
from firebreak.settings import OidcSettings
from firebreak.web.identity.claims import ClaimsError, person_of
from firebreak.web.webhook.authenticate.fetch import Fetch, FetchError
from firebreak.web.webhook.authenticate.oidc import LEEWAY_SECONDS, KeySet
from firebreak.web.webhook.request import UnauthenticatedError

ALGORITHMS = ("RS256", "ES256", "PS256", "EdDSA")
"""Asymmetric ones only: nobody but the issuer can sign (RFC 8725, section 3.1)."""


class Bearer:
    """Reads tokens for the API."""

    def __init__(self, settings: OidcSettings, fetch: Fetch) -> None:
        self._settings = settings
        self._fetch = fetch
        self._keys: KeySet | None = None

    async def person(self, token: str) -> Person:
        """The person or program of a token; raises UnauthenticatedError for anything that is not ours."""
        try:
            header = jwt.get_unverified_header(token)
            keys = await self._key_set()
            key = await keys.key(str(header.get("kid", "")))
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                issuer=self._settings.issuer,
                audience=self._settings.api_audience or self._settings.client_id,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
            return person_of(claims, self._settings)
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError, ClaimsError) as error:
            raise UnauthenticatedError(f"the token is not acceptable: {type(error).__name__}") from error

    async def _key_set(self) -> KeySet:
        """Where the issuer publishes its keys (OpenID Connect Discovery 1.0, section 4)."""
        if self._keys is None:
            url = f"{self._settings.issuer.rstrip('/')}/.well-known/openid-configuration"
            try:
                document = json.loads(await self._fetch(url))
                self._keys = KeySet(str(document["jwks_uri"]), self._fetch)
            except (FetchError, ValueError, KeyError, TypeError) as error:
                raise UnauthenticatedError("the issuer cannot be asked") from error
        return self._keys
