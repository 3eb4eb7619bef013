"""Where measures are tried without Temporal: a cloud's seeded sandbox, and the product's own way to it."""

from __future__ import annotations

import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from drills.sandbox.aws.client import SandboxClient
from drills.sandbox.aws.client import start_sandbox as start_aws
from drills.sandbox.aws.sample import seed as seed_aws
from drills.sandbox.aws.sample.clients import Admin
from drills.sandbox.azure.client import AzureSandbox
from drills.sandbox.azure.client import start_sandbox as start_azure
from drills.sandbox.azure.sample.seeding import FLOW_AGGREGATION_SECONDS
from drills.sandbox.azure.sample.seeding import seed as seed_azure
from drills.sandbox.sample import Sample
from firebreak import inventory
from firebreak.declarations import of_kind
from firebreak.engine import Engine
from firebreak.measure import Measure, now
from firebreak.model import Cloud, JsonObject, Mode, Run, Workload
from firebreak.settings import load_settings
from providers.aws.network.flowrecords import group_of
from providers.aws.resources import FlowLog


@dataclass(frozen=True)
class Ground(ABC):
    """A seeded sandbox."""

    engine: Engine
    sample: Sample

    @abstractmethod
    def seq(self) -> int:
        """Where the sandbox's call log ends now."""

    @abstractmethod
    def effects(self, since: int) -> list[str]:
        """What Firebreak changed of the workload since then."""

    @abstractmethod
    def stored(self, since: int) -> list[str]:
        """What Firebreak wrote to the evidence store since then."""

    @abstractmethod
    def let_time_pass(self) -> float:
        """Give logs the time to be written; returns the seconds that went by."""

    @abstractmethod
    def refuse(self, effect: str, after: int) -> None:
        """Deny every change of that name, once so many have been let through."""

    @abstractmethod
    def relent(self) -> None:
        """Deny nothing any more."""

    def workloads(self) -> list[Workload]:
        """Every workload, the sample agent first."""
        loaded = inventory.load(self.sample.inventory_path)
        return [loaded.workload(each) for each in self.sample.workload_ids]

    def run(self, workload_id: str, incident: str) -> Run:
        """A containment of that workload, triggered now."""
        workload = inventory.load(self.sample.inventory_path).workload(workload_id)
        return Run(incident_id=incident, mode=Mode.LIVE, workload=workload, triggered_at=now())

    def measure(self, kind: type[Measure[Any]], run: Run) -> Measure[Any]:
        """The measure as a worker that has never seen the run would make it."""
        folder = f"{run.incident_id}/data/phases/{int(kind.phase)}/{kind.name}/{secrets.token_hex(4)}"
        return kind(self.engine.context(run, folder))


@dataclass(frozen=True)
class AwsGround(Ground):
    """The AWS sandbox: calls are told apart by the account they are made in."""

    sandbox: SandboxClient

    def seq(self) -> int:
        return self.sandbox.calls().next

    def effects(self, since: int) -> list[str]:
        return self._in(self.sample.workload_account, since)

    def stored(self, since: int) -> list[str]:
        return self._in(self.sample.evidence_account, since)

    def refuse(self, effect: str, after: int) -> None:
        service, _, operation = effect.partition(":")
        self.sandbox.inject("denied", service=service, operation=operation, after=after, times=-1)

    def relent(self) -> None:
        self.sandbox.clear_faults()

    def let_time_pass(self) -> float:
        time.sleep(SLOW_TO_SHOW)
        return SLOW_TO_SHOW

    def _in(self, account: str, since: int) -> list[str]:
        calls = self.sandbox.calls(since, mutating=True).calls
        return [
            f"{c['service']}:{c['operation']}" for c in calls if c["account"] == account and c["status"] < 400
        ]


@dataclass(frozen=True)
class AzureGround(Ground):
    """The Azure sandbox: calls are told apart by whether responder or keeper of evidence makes them."""

    sandbox: AzureSandbox
    responder: str
    keeper: str

    def seq(self) -> int:
        return self.sandbox.calls().next

    def effects(self, since: int) -> list[str]:
        return self._by(self.responder, since)

    def stored(self, since: int) -> list[str]:
        return self._by(self.keeper, since)

    def refuse(self, effect: str, after: int) -> None:
        self.sandbox.inject("denied", operation=effect, after=after, times=-1)

    def relent(self) -> None:
        self.sandbox.clear_faults()

    def let_time_pass(self) -> float:
        self.sandbox.advance(FLOW_AGGREGATION_SECONDS)
        return float(FLOW_AGGREGATION_SECONDS)

    def _by(self, principal: str, since: int) -> list[str]:
        calls: list[JsonObject] = self.sandbox.calls(since, mutating=True).calls
        own = (call for call in calls if call["principal"] == principal or call["host"] in PIPELINES)
        return [str(call["operation"]) for call in own if call["status"] < 400]


SLOW_TO_SHOW = 0.5
FLOW_LOG_SECONDS = 60.0
PIPELINES = {"github", "devops"}
"""Hosts with accounts of their own, which the responder alone uses here."""


@contextmanager
def grounds(folder: Path) -> Iterator[Callable[[Cloud], Ground]]:
    """A ground for each cloud that is asked for, for the length of a block."""
    made: dict[Cloud, Ground] = {}
    with ExitStack() as stack:
        makers = {Cloud.AWS: _aws, Cloud.AZURE: _azure}

        def of(cloud: Cloud) -> Ground:
            if cloud not in made:
                made[cloud] = makers[cloud](stack, folder)
            return made[cloud]

        yield of


def _aws(stack: ExitStack, folder: Path) -> Ground:
    sandbox = stack.enter_context(start_aws())
    sample = seed_aws(sandbox, folder / "aws.yaml", variants=True)
    _use(stack, sample.environment())
    # Off in the sample, where the measure is skipped with that reason.
    sandbox.request("POST", "/detective", {"account": sample.workload_account, "region": sample.region})
    ground = AwsGround(Engine(Cloud.AWS, load_settings()), sample, sandbox)
    await_flow_log(sandbox, ground.workloads()[0])
    return ground


def await_flow_log(sandbox: SandboxClient, workload: Workload) -> None:
    """Return when its network is on record, as that of a workload that has run for a while is."""
    (declared,) = of_kind(workload.network, FlowLog)
    logs = Admin.of(sandbox, workload.account, workload.region).client("logs")
    deadline = time.monotonic() + FLOW_LOG_SECONDS
    while not logs.filter_log_events(logGroupName=group_of(declared.ref))["events"]:
        assert time.monotonic() < deadline, "the sandbox writes no flow log"
        time.sleep(SLOW_TO_SHOW)


def _azure(stack: ExitStack, folder: Path) -> Ground:
    sandbox = stack.enter_context(start_azure())
    sample = seed_azure(sandbox, folder / "azure.yaml", variants=True)
    _use(stack, sample.environment())
    return AzureGround(
        Engine(Cloud.AZURE, load_settings()),
        sample,
        sandbox,
        sample.responder.object_id,
        sample.keeper.object_id,
    )


def _use(stack: ExitStack, environment: dict[str, str]) -> None:
    patch = stack.enter_context(pytest.MonkeyPatch.context())
    for name, value in environment.items():
        patch.setenv(name, value)
