"""A network with flow logs, a canary and a machine of two interfaces; and one measure's life on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from drills.sandbox.azure.network.build import Builder, Watched, rule, watched_network
from firebreak.measure import measure
from firebreak.model import Change, Finding, JsonObject, Method, Workload
from tests.providers.driving import ManyTargets

PATIENCE_SECONDS = 60
QUARANTINE = "azure.quarantine-nsg"
OUTSIDE = "198.51.100.10"
FLOW_TIMES: JsonObject = {"interval_seconds": 1, "continues_seconds": 5}
# Every action that ends, restarts or takes away a workload.
DESTRUCTIVE = ("powerOff", "deallocate", "restart", "virtualMachines/delete", "networkInterfaces/delete")


@dataclass
class Ground:
    """What the network tests act on."""

    world: Any
    build: Builder
    watched: Watched
    shared: str
    """A subnet with the peer in it."""
    own: str
    """A subnet that is the workload's alone, by nothing but its contents."""
    group: str
    public: str
    first: str
    second: str
    peer: str
    machine: str

    @classmethod
    def made(cls, world: Any) -> Ground:
        token, name = world.token(), f"net-{uuid4().hex[:8]}"
        build = Builder(
            lambda ref, body, version: world.sandbox.arm("PUT", ref, version, body, token=token),
            world.group(name),
            "westeurope",
        )
        watched = watched_network(build, name, f"flows{uuid4().hex[:12]}")
        shared = build.subnet(watched.network, "shared", "10.42.1.0/24")
        own = build.subnet(watched.network, "own", "10.42.2.0/24")
        group = build.security_group(f"{name}-agent", rule("in", 100, port="443"))
        public = build.public_address(f"{name}-public")
        first = build.interface(
            f"{name}-first", shared, "10.42.1.10", "10.42.1.11", group=group, public={"10.42.1.11": public}
        )
        second = build.interface(f"{name}-second", own, "10.42.2.10", group=group)
        peer = build.interface(f"{name}-peer", shared, "10.42.1.20")
        build.machine(f"{name}-peer", peer)
        machine = build.machine(f"{name}-agent", first, second)
        world.grant(world.responder, "Storage Blob Data Reader", watched.account)
        return cls(world, build, watched, shared, own, group, public, first, second, peer, machine)

    def watch(self, **flow_log: Any) -> dict[str, list[JsonObject]]:
        """The instruments of the proof, as an inventory declares them."""
        declared = {"kind": "flow-log", "ref": self.watched.flow_log, **FLOW_TIMES, **flow_log}
        return {
            "network": [{"kind": "canary", "ref": self.watched.canary}],
            "evidence_sources": [declared],
        }

    def get(self, ref: str, version: str = "2025-07-01") -> JsonObject:
        return dict(self.world.admin().get(ref, version) or {})

    def group_of(self, nic: str) -> str:
        found = self.get(nic)["properties"].get("networkSecurityGroup") or {}
        return str(found.get("id", ""))

    def public_address(self) -> str:
        return str(self.get(self.public)["properties"]["ipAddress"])

    def connect(self, source: str, destination: str, port: int = 443) -> JsonObject:
        body = {"source": source, "destination": destination, "port": port}
        return dict(self.world.sandbox.request("POST", "/net/connect", body))

    def allowed(self, source: str, destination: str, port: int = 443) -> bool:
        return bool(self.connect(source, destination, port)["allowed"])

    def opened(self, source: str, destination: str, port: int = 443) -> str:
        answer = self.connect(source, destination, port)
        assert answer["allowed"], answer["reason"]
        return str(answer["connection_id"])

    def delivered(self, connection: str) -> bool:
        answer = self.world.sandbox.request("POST", "/net/send", {"connection_id": connection})
        return bool(answer["delivered"] and answer["acknowledged"])


class Steps(ManyTargets):
    """One measure on everything it applies to, as a worker sees it: after a trip through JSON."""

    def __init__(
        self,
        world: Any,
        name: str,
        groups: Mapping[str, Any],
        *,
        workload: Workload | None = None,
        owner: str = "agent",
    ) -> None:
        self.sandbox = world.sandbox
        made = workload or world.workload(id=owner, **groups)
        self.workload = Workload.model_validate_json(made.model_dump_json())
        self.context = world.context(self.workload)
        self.measure = measure(name)(self.context)
        declared = self.measure.applies_to(self.workload)
        self.targets = [found for each in declared for found in self.measure.discover(each)]

    def proved(self, changes: list[Change]) -> list[Finding]:
        """Observe until everything holds, or the time is over; between two looks flow logs are written."""
        findings: list[Finding] = []
        for _ in range(PATIENCE_SECONDS):
            findings = self.verify(changes)
            if all(each.holds for each in findings):
                return findings
            self.flow_logs_are_written()
        pytest.fail(f"not proved: {[each.observed for each in findings if not each.holds]}")

    def flow_logs_are_written(self) -> None:
        """Let the time pass after which they are written once more."""
        self.sandbox.advance(FLOW_TIMES["interval_seconds"])

    def revert(self, changes: list[Change]) -> list[Finding]:
        return [self.measure.revert(each) for each in changes]


def merged(*parts: dict[str, list[JsonObject]]) -> dict[str, list[JsonObject]]:
    """Inventory groups put together."""
    whole: dict[str, list[JsonObject]] = {}
    for part in parts:
        for name, resources in part.items():
            whole.setdefault(name, []).extend(resources)
    return whole


def nic(ref: str) -> dict[str, list[JsonObject]]:
    return {"network": [{"kind": "network-interface", "ref": ref}]}


def quarantine(ground: Ground, declared: dict[str, list[JsonObject]], **choices: Any) -> Steps:
    return Steps(ground.world, QUARANTINE, merged(declared, ground.watch()), **choices)


def without_etag(document: JsonObject) -> JsonObject:
    return {name: value for name, value in document.items() if name != "etag"}


def rules_of(findings: list[Finding]) -> tuple[Finding, Finding]:
    effective, verified = (each for each in findings if each.method is Method.EFFECTIVE_POLICY)
    return effective, verified
