"""Who Firebreak is on Azure: credentials by the SDK's conventions, and the incident named in every call."""

from __future__ import annotations

import base64
import json
import os
import threading
import time
from contextvars import ContextVar
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid4, uuid5

from firebreak.errors import GuardError
from firebreak.model import JsonObject
from providers.azure.endpoints import Endpoints, endpoints

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken, TokenCredential

Environment = tuple[str, ...]
SDK_VARIABLES = (
    "AZURE_TENANT_ID",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_CLIENT_CERTIFICATE_PATH",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_AUTHORITY_HOST",
    "HTTPS_PROXY",
    "https_proxy",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
)
REFRESH_BEFORE_SECONDS = 300

_incident: ContextVar[str] = ContextVar("firebreak_azure_incident", default="")


def environment() -> Environment:
    """Return a digest of the SDK's settings that decide where calls go and as whom: caches depend on it."""
    return tuple(sha256(os.environ.get(name, "").encode()).hexdigest()[:16] for name in SDK_VARIABLES)


def work_on(incident: str) -> None:
    """Name the incident in every call that this thread makes from now on."""
    _incident.set(incident)


def incident_at_hand() -> str:
    """Return the incident that the calling thread works on, empty for none."""
    return _incident.get()


def correlation_id(incident: str) -> str:
    """Return the request id that the activity log shows for each call of an incident.

    ARM keeps ``x-ms-client-request-id`` as ``httpRequest.clientRequestId`` (Azure Monitor, "Azure activity
    log event schema"); it has to be a GUID.
    """
    return str(uuid5(NAMESPACE_URL, f"firebreak:{incident}")) if incident else str(uuid4())


def correlation() -> dict[str, str]:
    """Return the headers that name the incident at hand."""
    incident = incident_at_hand()
    agent = f"firebreak {incident}".rstrip()
    return {"x-ms-client-request-id": correlation_id(incident), "User-Agent": agent}


class Credential:
    """A token credential of one identity in one tenant; satisfies the SDK's ``TokenCredential``."""

    def __init__(self, at: Endpoints, tenant_id: str, client_id: str) -> None:
        self.at = at
        self.tenant_id = tenant_id
        self.client_id = client_id
        self._lock = threading.Lock()
        self._inner: TokenCredential | None = None
        self._tokens: dict[str, AccessToken] = {}

    def get_token(self, *scopes: str, **kwargs: Any) -> AccessToken:
        """Ask for a token; one is kept until some minutes before it expires."""
        if kwargs.get("claims"):
            return self._fresh(scopes, kwargs)
        key = " ".join((*scopes, str(kwargs.get("tenant_id", ""))))
        token = self._tokens.get(key)
        if token is None or token.expires_on - time.time() < REFRESH_BEFORE_SECONDS:
            token = self._fresh(scopes, kwargs)
            self._tokens[key] = token
        return token

    def token(self, scope: str) -> str:
        """Return a bearer token for one scope."""
        return self.get_token(scope).token

    def claims(self, scope: str) -> JsonObject:
        """Read what the token for a scope says of its bearer: oid, appid, tid, roles."""
        return claims_of(self.token(scope))

    def _fresh(self, scopes: tuple[str, ...], kwargs: dict[str, Any]) -> AccessToken:
        with self._lock:
            if self._inner is None:
                self._inner = _sdk_credential(self.at, self.tenant_id, self.client_id)
        if self.tenant_id:
            kwargs = {**kwargs, "tenant_id": self.tenant_id}
        return self._inner.get_token(*scopes, **kwargs)


def _sdk_credential(at: Endpoints, tenant_id: str, client_id: str) -> TokenCredential:
    """Make the credential that the SDK's conventions name.

    Workload identity federation lets one worker act as several applications (responder, evidence), so that
    a client id of the inventory wins over the environment's where a federated token is there.
    """
    from azure.identity import DefaultAzureCredential, WorkloadIdentityCredential  # noqa: PLC0415

    tenants: dict[str, Any] = {"additionally_allowed_tenants": [tenant_id]} if tenant_id else {}
    # Where AZURE_AUTHORITY_HOST is set, the SDK's own setting wins for the public cloud.
    authority: dict[str, Any] = (
        {} if at.name == "public" and os.environ.get("AZURE_AUTHORITY_HOST") else {"authority": at.authority}
    )
    token_file = os.environ.get("AZURE_FEDERATED_TOKEN_FILE", "")
    if client_id and token_file:
        return WorkloadIdentityCredential(
            tenant_id=tenant_id or os.environ.get("AZURE_TENANT_ID"),
            client_id=client_id,
            token_file_path=token_file,
            **authority,
            **tenants,
        )
    chosen: dict[str, Any] = {"managed_identity_client_id": client_id} if client_id else {}
    return DefaultAzureCredential(**chosen, **authority, **tenants)


def credential_of(cloud: str, tenant_id: str, client_id: str) -> Credential:
    """Return the process-wide credential of these coordinates, so that tokens and clients are shared."""
    return _credential_in(environment(), cloud, tenant_id, client_id)


@lru_cache(maxsize=256)
def _credential_in(_: Environment, cloud: str, tenant_id: str, client_id: str) -> Credential:
    return Credential(endpoints(cloud), tenant_id, client_id)


def claims_of(token: str) -> JsonObject:
    """Read a token's claims; whoever gave it to us vouches for it, so the signature is not checked here."""
    try:
        payload = token.split(".")[1]
        found = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError) as error:
        raise GuardError("the token of the Azure credential cannot be read") from error
    return found if isinstance(found, dict) else {}
