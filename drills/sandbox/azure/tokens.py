"""Sign access tokens, and tell whose a presented one is.

A token is judged by its signature, audience and end alone: it outlives the identity it was issued to, as for
ARM and storage, which do not take part in continuous access evaluation for workload identities
("Continuous access evaluation for workload identities"). Claims: "Access token claims reference".
"""

from __future__ import annotations

import hashlib
import uuid
from functools import lru_cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from jwt.algorithms import RSAAlgorithm

from drills.sandbox.azure import clock, hosts
from drills.sandbox.azure.call import Call, Principal
from drills.sandbox.azure.directory import DirectoryObject
from drills.sandbox.azure.errors import ArmError
from drills.sandbox.azure.state import on_reset

JsonObject = dict[str, Any]
_CERTAIN_BITS = 2048


class SigningKey:
    """An RSA key with the name under which it is published."""

    def __init__(self) -> None:
        """Make a new key."""
        self.private: RSAPrivateKey = generate_private_key(65537, _CERTAIN_BITS)
        numbers = str(self.private.public_key().public_numbers().n)
        self.name = hashlib.sha256(numbers.encode()).hexdigest()[:27]

    def sign(self, claims: JsonObject) -> str:
        """Return a signed token with these claims."""
        return jwt.encode(claims, self.private, "RS256", headers={"kid": self.name})

    def jwk(self) -> JsonObject:
        """Return the public key as a JSON Web Key."""
        key: JsonObject = RSAAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        return {**key, "kid": self.name, "use": "sig"}


issued: list[str] = []
"""Every token that was issued, for whoever looks for one where none may be."""
on_reset(issued.clear)


@lru_cache(1)
def entra_key() -> SigningKey:
    """Return the key of the token service."""
    return SigningKey()


def issue(principal: DirectoryObject, audience: str, lifetime: float, *, roles: tuple[str, ...] = ()) -> str:
    """Return an access token of a service principal for an audience."""
    now = clock.seconds()
    claims = {
        "aud": audience,
        "iss": f"https://sts.windows.net/{principal.tenant_id}/",
        "iat": int(now),
        "nbf": int(now),
        "exp": int(now + lifetime),
        "appid": principal.app_id,
        "appidacr": "2" if principal.document.get("servicePrincipalType") == "ManagedIdentity" else "1",
        "idtyp": "app",
        "oid": principal.id,
        "sub": principal.id,
        "tid": principal.tenant_id,
        "app_displayname": principal.document.get("displayName", ""),
        "uti": uuid.uuid4().hex[:22],
        "ver": "1.0",
    }
    signed = entra_key().sign({**claims, **({"roles": list(roles)} if roles else {})})
    issued.append(signed)
    return signed


@lru_cache(4096)
def _verified(token: str) -> JsonObject:
    """Return the claims of a token with a good signature; a bad one is never cached."""
    options: Any = {"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False}
    claims: JsonObject = jwt.decode(token, entra_key().private.public_key(), ["RS256"], options=options)
    return claims


def claims_of(token: str) -> JsonObject:
    """Return the claims of a token that this service signed, or refuse the call."""
    try:
        return _verified(token)
    except jwt.InvalidTokenError as error:
        raise ArmError(401, "InvalidAuthenticationToken", "The access token is invalid.") from error


def authenticated(call: Call) -> Principal:
    """Return who signed a call, or refuse it with 401."""
    scheme, _, token = call.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise _refusal(
            call,
            "AuthenticationFailed",
            "Authentication failed. The 'Authorization' header is missing or invalid.",
        )
    try:
        claims = claims_of(token.strip())
        _check(call, claims)
    except ArmError as error:
        raise _refusal(call, error.code, error.message) from error
    return Principal(
        claims["oid"],
        claims["tid"],
        claims["appid"],
        str(claims.get("app_displayname", "")),
        frozenset(claims.get("roles", ())),
        claims,
    )


def _check(call: Call, claims: JsonObject) -> None:
    if claims["exp"] <= clock.seconds():
        raise ArmError(401, "ExpiredAuthenticationToken", "The access token expiry is in the past.")
    audience = str(claims["aud"]).rstrip("/")
    if audience not in (*hosts.audiences(call.host), f"https://{call.hostname}"):
        message = f"The access token has been obtained for wrong audience or resource '{claims['aud']}'."
        raise ArmError(401, "InvalidAuthenticationTokenAudience", message)


def _refusal(call: Call, code: str, message: str) -> ArmError:
    from drills.sandbox.azure.tenancy import HOME_TENANT, tenancy  # noqa: PLC0415 - it registers operations

    tenant = tenancy.tenant_of(call.path) or HOME_TENANT
    authority = f"https://login.microsoftonline.com/{tenant}"
    resource = next(iter(hosts.audiences(call.host)), "")
    challenge = (
        f'Bearer authorization="{authority}", authorization_uri="{authority}", resource="{resource}", '
        f'error="invalid_token", error_description="{message}"'
    )
    return ArmError(401, code, message, headers={"WWW-Authenticate": challenge})
