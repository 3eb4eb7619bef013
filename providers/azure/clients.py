"""SDK clients shared by all runs of the process: importing and making one costs far more than a call."""

from __future__ import annotations

import importlib
import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import requests
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.core.pipeline.transport import RequestsTransport
from requests.adapters import HTTPAdapter

from providers.azure.credentials import Credential, Environment, correlation, environment

if TYPE_CHECKING:
    from azure.core.pipeline import PipelineRequest
    from azure.keyvault.keys import KeyClient
    from azure.keyvault.keys.crypto import CryptographyClient
    from azure.storage.blob import BlobServiceClient, LinearRetry

VERSIONS = {
    "AuthorizationManagementClient": "2022-04-01",
    "ManagedServiceIdentityClient": "2024-11-30",
    "ManagementLockClient": "2020-05-01",
    "NetworkManagementClient": "2025-07-01",
    "StorageManagementClient": "2025-06-01",
}
"""The api-version of each management client: the newest that the public schemas document. A client that is
not listed speaks the versions of its release, which the dependencies pin."""
BLOB_VERSION = "2025-07-05"
"""x-ms-version of the blob data plane (Storage services, "Versioning for Azure Storage")."""
VAULT_VERSION = "7.4"
"""api-version of Key Vault's data plane."""
BLOB: dict[str, Any] = {
    "api_version": BLOB_VERSION,
    # Small reads, so that many captures at once keep memory flat.
    "max_single_get_size": 4 * 1024 * 1024,
    "max_chunk_get_size": 4 * 1024 * 1024,
    "max_single_put_size": 16 * 1024 * 1024,
}
RETRIES = 2
"""Temporal owns the long retries."""
BLOB_PAUSES: dict[str, Any] = {"backoff": 0.5, "random_jitter_range": 0.25}
"""Seconds between the attempts on a blob; the storage SDK's own (ExponentialRetry) begin with 15."""
POLL_SECONDS = 1
"""Between two looks at a long-running operation; a Retry-After of the service wins."""
CONNECTIONS = 64
CONNECT_SECONDS, READ_SECONDS = 5, 30
OPTIONS: dict[str, Any] = {
    "retry_total": RETRIES,
    "retry_backoff_max": 5,
    "polling_interval": POLL_SECONDS,
    "connection_timeout": CONNECT_SECONDS,
    "read_timeout": READ_SECONDS,
}


class NameIncident(SansIOHTTPPolicy[Any, Any]):
    """Names the incident in the request id and the user agent, so that Azure's logs name it too."""

    def on_request(self, request: PipelineRequest[Any]) -> None:
        """Set the headers of the incident that the calling thread works on."""
        named = correlation()
        agent = request.http_request.headers.get("User-Agent", "")
        request.http_request.headers["x-ms-client-request-id"] = named["x-ms-client-request-id"]
        if named["User-Agent"] not in agent:
            request.http_request.headers["User-Agent"] = f"{named['User-Agent']} {agent}".rstrip()


class _Clients:
    MAX_CLIENTS = 512

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clients: dict[tuple[Any, ...], Any] = {}

    def get(self, of: type | str, credential: Credential, place: str) -> Any:
        """The client of a class for a subscription, or for a URL."""
        key = (of, credential, place, environment())
        client = self._clients.get(key)
        if client is None:
            with self._lock:
                client = self._clients.get(key) or _make(_loaded(of), credential, place)
                if len(self._clients) >= self.MAX_CLIENTS:
                    self._clients.pop(next(iter(self._clients)))
                self._clients[key] = client
        return client


_clients = _Clients()


def management(of: type | str, credential: Credential, subscription: str) -> Any:
    """Return the shared management client of a class, or of its dotted name ``package.module:Class``."""
    return _clients.get(of, credential, subscription)


def blobs(credential: Credential, account_url: str) -> BlobServiceClient:
    """Return the shared blob client of a storage account."""
    client: BlobServiceClient = _clients.get(
        "azure.storage.blob:BlobServiceClient", credential, account_url.rstrip("/")
    )
    return client


def keys(credential: Credential, vault_url: str) -> KeyClient:
    """Return the shared client of a Key Vault's keys."""
    client: KeyClient = _clients.get("azure.keyvault.keys:KeyClient", credential, vault_url)
    return client


def cryptography(credential: Credential, key_url: str) -> CryptographyClient:
    """Return the shared client that works with one Key Vault key."""
    client: CryptographyClient = _clients.get(
        "azure.keyvault.keys.crypto:CryptographyClient", credential, key_url
    )
    return client


def _loaded(of: type | str) -> Any:
    if not isinstance(of, str):
        return of
    module, _, name = of.partition(":")
    return getattr(importlib.import_module(module), name)


def _make(of: Any, credential: Credential, place: str) -> Any:
    shared = {**OPTIONS, "transport": _transport(environment())}
    if of.__name__ == "BlobServiceClient":
        named = [NameIncident()]
        return of(
            place, credential, _additional_pipeline_policies=named, retry_policy=_retries(), **BLOB, **shared
        )
    if "://" in place:
        return of(place, credential, api_version=VAULT_VERSION, per_call_policies=[NameIncident()], **shared)
    version = VERSIONS.get(of.__name__)
    return of(
        credential,
        place,
        base_url=credential.at.arm,
        credential_scopes=[credential.at.arm_scope],
        per_call_policies=[NameIncident()],
        **({"api_version": version} if version else {}),
        **shared,
    )


def _retries() -> LinearRetry:
    from azure.storage.blob import LinearRetry  # noqa: PLC0415

    return LinearRetry(retry_total=RETRIES, **BLOB_PAUSES)


@lru_cache(maxsize=8)
def _transport(_: Environment) -> RequestsTransport:
    """The connections of one environment, enough for every thread of a worker."""
    session = requests.Session()
    session.mount("https://", HTTPAdapter(pool_connections=CONNECTIONS, pool_maxsize=CONNECTIONS))
    return RequestsTransport(
        session=session,
        session_owner=False,
        connection_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
    )
