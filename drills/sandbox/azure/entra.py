"""The token service: discovery, and tokens for client secrets, certificates and federated assertions.

Sources: "Microsoft identity platform and the OAuth 2.0 client credentials flow"; "Microsoft Entra
authentication and authorization error codes".
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import jwt
from cryptography import x509

from drills.sandbox.azure import clock, federation, hosts, tokens
from drills.sandbox.azure.call import Answer, Call, JsonObject
from drills.sandbox.azure.directory import DirectoryObject, directory, graph_principal
from drills.sandbox.azure.errors import ArmError, envelope
from drills.sandbox.azure.graphroles import GRAPH_APP_ID
from drills.sandbox.azure.msi import federated_credentials
from drills.sandbox.azure.state import settings
from drills.sandbox.azure.table import operation
from drills.sandbox.azure.tenancy import Tenant, tenancy

_SOURCE = "Microsoft identity platform, OpenID Connect and OAuth 2.0 protocols"
_FLOW = "Microsoft identity platform and the OAuth 2.0 client credentials flow"
_HOST = "https://login.microsoftonline.com"
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_GRAPH = "https://graph.microsoft.com"


class TokenError(ArmError):
    """The token service refuses: an OAuth error with an AADSTS number."""

    def __init__(self, number: int, error: str, message: str) -> None:
        """Say why."""
        super().__init__(401 if error == "invalid_client" else 400, f"AADSTS{number}", message)
        self.number = number
        self.error = error


@envelope("login")
def worded(call: Call, error: ArmError) -> Answer:
    """Word an error as the token service does."""
    number = error.number if isinstance(error, TokenError) else 90033
    oauth = error.error if isinstance(error, TokenError) else "temporarily_unavailable"
    stamp = clock.now().strftime("%Y-%m-%d %H:%M:%SZ")
    text = f"AADSTS{number}: {error.message} Trace ID: {call.id} Correlation ID: {call.id} Timestamp: {stamp}"
    body = {
        "error": oauth,
        "error_description": text,
        "error_codes": [number],
        "timestamp": stamp,
        "trace_id": call.id,
        "correlation_id": call.headers.get("client-request-id", call.id),
        "error_uri": f"{_HOST}/error?code={number}",
    }
    return Answer(error.status, body, error.headers)


@operation("login", "GET", "/common/discovery/instance", authenticated=False, source=_SOURCE)
def discover_instance(_call: Call) -> JsonObject:
    """Tell which hosts are this token service."""
    names = ["login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net"]
    cloud = {"preferred_network": names[0], "preferred_cache": names[1], "aliases": names}
    endpoint = f"{_HOST}/common/v2.0/.well-known/openid-configuration"
    return {"tenant_discovery_endpoint": endpoint, "api-version": "1.1", "metadata": [cloud]}


@operation(
    "login", "GET", "/{tenant}/v2.0/.well-known/openid-configuration", authenticated=False, source=_SOURCE
)
def discover_tenant(call: Call) -> JsonObject:
    """Describe a tenant's endpoints."""
    tenant = _tenant(call).id
    return {
        "authorization_endpoint": f"{_HOST}/{tenant}/oauth2/v2.0/authorize",
        "id_token_signing_alg_values_supported": ["RS256"],
        "issuer": f"{_HOST}/{tenant}/v2.0",
        "jwks_uri": f"{_HOST}/{tenant}/discovery/v2.0/keys",
        "response_types_supported": ["code", "id_token"],
        "subject_types_supported": ["pairwise"],
        "token_endpoint": f"{_HOST}/{tenant}/oauth2/v2.0/token",
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
        "tenant_region_scope": "EU",
    }


@operation("login", "GET", "/{tenant}/discovery/v2.0/keys", authenticated=False, source=_SOURCE)
def list_keys(_call: Call) -> JsonObject:
    """Publish the key that tokens are signed with."""
    return {"keys": [tokens.entra_key().jwk()]}


@operation("login", "POST", "/{tenant}/oauth2/v2.0/token", authenticated=False, mutating=False, source=_FLOW)
def issue_token(call: Call) -> JsonObject:
    """Issue a token for an application, service principal or managed identity itself."""
    form = dict(parse_qsl(call.raw.decode()))
    tenant = _tenant(call)
    if form.get("grant_type") != "client_credentials":
        message = f"The grant type '{form.get('grant_type')}' is not supported."
        raise TokenError(70003, "unsupported_grant_type", message)
    principal = _identified(tenant, form.get("client_id", ""))
    _prove(principal, form)
    refuse_disabled(principal)
    lifetime = settings["token_seconds"]
    audience = audience_of(form.get("scope", ""))
    token = tokens.issue(principal, audience, lifetime, roles=roles_for(principal, audience))
    return {
        "token_type": "Bearer",
        "expires_in": int(lifetime),
        "ext_expires_in": int(lifetime),
        "access_token": token,
    }


def _tenant(call: Call) -> Tenant:
    name = call.params["tenant"]
    tenant = tenancy.tenant_named(name)
    if tenant is None:
        message = f"Tenant '{name}' not found. Check to make sure you have the correct tenant ID."
        raise TokenError(90002, "invalid_request", message)
    return tenant


def _identified(tenant: Tenant, client_id: str) -> DirectoryObject:
    principal = directory.by_app(tenant.id, client_id, "servicePrincipals") if client_id else None
    if principal is None:
        message = (
            f"Application with identifier '{client_id}' was not found in the directory '{tenant.domain}'. "
            "This can happen if the application has not been installed by the administrator of the tenant."
        )
        raise TokenError(700016, "unauthorized_client", message)
    return principal


def refuse_disabled(principal: DirectoryObject) -> None:
    """Refuse a principal that was disabled, or whose application was deactivated."""
    application = directory.by_app(principal.tenant_id, principal.app_id, "applications")
    documents = [principal.document, *([application.document] if application else [])]
    if principal.document["accountEnabled"] and not any(one.get("isDisabled") for one in documents):
        return
    message = f"Application '{principal.app_id}'({principal.document['displayName']}) is disabled."
    raise TokenError(7000112, "unauthorized_client", message)


def _prove(principal: DirectoryObject, form: Mapping[str, str]) -> None:
    if "client_secret" in form:
        _prove_secret(principal, form["client_secret"])
    elif form.get("client_assertion_type") == _ASSERTION_TYPE and "client_assertion" in form:
        _prove_assertion(principal, form["client_assertion"])
    else:
        message = (
            "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."
        )
        raise TokenError(7000218, "invalid_client", message)


def _holders(principal: DirectoryObject) -> list[DirectoryObject]:
    application = directory.by_app(principal.tenant_id, principal.app_id, "applications")
    return [principal, *([application] if application else [])]


def _prove_secret(principal: DirectoryObject, secret: str) -> None:
    if any(directory.accepts_secret(holder, secret) for holder in _holders(principal)):
        return
    message = (
        "Invalid client secret provided. Ensure the secret being sent in the request is the client secret "
        f"value, not the client secret ID, for a secret added to app '{principal.app_id}'."
    )
    raise TokenError(7000215, "invalid_client", message)


def _prove_assertion(principal: DirectoryObject, assertion: str) -> None:
    try:
        issuer = jwt.decode(assertion, options={"verify_signature": False}).get("iss")
    except jwt.InvalidTokenError as error:
        raise TokenError(50027, "invalid_request", "JWT token is invalid or malformed.") from error
    if issuer == principal.app_id:
        _prove_certificate(principal, assertion)
        return
    own = [one for holder in _holders(principal) for one in holder.federated.values()]
    try:
        federation.verify(assertion, [*own, *federated_credentials(principal)])
    except federation.FederationError as error:
        raise TokenError(error.number, error.error, error.message) from error


def _prove_certificate(principal: DirectoryObject, assertion: str) -> None:
    keys = [key for holder in _holders(principal) for key in holder.document["keyCredentials"]]
    if any(_signed_with(assertion, key) for key in keys):
        return
    message = (
        "The certificate with identifier used to sign the client assertion is not registered on application."
    )
    raise TokenError(700027, "invalid_client", message)


def _signed_with(assertion: str, key: JsonObject) -> bool:
    if not key.get("key"):
        return False
    certificate = x509.load_der_x509_certificate(base64.b64decode(key["key"]))
    options: Any = {"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False}
    public: Any = certificate.public_key()
    try:
        jwt.decode(assertion, public, ["RS256", "PS256"], options=options)
    except jwt.InvalidTokenError:
        return False  # signed with another key; the caller refuses when none fits
    return True


def audience_of(scope: str) -> str:
    """Return the audience a scope means, which must be known."""
    resource = scope.split(maxsplit=1)[0].removesuffix("/.default") if scope.strip() else ""
    if not hosts.known_audience(resource):
        message = f"The resource principal named {resource} was not found in the tenant."
        raise TokenError(500011, "invalid_resource", message)
    return resource


def roles_for(principal: DirectoryObject, audience: str) -> tuple[str, ...]:
    """Return the application permissions a token for this audience carries."""
    if audience.rstrip("/") not in {_GRAPH, GRAPH_APP_ID}:
        return ()
    graph = graph_principal(principal.tenant_id)
    names = {role["id"]: role["value"] for role in graph.document["appRoles"]}
    held = [one.document for one in directory.list(principal.tenant_id, "appRoleAssignments")]
    return tuple(
        names[one["appRoleId"]]
        for one in held
        if one["principalId"] == principal.id and one["resourceId"] == graph.id and one["appRoleId"] in names
    )


def grant_graph_role(principal: DirectoryObject, role_id: str) -> DirectoryObject:
    """Give a principal an application permission of Microsoft Graph."""
    graph = graph_principal(principal.tenant_id)
    document = {
        "id": uuid.uuid4().hex,
        "appRoleId": role_id,
        "principalId": principal.id,
        "principalDisplayName": principal.document["displayName"],
        "principalType": "ServicePrincipal",
        "resourceId": graph.id,
        "resourceDisplayName": "Microsoft Graph",
    }
    return directory.add("appRoleAssignments", principal.tenant_id, document)
