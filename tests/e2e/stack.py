"""A seeded sandbox with working workers, and the shorthands with which tests play an operator on it."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError

from drills.sandbox.rogue import running_rogue
from firebreak import inventory, runs, start
from firebreak.connect import connect, ensure_search_attributes
from firebreak.devserver import DevServer
from firebreak.measure import now
from firebreak.model import Cloud, JsonObject, Mode, Verdict, Workload
from firebreak.planning import Preview
from firebreak.record import Decision, MeasureStatus, RunStatus, Trigger
from firebreak.settings import Settings, load_settings
from firebreak.start import Started
from firebreak.worker import Role, build
from tests.e2e.rogue import Rogue
from tests.e2e.scene import Made, Scene
from tests.e2e.waiting import PATIENCE, until

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
QUICK = {"FIREBREAK_PROOF__SPACING_SECONDS": "0.2", "FIREBREAK_LOG_LEVEL": "WARNING"}
"""Settings that only save time: as many observations as in production, closer together."""


class Loop:
    """An event loop in a thread of its own, so that tests and subprocesses stay plain and synchronous."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stack", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T], patience: float = PATIENCE) -> T:
        """The result of a coroutine; it is cancelled when it takes too long."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(patience)
        finally:
            future.cancel()

    def close(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@dataclass(frozen=True)
class Command:
    """How a command line ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> JsonObject:
        """Standard output, which must be one JSON document and nothing else."""
        return dict(json.loads(self.out))


@dataclass
class Stack:
    """Accounts, Temporal and workers; everything a test needs to play the operator."""

    scene: Scene
    sample: Any
    """The cloud's own Sample (drills/sandbox/sample.py says what all have in common)."""
    client: Client
    settings: Settings
    environment: dict[str, str] = field(repr=False)
    loop: Loop = field(repr=False)
    started: set[str] = field(default_factory=set)

    @property
    def cloud(self) -> Cloud:
        """Where the workloads are."""
        return self.scene.cloud

    @property
    def sandbox(self) -> Any:
        """The control API of the cloud's sandbox."""
        return self.scene.sandbox

    @property
    def workload_id(self) -> str:
        """The first workload of the inventory."""
        return str(self.sample.workload_ids[0])

    def workload(self, workload_id: str = "") -> Workload:
        """A workload as the inventory file has it now."""
        return inventory.load(self.sample.inventory_path).workload(workload_id or self.workload_id)

    def edit(self, workload_id: str = "", /, **fields: Any) -> None:
        """Change a workload in the inventory file; a field that becomes None is taken out."""
        path = self.sample.inventory_path
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        entry = next(w for w in document["workloads"] if w["id"] == (workload_id or self.workload_id))
        entry.update(fields)
        for name in [name for name, value in entry.items() if value is None]:
            del entry[name]
        path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")

    @contextmanager
    def edited(self, workload_id: str = "", /, **fields: Any) -> Iterator[None]:
        """Change a workload for the length of a block."""
        path = self.sample.inventory_path
        original = path.read_text(encoding="utf-8")
        self.edit(workload_id, **fields)
        try:
            yield
        finally:
            path.write_text(original, encoding="utf-8")

    def entry(self, workload_id: str = "") -> JsonObject:
        """A workload's entry in the inventory file, as plain data."""
        document = yaml.safe_load(self.sample.inventory_path.read_text(encoding="utf-8"))
        return next(dict(w) for w in document["workloads"] if w["id"] == (workload_id or self.workload_id))

    def start(
        self,
        workload_id: str = "",
        *,
        incident: str = "",
        mode: Mode = Mode.LIVE,
        trigger: Trigger | None = None,
    ) -> Started:
        """Start a containment as the CLI does."""
        return self.loop.run(self._start(workload_id, incident, mode, trigger or alert()))

    def start_at_once(self, *triggers: Trigger, workload_id: str = "") -> list[Started]:
        """Start several containments of one workload at the same moment."""

        async def together() -> list[Started]:
            return await asyncio.gather(*(self._start(workload_id, "", Mode.LIVE, each) for each in triggers))

        return self.loop.run(together())

    def handle(self, started: Started) -> WorkflowHandle[Any, Any]:
        """The workflow of a started run."""
        return self.client.get_workflow_handle(started.workflow_id, run_id=started.run_id or None)

    def status(self, started: Started) -> RunStatus:
        """The public document of a run."""
        return self.loop.run(runs.status(self.handle(started)))

    def until(
        self, started: Started, condition: Callable[[RunStatus], bool], patience: float = PATIENCE
    ) -> RunStatus:
        """Wait until the document satisfies the condition."""
        return until(lambda: self.status(started), condition, patience)

    def settled(self, started: Started, patience: float = PATIENCE) -> RunStatus:
        """Wait until the run has ended or asks a person."""
        return self.until(started, lambda d: d.finished or d.awaiting is not None, patience)

    def ended(self, started: Started, patience: float = PATIENCE) -> RunStatus:
        """Wait until the workflow itself is over, its last pages included."""
        self.loop.run(self.handle(started).result(), patience)
        return self.status(started)

    def contain(self, workload_id: str = "", *, patience: float = PATIENCE, **how: Any) -> RunStatus:
        """Contain a workload, until the run has ended or asks a person."""
        return self.settled(self.start(workload_id, **how), patience)

    def decide(self, incident: str, kind: str, by: str = "alice", reason: str = "as discussed") -> Decision:
        """Hand a person's decision to a run."""
        decision = Decision.model_validate({"by": by, "reason": reason, "kind": kind})
        return self.loop.run(runs.decide(self.client, incident, decision))

    def preview(self, workload_id: str = "") -> Preview:
        """What a containment would do."""
        return self.loop.run(start.preview(self.client, self.settings, self.workload(workload_id), alert()))

    def release(self, incident: str, *, by: str = "alice", approved_by: str = "bob") -> RunStatus:
        """Release a contained workload, to the end."""
        started = self.loop.run(
            start.release(
                self.client, self.settings, incident, by=by, approved_by=approved_by, reason="clean again"
            )
        )
        self.started.add(started.workflow_id)
        return self.ended(started)

    def cli(self, *arguments: str, patience: float = PATIENCE, **variables: str) -> Command:
        """Run the real command line in a process of its own."""
        done = subprocess.run(
            [sys.executable, "-m", "firebreak", *arguments],
            cwd=ROOT,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=patience,
            check=False,
        )
        return Command(done.returncode, done.stdout, done.stderr)

    def seq(self) -> int:
        """Where the sandbox's call log ends now."""
        return self.scene.seq()

    def mutating(self, since: int, account: str = "") -> list[Made]:
        """Calls that could change something, in every account or in one, since a point of the log."""
        made = self.scene.calls(since, mutating=True)
        return [each for each in made if account in {"", each.account}]

    def effects(self, since: int, account: str = "") -> list[str]:
        """The names of those that succeeded: in the workload's account, unless another is named."""
        made = self.mutating(since, account or self.sample.workload_account)
        return [each.name for each in made if each.succeeded]

    @contextmanager
    def rogue(self) -> Iterator[Rogue]:
        """The compromised agent, alive for the length of a block, with every channel of it at work."""
        assert self.sample.rogue_config_path is not None
        with running_rogue(self.sample.rogue_module, self.sandbox.url, self.sample.rogue_config_path):
            rogue = Rogue(self.sandbox)
            rogue.until(lambda channels: all(c["successes"] for c in channels.values()))
            yield rogue

    @contextmanager
    def reconfigured(self, **variables: str) -> Iterator[Stack]:
        """The same accounts under other settings, with workers of their own, for the length of a block."""
        own = {"FIREBREAK_TASK_QUEUE": f"test-{secrets.token_hex(6)}", **variables}
        with pytest.MonkeyPatch.context() as patch:
            for name, value in own.items():
                patch.setenv(name, value)
            other = replace(self, settings=load_settings(), environment={**os.environ}, started=set())
            with _working(other, self.scene.roles):
                try:
                    yield other
                finally:
                    other.end_runs()

    def end_runs(self) -> None:
        """Terminate what a test left running, so that the next one starts a run of its own."""

        async def terminate() -> None:
            for workflow_id in self.started:
                try:
                    await self.client.get_workflow_handle(workflow_id).terminate("the test is over")
                except RPCError:
                    continue  # it has ended by itself

        self.loop.run(terminate())
        self.started.clear()

    async def _start(self, workload_id: str, incident: str, mode: Mode, trigger: Trigger) -> Started:
        started = await start.contain(
            self.client,
            self.settings,
            self.workload(workload_id),
            trigger,
            incident_id=incident or start.new_incident_id(),
            mode=mode,
        )
        self.started.add(started.workflow_id)
        return started


def alert(**fields: Any) -> Trigger:
    """An alert that came in now."""
    usual = {"source": "siem", "reason": "exfiltration", "requested_by": "riley", "received_at": now()}
    return Trigger.model_validate(usual | fields)


def measures_of(document: RunStatus) -> list[MeasureStatus]:
    """Every measure of a run, in order."""
    return [measure for phase in document.phases for measure in phase.measures]


def unproved(document: RunStatus) -> dict[str, str]:
    """What holds a run back: each unproved measure with its error or last findings."""
    return {
        f"{m.name} {m.target}": m.error or "; ".join(f.observed for f in m.findings)
        for m in measures_of(document)
        if m.verdict is not Verdict.CONTAINED
    }


def named(document: RunStatus, name: str) -> list[MeasureStatus]:
    """A measure of a run, on each of its targets."""
    return [measure for measure in measures_of(document) if measure.name == name]


def assert_contained(document: RunStatus) -> None:
    """Contained; else the failure says why not."""
    assert document.verdict is Verdict.CONTAINED, (unproved(document), document.refusals, document.awaiting)


@contextmanager
def running_stack(
    scene: Scene,
    server: DevServer,
    folder: Path,
    *,
    settings: Mapping[str, str] | None = None,
    workers: str | None = None,
    **how: Any,
) -> Iterator[Stack]:
    """Empty and seed the sandbox, and run workers on it in this process; ``how`` is the seed's.

    With ``workers=""`` there are none: the test starts its own.
    """
    scene.sandbox.reset()
    sample = scene.seed(folder / "workloads.yaml", **how)
    own = {
        **sample.environment(),
        "TEMPORAL_ADDRESS": server.address,
        "FIREBREAK_TASK_QUEUE": f"test-{secrets.token_hex(6)}",
        **QUICK,
        **(settings or {}),
    }
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in own.items():
            patch.setenv(name, value)
        loop = Loop()
        stack.callback(loop.close)
        loaded = load_settings()
        client = loop.run(connect(loaded))
        loop.run(ensure_search_attributes(client))
        running = Stack(scene, sample, client, loaded, {**os.environ}, loop)
        stack.enter_context(_working(running, scene.roles if workers is None else workers))
        stack.callback(running.end_runs)
        yield running


@contextmanager
def _working(stack: Stack, roles: str) -> Iterator[None]:
    """The product's own workers for the length of a block."""
    workers = AsyncExitStack()

    async def begin() -> None:
        for each in build(stack.client, stack.settings, Role.parse(roles), "tests") if roles else ():
            await workers.enter_async_context(each)

    stack.loop.run(begin())
    try:
        yield
    finally:
        stack.loop.run(workers.aclose())
