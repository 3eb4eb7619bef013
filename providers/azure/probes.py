"""Try what the workload could do, as the workload: the positive control before, the denial after.

A denial counts only for a call that the same token was allowed before the change; what an answer means is
decided by its error code, never by "it failed".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from urllib.parse import quote, urlsplit

import httpx

from firebreak.errors import TransientCloudError
from firebreak.measure import found, now
from firebreak.model import Finding, JsonObject, Method
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


class Kind(StrEnum):
    """What one answer means."""

    ALLOWED = "allowed"
    DENIED = "denied"
    DEAD = "credential dead"
    UNKNOWN = "inconclusive"


MEANING = {Outcome.DENIED: Kind.DENIED, Outcome.DEAD: Kind.DEAD, Outcome.INCONCLUSIVE: Kind.UNKNOWN}


@dataclass(frozen=True)
class Answer:
    """The answer to one probe."""

    call: str
    kind: Kind
    code: str = ""
    status: int = 0
    request_id: str = ""
    transient: bool = False
    """Trying again may give another answer: throttling, 5xx, a lost packet."""

    @property
    def text(self) -> str:
        """The answer as the operator reads it: the call, what it means, the code and the status."""
        told = f": {self.code or 'no code'} ({self.status})" if self.kind is not Kind.ALLOWED else ""
        return f"{self.call} {self.kind}{told}"

    def json(self) -> JsonObject:
        """The answer for a finding's detail."""
        return {
            "call": self.call,
            "answer": str(self.kind),
            "code": self.code,
            "status": self.status,
            "request_id": self.request_id,
        }


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


@dataclass(frozen=True)
class Control:
    """What worked before the change, or why nothing could be tried."""

    works: tuple[str, ...] = ()
    why_not: str = ""
    gaps: tuple[str, ...] = ()
    """What else was tried, beside what does work, and was not allowed: it proves nothing later."""

    def json(self) -> JsonObject:
        """The control for a State: names of calls, no secret."""
        return {"works": list(self.works), "why_not": self.why_not, "gaps": list(self.gaps)}

    @classmethod
    def of(cls, values: JsonObject) -> Control:
        """Read back what ``json`` wrote."""
        control = values.get("control", {})
        return cls(
            tuple(control.get("works", ())),
            control.get("why_not", "no positive control was recorded"),
            tuple(control.get("gaps", ())),
        )


def control_of(answers: Sequence[Answer]) -> Control:
    """Keep what was allowed; raises TransientCloudError where a busy service left it open."""
    works = tuple(answer.call for answer in answers if answer.kind is Kind.ALLOWED)
    if works:
        return Control(works)
    if any(answer.transient for answer in answers):
        raise TransientCloudError(f"the positive control could not be taken: {answers[0].text}")
    told = "; ".join(answer.text for answer in answers) or "no probe is declared"
    return Control((), f"no declared probe worked before the change: {told}")


def judge(answers: Sequence[Answer], control: Control, subject: str) -> Finding:
    """Turn the answers to the calls that worked before into one finding."""
    relevant = [answer for answer in answers if answer.call in control.works]
    detail: JsonObject = {"answers": [each.json() for each in answers], "worked_before": list(control.works)}
    if not relevant:
        return unproved(subject, control.why_not or "the probes that worked before are no longer declared")
    text = f"{subject}: " + "; ".join(answer.text for answer in relevant)
    if all(answer.kind in {Kind.DEAD, Kind.DENIED} for answer in relevant):
        return found(Method.LIVE_PROBE, text, holds=True, **detail)
    allowed = any(answer.kind is Kind.ALLOWED for answer in relevant)
    return found(Method.LIVE_PROBE, text, holds=False, inconclusive=not allowed, **detail)


def unproved(subject: str, reason: str) -> Finding:
    """Report a live probe that could not be made; it never counts as contained."""
    return found(Method.LIVE_PROBE, f"{subject} not probed: {reason}", holds=False, inconclusive=True)
