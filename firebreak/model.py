"""The words of the product: frozen, cloud-neutral values that every other module exchanges.

Nothing here does I/O, reads a clock or knows a cloud.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Annotated, Any, Literal

import rfc8785
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, SerializeAsAny, model_validator

JsonObject = dict[str, Any]
"""A JSON object as read from or written to a cloud API."""

CONTAINMENT_TARGET = timedelta(minutes=15)
"""Trigger to the proof of phase 4 (docs/runbook.md)."""


class Cloud(StrEnum):
    """Where a workload runs."""

    AWS = "aws"
    AZURE = "azure"
    GCP = "gcp"


class Phase(IntEnum):
    """The runbook's phases; the order of the members is the order of the run."""

    IDENTITY_REVOKE = 1
    NETWORK_ISOLATE = 2
    ARTIFACT_FREEZE = 3
    FORENSIC_CAPTURE = 4

    @property
    def title(self) -> str:
        """The phase as people read it, for example ``identity revoke``."""
        return self.name.lower().replace("_", " ")


class Mode(StrEnum):
    """Whether this is an incident or practice."""

    LIVE = "live"
    DRILL = "drill"


class Method(StrEnum):
    """How a finding was observed, strongest first."""

    LIVE_PROBE = "live_probe"
    LOG_EVIDENCE = "log_evidence"
    EFFECTIVE_POLICY = "effective_policy"
    CONFIGURATION = "configuration"


class Verdict(StrEnum):
    """What may be said of a run, a phase or a measure. There is no bare success flag."""

    PENDING = "pending"
    CONTAINED = "contained"
    PARTIALLY_CONTAINED = "partially_contained"
    UNPROVEN = "unproven"
    REFUSED = "refused"
    REJECTED = "rejected"
    RELEASED = "released"


IncidentId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class FrozenModel(BaseModel):
    """An immutable value that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def canonical(self) -> bytes:
        """The value as RFC 8785 canonical JSON: the bytes that are hashed and stored."""
        return rfc8785.dumps(self.model_dump(mode="json"))

    def digest(self) -> str:
        """SHA-256 of the canonical form, in hex."""
        return hashlib.sha256(self.canonical()).hexdigest()


class Target(FrozenModel):
    """The one resource that a measure acts on."""

    kind: str
    """The inventory's word for it, for example ``iam-role``."""
    ref: str
    """Its unique id in the cloud: an ARN or resource id, never a search term."""
    account: str
    region: str
    parent: str = ""
    """The resource it belongs to where the id alone does not say so, for example an ENI's instance."""

    @property
    def key(self) -> str:
        """Stable text for names, logs and summaries."""
        return f"{self.kind}:{self.ref}"


class Finding(FrozenModel):
    """One observation made from outside. Only ``holds`` counts as proof."""

    holds: bool
    method: Method
    observed: str
    """What was seen, in words and codes, for example ``denied: AccessDenied (403)``."""
    observed_at: AwareDatetime
    detail: JsonObject = Field(default_factory=dict)
    """Request ids, counts, identifiers: never a secret, never evidence bytes."""
    inconclusive: bool = False
    """The observation says neither yes nor no; it never counts as contained."""

    @model_validator(mode="after")
    def _unknown_is_not_proof(self) -> Finding:
        if self.holds and self.inconclusive:
            msg = "an inconclusive finding cannot hold"
            raise ValueError(msg)
        return self


class Stored(FrozenModel):
    """A reference to bytes in the evidence store; what histories carry instead of the bytes."""

    uri: str
    version_id: str
    sha256: str
    size: int
    locked_until: AwareDatetime | None = None
    """End of the retention that was read back; None for what is deliberately not locked."""


class Exhibit(FrozenModel):
    """One item of evidence: what it is, where it came from, and where it now lies."""

    evidence_id: str
    """Path inside the bag below ``data/``, for example ``phases/4/aws.capture-audit-log/part-1.jsonl``."""
    kind: str
    source: str
    """The ARN or URI it was acquired from."""
    acquired_by: str
    """The API call or method, for example ``cloudtrail:LookupEvents``."""
    collected_at: AwareDatetime
    stored: Stored


class State(FrozenModel):
    """What release needs, read before the first change."""

    measure: str
    target: Target
    taken_at: AwareDatetime
    values: JsonObject
    carried_from: str = ""
    """The earlier incident whose pre-state this is, where the workload was still contained."""


class Change(FrozenModel):
    """What a measure did, sufficient to revert it."""

    measure: str
    target: Target
    changed: bool
    """False when the resource already was as wanted."""
    applied_at: AwareDatetime
    before: JsonObject
    """The values to restore: a copy of the State's values."""
    after: JsonObject = Field(default_factory=dict)
    """Identifiers of what was made, and anything verify needs."""
    exhibits: tuple[Exhibit, ...] = ()
    """Evidence acquired (capture measures and artifact hashes)."""


class Resource(BaseModel):
    """One declared part of a workload. Providers subclass it, one class per ``kind``."""

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: str
    ref: str
    shared_with: tuple[str, ...] = ()
    """Other workloads or services that use the same resource: its blast radius."""


class Budgets(FrozenModel):
    """Time for each phase, in seconds, counted from the phase's start."""

    identity_revoke: Annotated[int, Field(ge=1, le=86_400)] = 180
    network_isolate: Annotated[int, Field(ge=1, le=86_400)] = 360
    artifact_freeze: Annotated[int, Field(ge=1, le=86_400)] = 180
    forensic_capture: Annotated[int, Field(ge=1, le=86_400)] = 180

    def of(self, phase: Phase) -> timedelta:
        """The budget of one phase."""
        return timedelta(seconds=getattr(self, phase.name.lower()))


class Consent(FrozenModel):
    """Who has to agree before the first change."""

    mode: Literal["auto", "auto_if_confirmed", "approval"] = "auto"
    approvers: Annotated[int, Field(ge=1, le=2)] = 1
    timeout_seconds: Annotated[int, Field(ge=1, le=86_400)] = 300
    default: Literal["contain", "reject"] = "contain"
    """What an unanswered approval means."""


class Workload(FrozenModel):
    """One AI workload of the inventory. Resources are validated by their provider's classes."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    cloud: Cloud
    account: str
    region: str
    kind: Literal[
        "agent", "multi_agent", "rag_pipeline", "training_pipeline", "inference_endpoint", "mcp_server"
    ] = "agent"
    description: str = ""
    owner: str = ""
    risk_tier: Annotated[str, Field(pattern=r"^L[1-9]$")] = "L5"
    sandbox: bool = False
    """Lies in an account that drills may touch."""
    access: dict[str, str] = Field(default_factory=dict)
    """How the responder reaches the account; the keys are the provider's (AWS: role_arn, external_id)."""
    consent: Consent = Consent()
    flow_log_gate: Literal["strict", "deferred"] = "strict"
    budgets: Budgets = Budgets()
    max_blast_radius: Annotated[int, Field(ge=0)] = 0
    """How many other users of a shared resource may be cut off without asking."""
    without: dict[Literal["identities", "network", "artifacts", "evidence_sources"], str] = Field(
        default_factory=dict
    )
    """Groups that the workload does not have, each with the reason; anything undeclared is a gap."""
    identities: tuple[SerializeAsAny[Resource], ...] = ()
    network: tuple[SerializeAsAny[Resource], ...] = ()
    channels: tuple[SerializeAsAny[Resource], ...] = ()
    artifacts: tuple[SerializeAsAny[Resource], ...] = ()
    stores: tuple[SerializeAsAny[Resource], ...] = ()
    pipelines: tuple[SerializeAsAny[Resource], ...] = ()
    evidence_sources: tuple[SerializeAsAny[Resource], ...] = ()

    def resources(self) -> tuple[Resource, ...]:
        """Every declared resource, in the order of the groups."""
        return (
            *self.identities,
            *self.network,
            *self.channels,
            *self.artifacts,
            *self.stores,
            *self.pipelines,
            *self.evidence_sources,
        )


class Run(FrozenModel):
    """The facts of one containment that every measure may know."""

    incident_id: IncidentId
    mode: Mode
    workload: Workload
    triggered_at: AwareDatetime
    window: timedelta = timedelta(hours=24)
    """How far before the trigger logs are captured."""

    @property
    def window_started_at(self) -> datetime:
        """The first instant whose logs are evidence."""
        return self.triggered_at - self.window
