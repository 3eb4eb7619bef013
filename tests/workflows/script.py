"""What a scripted run is told to do: steps, how each of them plays, and the traces they leave."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from firebreak.model import Budgets, Consent, Finding, Method, Phase, Stored, Target

Play = Literal["proved", "unproven", "transient", "permanent", "interrupted", "awaiting", "slow"]
"""How one call of a step ends. ``slow``: its time is over after one page of many. ``awaiting``: all but the
log evidence holds, where the gate is prompt."""

ACCOUNT = "222222222222"
REGION = "eu-central-1"


@dataclass
class Act:
    """One step: how its calls play one after the other, and how every later one does."""

    measure: str
    phase: Phase
    plays: tuple[Play, ...] = ()
    then: Play = "proved"
    reverts: tuple[Literal["released", "kept", "unproven", "permanent"], ...] = ()
    preserved: Literal["done", "transient", "permanent", "never"] = "done"
    preserve_first: bool = False
    last_in_phase: bool = False
    last_in_release: bool = False
    irreversible: str = ""
    blast_radius: tuple[str, ...] = ()
    held: asyncio.Event | None = None
    """Calls wait for it, where it is given."""
    held_late: asyncio.Event | None = None
    """Calls for late log evidence wait for it."""

    @property
    def target(self) -> Target:
        """A target of realistic size."""
        ref = f"arn:aws:iam::{ACCOUNT}:role/research-agent-production-{self.measure.removeprefix('aws.')}"
        return Target(kind="iam-role", ref=ref, account=ACCOUNT, region=REGION)

    @property
    def key(self) -> str:
        """The planned step's key."""
        return f"{self.measure} {self.target.key}"


@dataclass
class Script:
    """One run."""

    acts: tuple[Act, ...]
    consent: Consent = field(default_factory=Consent)
    flow_log_gate: Literal["strict", "deferred"] = "strict"
    budgets: Budgets = field(default_factory=Budgets)
    empty_phases: dict[Phase, str] = field(default_factory=dict)
    refusals: tuple[str, ...] = ()
    plan_errors: tuple[type[Exception], ...] = ()
    """Raised by the first calls of planning, one after the other."""
    mark_errors: tuple[type[Exception], ...] = ()
    chain_errors: tuple[type[Exception], ...] = ()
    package_errors: tuple[type[Exception], ...] = ()
    keep_errors: tuple[type[Exception], ...] = ()
    malformed_plan: bool = False
    newer_worker: bool = False
    """Every plan and outcome has fields that this version does not know."""
    notifier: Literal["alive", "dead", "silent"] = "alive"
    package_held: asyncio.Event | None = None
    planning_held: asyncio.Event | None = None
    release_refusals: tuple[str, ...] = ()
    release_plan_errors: tuple[type[Exception], ...] = ()

    def act(self, key: str) -> Act:
        """The act of a step."""
        return next(act for act in self.acts if act.key == key)


def act(measure: str, phase: int, *plays: Play, then: Play = "proved") -> Act:
    """A step of a phase that plays so."""
    return Act(measure=f"aws.{measure}", phase=Phase(phase), plays=plays, then=then)


def standard(*instead: Act) -> tuple[Act, ...]:
    """Two steps in each phase; acts given replace those of the same name."""
    usual = (
        act("deny-all", 1),
        act("revoke-sessions", 1),
        act("quarantine-security-group", 2),
        act("detach-public-ip", 2),
        act("lock-objects", 3),
        act("stop-pipeline-promotion", 3),
        act("capture-audit-log", 4),
        act("capture-flow-logs", 4),
    )
    replaced = {each.measure: each for each in instead}
    return tuple(replaced.pop(each.measure, each) for each in usual) + tuple(replaced.values())


def many(count: int) -> tuple[Act, ...]:
    """That many steps, spread over the phases."""
    phases = list(Phase)
    return tuple(act(f"measure-{number:02d}", phases[number % 4]) for number in range(count))


def reference(incident_id: str, path: str) -> Stored:
    """A reference to evidence, of realistic size."""
    digest = hashlib.sha256(path.encode()).hexdigest()
    return Stored(
        uri=f"s3://firebreak-evidence-333333333333-{REGION}/incidents/{incident_id}/data/{path}",
        version_id=digest[:32],
        sha256=digest,
        size=2048,
        locked_until=datetime.now(UTC) + timedelta(days=365),
    )


def observed(
    *, holds: bool, methods: Iterable[Method] = (Method.LIVE_PROBE, Method.EFFECTIVE_POLICY)
) -> tuple[Finding, ...]:
    """One observation, of realistic size."""
    seen = "denied: AccessDeniedException (403) on the old session" if holds else "still allowed (200)"
    detail = {
        "operation": "dynamodb:GetItem",
        "request_id": "6f4c2a1e-9d5b-4f63-8b19-2c7d1e0f5a3b",
        "session": "issued 2026-01-02T03:04:05+00:00, positive control 2026-01-02T03:04:06+00:00",
        "explicit_deny": holds,
    }
    at = datetime.now(UTC)
    return tuple(
        Finding(holds=holds, method=method, observed=seen, observed_at=at, detail=detail)
        for method in methods
    )
