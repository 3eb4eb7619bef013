"""The external identity providers that federated credentials trust: they sign for any subject, on request.

Source: "Workload identity federation": the token service accepts an assertion whose issuer, subject and
audience match one federated credential, case-sensitively since 2025 ("What's new for authentication?").
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import jwt

from drills.sandbox.azure import clock
from drills.sandbox.azure.control import ControlRequest, route
from drills.sandbox.azure.tokens import SigningKey

JsonObject = dict[str, Any]
AUDIENCE = "api://AzureADTokenExchange"
_LIFETIME_SECONDS = 3600.0
_HINT = "https://learn.microsoft.com/entra/workload-id/workload-identity-federation"


class FederationError(Exception):
    """An assertion is not accepted: the AADSTS number, the OAuth error and the reason."""

    def __init__(self, number: int, error: str, message: str) -> None:
        """Say why."""
        super().__init__(message)
        self.number = number
        self.error = error
        self.message = message


@lru_cache(1)
def _provider_key() -> SigningKey:
    return SigningKey()


@route("POST", "/federation/assertion")
def sign(request: ControlRequest) -> dict[str, Any]:
    """Sign an assertion as the named issuer would for its workload."""
    now = clock.seconds()
    lifetime = float(request.body.get("lifetime_seconds", _LIFETIME_SECONDS))
    claims = {
        "iss": request.text("issuer"),
        "sub": request.text("subject"),
        "aud": request.text("audience", AUDIENCE),
        "iat": int(now),
        "nbf": int(now),
        "exp": int(now + lifetime),
        "jti": str(uuid.uuid4()),
    }
    return {"assertion": _provider_key().sign(claims)}


def verify(assertion: str, credentials: Iterable[JsonObject]) -> None:
    """Accept an assertion that one of these federated credentials trusts, or say why not."""
    claims = _claims(assertion)
    trusted = list(credentials)
    issuer, subject, audience = str(claims.get("iss")), str(claims.get("sub")), _audience(claims)
    if not trusted:
        raise FederationError(
            70021,
            "invalid_request",
            "No matching federated identity record found for presented assertion. Assertion Issuer: "
            f"'{issuer}'. Assertion Subject: '{subject}'. Assertion Audience: '{audience}'. {_HINT}",
        )
    of_issuer = [one for one in trusted if one["issuer"] == issuer]
    if not of_issuer:
        raise _mismatch(700211, "issuer", issuer)
    of_subject = [one for one in of_issuer if one["subject"] == subject]
    if not of_subject:
        raise _mismatch(700213, "subject", subject)
    if not any(audience in one["audiences"] for one in of_subject):
        raise _mismatch(700212, "audience", audience)


def _mismatch(number: int, what: str, value: str) -> FederationError:
    message = (
        f"No matching federated identity record found for presented assertion {what} '{value}'. Check your "
        f"federated identity credential Subject, Audience and Issuer against the presented assertion. {_HINT}"
    )
    return FederationError(number, "invalid_client", message)


def _audience(claims: JsonObject) -> str:
    audience = claims.get("aud", "")
    return str(audience[0] if isinstance(audience, list) and audience else audience)


def _claims(assertion: str) -> JsonObject:
    options: Any = {"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False}
    key = _provider_key().private.public_key()
    try:
        claims: JsonObject = jwt.decode(assertion, key, ["RS256"], options=options)
    except jwt.InvalidTokenError as error:
        message = "Assertion failed signature validation."
        raise FederationError(50013, "invalid_grant", message) from error
    if claims.get("exp", 0) <= clock.seconds():
        message = "Client assertion is not within its valid time range."
        raise FederationError(700024, "invalid_client", message)
    return claims
