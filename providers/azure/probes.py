"""Try what the workload could do in Azure, as the workload; an error code decides what an answer means.

firebreak/probing.py judges the answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

import httpx

from firebreak.errors import TransientCloudError
from firebreak.measure import now
from firebreak.probing import Answer, Kind
from providers.azure.answers import COSMOS_HOST, Outcome, RestError, outcome, translate
from providers.azure.credentials import claims_of
from providers.azure.resources.identities import Probe
from providers.azure.rest import Rest
from providers.azure.session import AzureAccess

# Versioning for the Azure Storage services: OAuth needs 2017-11-09 or later.
STORAGE_VERSION = "2021-12-02"
STORAGE_HOST = ".core."
COSMOS_VERSION = "2018-12-31"
"""Common Azure Cosmos DB REST request headers, ``x-ms-version``."""

MEANING = {Outcome.DENIED: Kind.DENIED, Outcome.DEAD: Kind.DEAD, Outcome.INCONCLUSIVE: Kind.UNKNOWN}


def classify(call: str, error: RestError | httpx.HTTPError) -> Answer:
    """Decide what a refusal means; throttling, 5xx and lost packets mean nothing."""
    transient = isinstance(translate(error, call), TransientCloudError)
    if isinstance(error, httpx.HTTPError):
        return Answer(call, Kind.UNKNOWN, type(error).__name__, transient=transient)
    meaning = MEANING[outcome(error)]
    unclear = transient and meaning is Kind.UNKNOWN
    return Answer(call, meaning, error.code, error.status, error.request_id, transient=unclear)


def attempt(call: str, service: Rest, path: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Make one GET, once, and say what the answer means; the body of a success is not read."""
    try:
        with service.stream("GET", path, headers=headers) as answer:
            return Answer(
                call, Kind.ALLOWED, "", answer.status_code, answer.headers.get("x-ms-request-id", "")
            )
    except (RestError, httpx.HTTPError) as error:
        return classify(call, error)


@dataclass(frozen=True)
class Token:
    """A token of the workload: a secret; it lives in memory and in the vault's sealed store only."""

    value: str

    @property
    def object_id(self) -> str:
        """Whose token it is (access token claims reference, ``oid``)."""
        return str(claims_of(self.value).get("oid", "")).lower()

    @property
    def expired(self) -> bool:
        """True once its own time is over, which would look like a revocation."""
        return float(claims_of(self.value).get("exp", 0)) <= now().timestamp()

    @property
    def issued_at(self) -> datetime:
        """When it was issued."""
        return datetime.fromtimestamp(float(claims_of(self.value).get("iat", 0)), tz=UTC)

    def try_out(self, access: AzureAccess, probe: Probe) -> Answer:
        """Make one call with this token."""
        parts = urlsplit(probe.url)
        service = access.borrowed_data(f"{parts.scheme}://{parts.netloc}", self.value)
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        return attempt(probe.title, service, path, _headers(parts.netloc, self.value))


def _headers(host: str, token: str) -> dict[str, str]:
    """What a data plane wants beside, or instead of, the usual bearer header."""
    dated = {"x-ms-date": now().strftime("%a, %d %b %Y %H:%M:%S GMT")}
    if STORAGE_HOST in host:
        return {"x-ms-version": STORAGE_VERSION, **dated}
    if COSMOS_HOST in host:
        # "Access control on Azure Cosmos DB resources": the form of an Entra token, URL-encoded.
        signed = quote(f"type=aad&ver=1.0&sig={token}", safe="")
        return {"Authorization": signed, "x-ms-version": COSMOS_VERSION, **dated}
    return {}
