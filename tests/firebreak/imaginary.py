"""An imaginary cloud of things that are open or shut, behind the production provider seam."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Barrier
from types import ModuleType
from typing import Any

import pytest
from securesystemslib.signer import Signer

from firebreak import measure as contract
from firebreak.engine import Engine
from firebreak.errors import Irreversible
from firebreak.evidence.local import LocalVault
from firebreak.evidence.sign import generate_key, open_signer
from firebreak.measure import Measure, found
from firebreak.model import (
    Change,
    Cloud,
    Exhibit,
    Finding,
    JsonObject,
    Method,
    Mode,
    Phase,
    Resource,
    Run,
    State,
    Target,
    Workload,
)
from firebreak.provider import Need, Proposal, Search
from firebreak.settings import GuardSettings, ProofSettings, Settings

ACCOUNT = "imaginary-1"
CLOUD = Cloud.GCP
"""A cloud of which this build has no provider of its own."""


@dataclass
class World:
    """Everything there is, and everything that goes wrong in it."""

    root: Path
    open: dict[str, bool] = field(default_factory=dict)
    applied: list[str] = field(default_factory=list)
    """Changes that had an effect, in order."""
    apply_errors: dict[str, list[Exception]] = field(default_factory=dict)
    verify_errors: dict[str, list[Exception]] = field(default_factory=dict)
    half_way: set[str] = field(default_factory=set)
    """Things that are shut although applying them fails."""
    snapshot_errors: dict[str, Exception] = field(default_factory=dict)
    controls: dict[str, JsonObject] = field(default_factory=dict)
    """What a probe says of itself before the change."""
    notes: dict[str, list[str]] = field(default_factory=dict)
    log_lines: dict[str, bool] = field(default_factory=dict)
    """Whether log evidence holds, for things that have it."""
    users: dict[str, tuple[str, ...]] = field(default_factory=dict)
    own: tuple[str, ...] = ("firebreak-itself",)
    missing: tuple[str, ...] = ()
    reads: int = 0
    holds: dict[str, Barrier] = field(default_factory=dict)
    """Reverts that wait there before they change anything."""

    @property
    def key(self) -> Path:
        return self.root / "signing.pem"

    @property
    def public_key(self) -> Path:
        return self.root / "signing.pem.pub"

    def vault(self) -> LocalVault:
        return LocalVault(self.root / "vault")


class Thing(Resource):
    """Anything."""


class Shut(Measure[World]):
    """Shut a thing; what it is to be open differs by phase only."""

    group = ""
    kind = "thing"

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        return [
            Target(kind="thing", ref=part.ref, account=ACCOUNT, region=workload.region)
            for part in getattr(workload, cls.group)
        ]

    @property
    def world(self) -> World:
        return self.context.access

    def blast_radius(self, target: Target) -> tuple[str, ...]:
        return self.world.users.get(target.ref, ())

    def snapshot(self, target: Target) -> JsonObject:
        self.world.reads += 1
        if target.ref in self.world.snapshot_errors:
            raise self.world.snapshot_errors[target.ref]
        control = self.world.controls.get(target.ref)
        told = {"control": control, "notes": self.world.notes.get(target.ref)}
        return {"open": self.world.open[target.ref], **{key: each for key, each in told.items() if each}}

    def apply(self, target: Target, state: State) -> Change:
        errors = self.world.apply_errors.get(target.ref)
        if target.ref in self.world.half_way:
            self.world.open[target.ref] = False
        if errors:
            raise errors.pop(0)
        changed = self.world.open[target.ref]
        if changed:
            self.world.open[target.ref] = False
            self.world.applied.append(target.ref)
        return self.done(target, state, changed=changed)

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        errors = self.world.verify_errors.get(target.ref)
        if errors:
            raise errors.pop(0)
        shut = not self.world.open[target.ref]
        findings = [found(Method.LIVE_PROBE, "denied" if shut else "allowed", holds=shut)]
        if target.ref in self.world.log_lines:
            findings.append(found(Method.LOG_EVIDENCE, "logs", holds=self.world.log_lines[target.ref]))
        return tuple(findings)

    def revert(self, change: Change) -> Finding:
        if self.irreversible:
            raise Irreversible(self.irreversible)
        if change.target.ref in self.world.holds:
            self.world.holds[change.target.ref].wait()
        self.world.open[change.target.ref] = change.before["open"]
        return found(Method.CONFIGURATION, "as before", holds=True)


class ImaginaryProvider:
    """The provider seam of the imaginary cloud."""

    kinds = {group: {"thing": Thing} for group in ("identities", "network", "artifacts", "evidence_sources")}  # noqa: RUF012 - as in the protocol

    def __init__(self, world: World) -> None:
        self.world = world

    def check(self, workload: Workload) -> list[str]:
        return []

    def access(self, run: Run, settings: Settings, vault: Any) -> World:
        return self.world

    def vault(self, settings: Settings) -> LocalVault:
        return self.world.vault()

    def check_store(self, settings: Settings) -> tuple[str, ...]:
        return ()

    def discover(self, search: Search, settings: Settings) -> Proposal:
        return Proposal(workloads=(), notes={}, left_out=())

    def signer(self, settings: Settings, mode: Mode) -> Signer:
        return open_signer(f"file:{self.world.key}")

    def own_principals(self, access: World) -> tuple[str, ...]:
        return self.world.own

    def missing_permissions(self, access: World, needs: Iterable[Need]) -> tuple[str, ...]:
        return self.world.missing

    def policies(
        self, needs: Iterable[Need], workloads: Iterable[Workload], settings: Settings
    ) -> JsonObject:
        return {}


def define_measures() -> None:
    """Register one measure for each phase."""

    class ShutIdentity(Shut, cloud=CLOUD, phase=Phase.IDENTITY_REVOKE, name="shut-identity"):
        group = "identities"

    class EndSessions(Shut, cloud=CLOUD, phase=Phase.IDENTITY_REVOKE, name="end-sessions"):
        group = "identities"
        irreversible = "sessions that ended stay ended"
        last_in_release = True

    class ShutNetwork(Shut, cloud=CLOUD, phase=Phase.NETWORK_ISOLATE, name="shut-network"):
        group = "network"

    class Freeze(Shut, cloud=CLOUD, phase=Phase.ARTIFACT_FREEZE, name="freeze"):
        group = "artifacts"

        def intact(self, target: Target, change: Change) -> Finding:
            return found(Method.CONFIGURATION, "hash", holds=not self.world.open[target.ref])

    class Capture(Shut, cloud=CLOUD, phase=Phase.FORENSIC_CAPTURE, name="capture"):
        group = "evidence_sources"
        preserve_first = True

        def apply(self, target: Target, state: State) -> Change:
            evidence_id = f"{self.context.folder.split('/data/')[1]}/log.jsonl"
            stored = self.context.vault.put(f"{self.context.folder}/log.jsonl", b'{"line": 1}\n')
            exhibit = Exhibit(
                evidence_id=evidence_id,
                kind="log",
                source=target.ref,
                acquired_by="imaginary:Read",
                collected_at=contract.now(),
                stored=stored,
            )
            self.world.open[target.ref] = False
            until = self.context.progress.until
            change = self.done(target, state, changed=True, until=until.isoformat() if until else "")
            return change.model_copy(update={"exhibits": (exhibit,)})


@contextmanager
def imaginary_cloud(root: Path, patch: pytest.MonkeyPatch) -> Iterator[World]:
    """The cloud, instead of the one of that name, with a registry of its own."""
    world = World(root, open=dict.fromkeys(("role", "gateway", "model", "memory"), True))
    generate_key(world.key)
    module = ModuleType("providers.gcp")
    module.PROVIDER = ImaginaryProvider(world)  # type: ignore[attr-defined]
    patch.setitem(sys.modules, "providers.gcp", module)
    patch.setattr(contract, "_REGISTRY", {})
    define_measures()
    yield world


def inventory_file(root: Path, **fields: Any) -> Path:
    """An inventory of one workload."""
    workload = {
        "id": "agent",
        "cloud": CLOUD.value,
        "account": ACCOUNT,
        "region": "nowhere",
        "identities": [{"kind": "thing", "ref": "role"}],
        "network": [{"kind": "thing", "ref": "gateway"}],
        "artifacts": [{"kind": "thing", "ref": "model"}],
        "evidence_sources": [{"kind": "thing", "ref": "memory"}],
    }
    path = root / "workloads.yaml"
    path.write_text(json.dumps({"version": 1, "workloads": [workload | fields]}))
    return path


def settings_for(root: Path, *, guard: GuardSettings | None = None, **fields: Any) -> Settings:
    """Quick settings over that inventory."""
    return Settings(
        inventory=inventory_file(root, **fields),
        proof=ProofSettings(consecutive=3, spacing_seconds=0.05),
        guard=guard or GuardSettings(),
    )


def engine_of(settings: Settings) -> Engine:
    """The production engine over the imaginary cloud."""
    return Engine(CLOUD, settings)
