"""Give out and check the tokens of a registry.

An Entra token is exchanged for a refresh token, that for an access token which names what its holder may do.
An access token keeps its rights until it expires, whatever becomes of the role assignments.

Source: Azure Container Registry, "Authenticating with OAuth 2.0" (Azure/acr, docs/AAD-OAuth.md); which action
allows what: "Azure Container Registry roles directory reference", registry permissions without ABAC.
"""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import parse_qsl

import jwt

from drills.sandbox.azure import clock, hosts, tokens
from drills.sandbox.azure.call import Answer, Call, JsonObject, Principal
from drills.sandbox.azure.errors import ArmError, envelope
from drills.sandbox.azure.rbac import allowed
from drills.sandbox.azure.registry.model import Registry, registries, registry_error
from drills.sandbox.azure.table import operation

SOURCE = "Azure Container Registry, Authenticating with OAuth 2.0 (AAD-OAuth.md)"
_REFRESH_SECONDS, _ACCESS_SECONDS = 3 * 3600, 75 * 60
_ACTION = "Microsoft.ContainerRegistry/registries"
RIGHTS = {
    "pull": f"{_ACTION}/pull/read",
    "push": f"{_ACTION}/push/write",
    "delete": f"{_ACTION}/artifacts/delete",
    "metadata_read": f"{_ACTION}/metadata/read",
    "metadata_write": f"{_ACTION}/metadata/write",
}
_CATALOG = "registry:catalog:*"


def registry_of(call: Call) -> Registry:
    """The registry whose login server was called."""
    found = registries.get(call.account.lower())
    if found is None:
        raise registry_error(404, "NAME_UNKNOWN", "registry not known")
    return found


def authorize(call: Call, repository: str, right: str) -> None:
    """Refuse a call without an access token for a right in a repository, and say how to get one."""
    registry = registry_of(call)
    scope = f"repository:{repository}:{right}" if repository else _CATALOG
    challenge = (
        f'Bearer realm="https://{call.hostname}/oauth2/token",service="{call.hostname}",scope="{scope}"'
    )
    scheme, _, token = call.headers.get("authorization", "").partition(" ")
    claims = _claims(token, registry, "access_token") if scheme.lower() == "bearer" else None
    if claims is not None:
        call.principal = _principal(claims)
        if _grants(claims, repository, right):
            return
        challenge += ',error="insufficient_scope"'
    raise registry_error(
        401,
        "UNAUTHORIZED",
        "authentication required, visit https://aka.ms/acr/authorization for more information.",
        **{"WWW-Authenticate": challenge},
    )


def _grants(claims: JsonObject, repository: str, right: str) -> bool:
    wanted = ("registry", "catalog", "*") if not repository else ("repository", repository, right)
    return any(
        (each["type"], each["name"]) == wanted[:2] and wanted[2] in each["actions"]
        for each in claims["access"]
    )


def _claims(token: str, registry: Registry, grant: str) -> JsonObject | None:
    """The claims of a token that this registry gave out and that has not expired."""
    key = tokens.entra_key().private.public_key()
    try:
        claims: JsonObject = jwt.decode(token, key, ["RS256"], options=_UNCHECKED)
    except jwt.InvalidTokenError:
        return None  # treated as no token at all, which answers with a challenge
    usable = claims.get("grant_type") == grant and claims.get("aud") == registry.login_server
    return claims if usable and claims["exp"] > clock.seconds() else None


_UNCHECKED: Any = {"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False}


def _principal(claims: JsonObject) -> Principal:
    return Principal(claims["sub"], claims["tid"], claims["appid"], claims["name"])


@operation("acr", "GET", "/v2/", authenticated=False, source=SOURCE)
def ping(call: Call) -> Answer:
    """Say that this is a registry, to whoever has a token."""
    authorize(call, "", "*")
    return Answer(200)


@operation("acr", "POST", "/oauth2/exchange", authenticated=False, mutating=False, source=SOURCE)
def exchange(call: Call) -> JsonObject:
    """Give a refresh token for an Entra token."""
    registry, form = registry_of(call), _form(call)
    if form.get("grant_type") != "access_token" or form.get("service") != call.hostname:
        raise registry_error(400, "BAD_REQUEST", "grant_type and service must be given")
    claims = tokens.claims_of(form.get("access_token", ""))
    audience = str(claims["aud"]).rstrip("/")
    if audience not in hosts.audiences("acr") or claims["exp"] <= clock.seconds():
        raise registry_error(401, "UNAUTHORIZED", "authentication required")
    about = {"sub": claims["oid"], "tid": claims["tid"], "appid": claims["appid"]}
    name = str(claims.get("app_displayname", ""))
    return {"refresh_token": _signed(registry, "refresh_token", _REFRESH_SECONDS, {**about, "name": name})}


@operation("acr", "POST", "/oauth2/token", authenticated=False, mutating=False, source=SOURCE)
def token(call: Call) -> JsonObject:
    """Give an access token for those of the wanted rights that the caller has now."""
    registry, form = registry_of(call), _form(call)
    claims = _claims(form.get("refresh_token", ""), registry, "refresh_token")
    if claims is None:
        raise registry_error(401, "UNAUTHORIZED", "authentication required")
    access = [_access(claims["sub"], registry, scope) for scope in form.get("scope", "").split()]
    about = {name: claims[name] for name in ("sub", "tid", "appid", "name")}
    return {"access_token": _signed(registry, "access_token", _ACCESS_SECONDS, {**about, "access": access})}


def _access(principal: str, registry: Registry, scope: str) -> JsonObject:
    kind, _, rest = scope.partition(":")
    name, _, wanted = rest.rpartition(":")
    if scope == _CATALOG:
        granted = ["*"] if allowed(principal, RIGHTS["pull"], registry.resource_id) else []
        return {"type": kind, "name": name, "actions": granted}
    actions = list(RIGHTS) if wanted == "*" else wanted.split(",")
    granted = [
        each for each in actions if each in RIGHTS and allowed(principal, RIGHTS[each], registry.resource_id)
    ]
    return {"type": kind, "name": name, "actions": granted}


def _signed(registry: Registry, grant: str, lifetime: float, claims: JsonObject) -> str:
    now = clock.seconds()
    fixed = {
        "jti": str(uuid.uuid4()),
        "aud": registry.login_server,
        "iss": "Azure Container Registry",
        "grant_type": grant,
        "iat": int(now),
        "nbf": int(now),
        "exp": int(now + lifetime),
    }
    return tokens.entra_key().sign({**fixed, **claims})


def _form(call: Call) -> dict[str, str]:
    return dict(parse_qsl(call.raw.decode()))


@envelope("acr")
def worded(_call: Call, error: ArmError) -> Answer:
    """Word an error as the distribution specification does."""
    body = {"errors": [{"code": error.code, "message": error.message, "detail": {}}]}
    return Answer(error.status, body, error.headers)
