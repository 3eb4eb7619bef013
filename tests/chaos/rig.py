"""A stack of processes that can be killed part by part while a containment runs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml
from temporalio.client import Client, WorkflowHistory

from drills.stack import CLOUD_WORKERS, CREDENTIAL_PREFIXES, WORKFLOW_WORKER
from firebreak import devserver
from firebreak.connect import ensure_search_attributes
from firebreak.devserver import DevServer
from tests.e2e.scene import Scene

Json = dict[str, Any]
RESPONDER = "firebreak-responder"
CANARIES = ("/.firebreak/", "/firebreak-canary")
PATIENCE = 150.0
POLL = 0.02


@dataclass
class Rig:
    """Temporal with its database on disk, a seeded sandbox, and one worker process for each role."""

    folder: Path
    scene: Scene
    server: DevServer
    sample: Any
    settings: dict[str, str] = field(default_factory=dict)
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def sandbox(self) -> Any:
        """The control API of the cloud's sandbox."""
        return self.scene.sandbox

    @property
    def workload(self) -> str:
        """The sample workload."""
        return str(self.sample.workload_ids[0])

    @property
    def environment(self) -> dict[str, str]:
        """What points a command at this rig."""
        return {
            **os.environ,
            **self.sample.environment(),
            "TEMPORAL_ADDRESS": self.server.address,
            "FIREBREAK_PROOF__SPACING_SECONDS": "0.5",
            "FIREBREAK_LOG_FORMAT": "json",
            **self.settings,
        }

    def start_workers(self) -> None:
        """Start one worker of each role, as an operator would."""
        cloud = self.scene.cloud.value
        for name, command in (("workflows", WORKFLOW_WORKER), (cloud, CLOUD_WORKERS[self.scene.cloud])):
            environment = self.environment
            if name == "workflows":
                environment = {
                    name: value
                    for name, value in environment.items()
                    if not name.startswith(CREDENTIAL_PREFIXES)
                }
            self.workers[name] = self._spawn(*command, environment=environment, log=f"worker-{name}.log")

    def kill_workers(self) -> None:
        """End every worker as a crash of its machine would (SIGKILL)."""
        self._signal(signal.SIGKILL)

    def stop_workers(self) -> None:
        """Ask every worker to stop (SIGTERM), and wait until it has."""
        self._signal(signal.SIGTERM)

    def kill_server(self) -> None:
        """End the Temporal server as a crash would, with its database left on disk."""
        self.server.kill()

    async def restart_server(self) -> None:
        """Start the server again on the same port and database."""
        port, ui = (int(each.rsplit(":", 1)[1]) for each in (self.server.address, self.server.ui))
        self.server = devserver.launch(port, ui, self.folder / "temporal.db", self.folder / "temporal.log")
        await devserver.ready(self.server)

    def contain(self) -> Containing:
        """``firebreak contain --wait --json`` as a process of its own."""
        arguments = ("contain", self.workload, "--reason", "chaos", "--by", "alice", "--wait", "--json")
        output = self.folder / f"contain-{time.monotonic_ns()}.json"
        process = self._spawn(*arguments, environment=self.environment, log="contain.log", output=output)
        return Containing(process, output, self.folder / "contain.log")

    def declare(self, *sources: Json, **fields: Any) -> None:
        """Add evidence sources and fields to the workload's entry in the inventory file."""
        path = self.sample.inventory_path
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        entry = document["workloads"][0]
        entry["evidence_sources"] += sources
        entry.update(fields)
        path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")

    def entry(self) -> Json:
        """The workload's entry in the inventory file, as plain data."""
        document = yaml.safe_load(self.sample.inventory_path.read_text(encoding="utf-8"))
        return dict(document["workloads"][0])

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one ``firebreak`` command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "firebreak", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )

    async def history(self, workflow_id: str) -> WorkflowHistory:
        """Everything that Temporal keeps of a run."""
        client = await Client.connect(self.server.address)
        return await client.get_workflow_handle(workflow_id).fetch_history()

    def wait_for_call(self, operation: str) -> None:
        """Until the responder's first call of an operation has taken effect."""
        position = self.scene.seq()

        def seen() -> bool:
            nonlocal position
            end = self.scene.seq()
            made = self.scene.calls(position)
            position = end
            return any(each.name == operation and each.succeeded and RESPONDER in each.who for each in made)

        wait_until(seen, f"the responder's {operation}")

    def effects(self) -> Counter[str]:
        """How often each mutating operation of the responder changed something in the workload's account."""
        latest: dict[tuple[str, ...], Any] = {}
        effects: Counter[str] = Counter()
        for made in self.scene.calls(0, mutating=True):
            place = (made.name, *made.target)
            if (
                RESPONDER not in made.who
                or not made.succeeded
                or any(each in "".join(place) for each in CANARIES)
            ):
                continue  # the canary is tried anew by every attempt, and removed on release
            # Setting what is set already is no change; creating the same again is.
            again = place in latest and latest[place] == made.given and not self.scene.makes_another(made)
            if not again:
                effects[made.name] += 1
                latest[place] = made.given
        return effects

    def close(self) -> None:
        """Stop what still runs."""
        self.stop_workers()

    def _signal(self, number: signal.Signals) -> None:
        for process in self.workers.values():
            process.send_signal(number)
        for process in self.workers.values():
            process.wait(30)
        self.workers.clear()

    def _spawn(
        self, *arguments: str, environment: dict[str, str], log: str, output: Path | None = None
    ) -> subprocess.Popen[bytes]:
        with (self.folder / log).open("ab") as errors, (output or self.folder / log).open("ab") as result:
            return subprocess.Popen(
                [sys.executable, "-m", "firebreak", *arguments], env=environment, stdout=result, stderr=errors
            )


@dataclass
class Containing:
    """A containment that somebody waits for at a terminal."""

    process: subprocess.Popen[bytes]
    output: Path
    errors: Path

    def finish(self, patience: float = PATIENCE) -> tuple[int, Json]:
        """The exit code and the document of the ended run."""
        code = self.process.wait(patience)
        text = self.output.read_text()
        assert text, f"exit code {code}: {self.errors.read_text()[-3000:]}"
        return code, json.loads(text)


def wait_until(seen: Callable[[], bool], what: str) -> None:
    """Poll until it is so; fails naming it when the time is over."""
    deadline = time.monotonic() + PATIENCE
    while not seen():
        assert time.monotonic() < deadline, f"{what} did not come within {PATIENCE:.0f} s"
        time.sleep(POLL)


def attempts(history: WorkflowHistory) -> dict[int, int]:
    """Attempts of every activity that was started, by the event that scheduled it."""
    started = [
        event.activity_task_started_event_attributes
        for event in history.events
        if event.HasField("activity_task_started_event_attributes")
    ]
    return {each.scheduled_event_id: each.attempt for each in started}


@dataclass
class Memory:
    """The largest resident set of a process, sampled while a block runs."""

    process: psutil.Process
    peak: int = 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Sample in a thread of its own for the length of the block."""
        over = threading.Event()
        thread = threading.Thread(target=self._sample, args=(over,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _sample(self, over: threading.Event) -> None:
        while not over.wait(POLL):
            self.peak = max(self.peak, self.process.memory_info().rss)


async def _prepared(server: DevServer) -> None:
    """A namespace as its administrator leaves it: an alert may come before the first worker."""
    await ensure_search_attributes(await Client.connect(server.address))


@contextmanager
def rig(folder: Path, scene: Scene, settings: dict[str, str] | None = None) -> Iterator[Rig]:
    """A rig on an empty sandbox, for the length of a block."""
    scene.sandbox.reset()
    sample = scene.seed(folder / "workloads.yaml")
    with devserver.dev_server(folder) as server:
        made = Rig(folder, scene, server, sample, settings or {})
        asyncio.run(_prepared(server))
        try:
            yield made
        finally:
            made.close()
            if made.server is not server:
                made.server.process.terminate()
                made.server.process.wait()
