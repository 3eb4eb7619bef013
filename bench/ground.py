"""Where benchmarks run: sandbox, Temporal server and worker, each a process of its own, on loopback only."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import yaml
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from bench.processes import Running
from drills.sandbox.aws.client import SandboxClient, start_sandbox
from drills.sandbox.aws.sample import Sample, seed
from firebreak import devserver, inventory, runs, start
from firebreak.connect import connect, ensure_search_attributes
from firebreak.devserver import DevServer
from firebreak.measure import now
from firebreak.model import Cloud, Mode, Verdict, Workload
from firebreak.record import Ended, Trigger
from firebreak.settings import Settings, load_settings
from workflows.containment import Containment

PRODUCT_WORKER = ("-m", "firebreak", "worker", "--role", "workflows,aws")

_LONGER_THAN_ANY_RUN = 300.0
_ASK_AGAIN_SECONDS = 0.1
_SERVER_AWAY = {RPCStatusCode.UNAVAILABLE, RPCStatusCode.UNKNOWN, RPCStatusCode.CANCELLED}


def scripted_worker(steps: int) -> tuple[str, ...]:
    """The command of a worker whose activities do nothing."""
    return ("-m", "bench.scripted", str(steps))


def nobody(workload_id: str) -> Workload:
    """A workload for scripted workers, which know none."""
    return Workload(id=workload_id, cloud=Cloud.AWS, account="222222222222", region="eu-central-1")


FAST_PROOF = {"FIREBREAK_PROOF__SPACING_SECONDS": "0.5"}
"""Less waiting between observations, so that there is less to hide an overhead in. Three in a row stay."""

PATIENT_BUDGETS = dict.fromkeys(
    ("identity_revoke", "network_isolate", "artifact_freeze", "forensic_capture"), 3600
)
"""Under load the sandbox is the limit; nothing may end for that reason."""


@dataclass
class Ground:
    """A seeded sandbox, a Temporal server, and what is needed to run workers and containments there."""

    folder: Path
    server: DevServer
    sandbox: SandboxClient | None
    sample: Sample | None
    environment: dict[str, str]
    stack: ExitStack

    def worker(self, command: tuple[str, ...] = PRODUCT_WORKER) -> Running:
        """Start a worker process; it is ended with the ground."""
        log = self.folder / "worker.log"
        return self.stack.enter_context(running(command, self.environment, log))

    @property
    def aws(self) -> SandboxClient:
        """The sandbox, where there is one."""
        assert self.sandbox is not None
        return self.sandbox

    def calls_so_far(self) -> Counter[str]:
        """How many calls the sandbox has answered, by service."""
        return Counter(self.aws.call_counts())

    def calls_since(self, mark: Counter[str]) -> dict[str, int]:
        """How many it has answered since then, by service."""
        return dict((self.calls_so_far() - mark).most_common())

    def settings(self) -> Settings:
        """The settings that the processes have."""
        return load_settings()

    def workloads(self) -> list[Workload]:
        """Every seeded workload, in order of id."""
        return list(inventory.load(self.settings().inventory).workloads.values())


@contextmanager
def ground(
    *, copies: int = 1, proof: Mapping[str, str] | None = None, in_memory: bool = True, sandboxed: bool = True
) -> Iterator[Ground]:
    """Set up for the length of a block. One copy is the full sample workload, more are lean ones."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="firebreak-bench-")))
        server = stack.enter_context(devserver.dev_server(folder / "temporal", memory=in_memory))
        environment = {**os.environ, "TEMPORAL_ADDRESS": server.address, "FIREBREAK_LOG_LEVEL": "WARNING"}
        environment.update(proof or {})
        sandbox, sample = None, None
        if sandboxed:
            sandbox = stack.enter_context(start_sandbox(log=folder / "sandbox.log"))
            sample = seed(sandbox, folder / "workloads.yaml", copies=copies)
            environment.update(sample.environment())
            if copies > 1:
                _set_budgets(sample.inventory_path)
        os.environ.update(environment)  # this process is a client of the same ground
        yield Ground(folder, server, sandbox, sample, environment, stack)


@contextmanager
def running(command: tuple[str, ...], environment: Mapping[str, str], log: Path) -> Iterator[Running]:
    """A Python process for the length of a block; what it says goes to a log."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, *command], env=dict(environment), stdout=output, stderr=output
        )
    try:
        yield Running(process)
    finally:
        process.terminate()
        process.wait()


def _set_budgets(path: Path) -> None:
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    for workload in document["workloads"]:
        workload["budgets"] = dict(PATIENT_BUDGETS)
    path.write_text(yaml.safe_dump(document), encoding="utf-8")


async def connected(place: Ground) -> Client:
    """A client, once the server knows our search attributes."""
    client = await connect(place.settings())
    await ensure_search_attributes(client)
    return client


async def warm_up(client: Client, place: Ground, workload: Workload) -> float:
    """Wait until the worker answers a preview, which loads what a first containment would load."""
    began = time.monotonic()
    await start.preview(client, place.settings(), workload, trigger())
    return time.monotonic() - began


def trigger() -> Trigger:
    """An alert that came in now."""
    return Trigger(source="bench", reason="benchmark", requested_by="bench", received_at=now())


@dataclass(frozen=True)
class Contained:
    """One containment and how long it took, seen from outside."""

    handle: WorkflowHandle[Containment, Ended]
    incident_id: str
    verdict: str
    seconds: float


async def contain(client: Client, place: Ground, workload: Workload, mode: Mode = Mode.LIVE) -> Contained:
    """Contain a workload and wait for the end of the run, the sealed package included."""
    incident_id = start.new_incident_id()
    began = time.perf_counter()
    started = await start.contain(
        client, place.settings(), workload, trigger(), incident_id=incident_id, mode=mode
    )
    handle: WorkflowHandle[Containment, Ended] = client.get_workflow_handle(
        started.workflow_id, run_id=started.run_id, result_type=Ended
    )
    watcher = asyncio.create_task(_complain_when_stuck(handle))
    ended = await _outlasting_the_server(handle)
    seconds = time.perf_counter() - began
    watcher.cancel()
    if ended.verdict is not Verdict.CONTAINED:
        document = await runs.status(handle)
        say(f"  {workload.id} {ended.verdict}: {document.refusals} {document.warnings} {document.notes}")
    return Contained(handle, incident_id, ended.verdict, seconds)


async def _outlasting_the_server(handle: WorkflowHandle[Containment, Ended]) -> Ended:
    """The end of a run, also where its server is killed and started again in between."""
    while True:
        try:
            return await handle.result()
        except RPCError as error:
            if error.status not in _SERVER_AWAY:
                raise
        await asyncio.sleep(_ASK_AGAIN_SECONDS)


async def _complain_when_stuck(handle: WorkflowHandle[Containment, Ended]) -> None:
    """Stop a run that waits for a person: nobody sits at a benchmark, and it must say why it failed."""
    while True:
        await asyncio.sleep(_LONGER_THAN_ANY_RUN)
        document = await runs.status(handle)
        if document.awaiting:
            open_steps = [m for p in document.phases for m in p.measures if m.verdict is Verdict.UNPROVEN]
            say(f"  stuck: {document.awaiting.reason}\n  {[m.model_dump_json() for m in open_steps]}")
            await handle.terminate("benchmark: nobody is here to decide")


def say(text: str) -> None:
    """Show progress."""
    click.echo(text, err=True)


def write(name: str, result: Mapping[str, Any]) -> None:
    """Keep a result."""
    path = Path(__file__).parent / "results" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    say(f"wrote {path.relative_to(Path(__file__).parent.parent)}")
