"""One cloud's open resources in one process: provider, evidence store, threads, frozen workloads.

No Temporal: activities adapt it, and the benchmark's plain script drives it directly.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from hashlib import sha256
from threading import Lock
from typing import Any, TypeVar

from firebreak.evidence.vault import Vault
from firebreak.inventory import Inventory, load, workload_from_json
from firebreak.measure import Context, Measure, Progress, measure
from firebreak.model import Change, Cloud, FrozenModel, JsonObject, Run, State, Stored, Target, Workload
from firebreak.provider import Provider, provider
from firebreak.record import PlannedStep, RunRef
from firebreak.settings import Settings
from firebreak.turnstile import Turnstile

T = TypeVar("T")

READERS = 8
"""Documents read at one time; sealing read 60 of them one after the other, 9 s at 150 ms a call."""

STATES = 5000
"""Pre-states kept at hand: of 200 runs with 25 steps each, in some MiB."""


class Engine:
    """Opens runs of one cloud and performs blocking calls off the event loop."""

    def __init__(self, cloud: Cloud, settings: Settings) -> None:
        self.cloud = cloud
        self.settings = settings
        self.pool = ThreadPoolExecutor(settings.worker.threads, thread_name_prefix=f"firebreak-{cloud}")
        self._turnstile = Turnstile(settings.worker.threads)
        self._workloads: dict[str, Workload] = {}
        self._states: dict[str, State] = {}
        self.unstored: dict[str, Change] = {}
        """Changes made by this process that the evidence store did not take yet, by folder of the step."""
        self._inventory: tuple[bytes, Inventory] | None = None
        self._reading = Lock()
        self._keeping = Lock()

    @cached_property
    def provider(self) -> Provider:
        """The cloud's provider; importing it loads the cloud's SDK."""
        return provider(self.cloud)

    @cached_property
    def vault(self) -> Vault:
        """The evidence store."""
        return self.provider.vault(self.settings)

    def inventory(self) -> Inventory:
        """The inventory, checked again only when the file changed: 1,000 workloads take 0.7 s of CPU."""
        path = self.settings.inventory
        with self._reading:
            content = path.read_bytes() if path.is_file() else b""
            if self._inventory is None or self._inventory[0] != content:
                self._inventory = (content, load(path))
            return self._inventory[1]

    async def blocking(self, call: Callable[[], T]) -> T:
        """Run a blocking SDK call in a thread; where threads are short, the most urgent call comes first."""
        async with self._turnstile:
            return await asyncio.get_running_loop().run_in_executor(self.pool, call)

    def open(self, ref: RunRef) -> Run:
        """The run behind a reference; the workload is read from the evidence store once per process."""
        return Run(
            incident_id=ref.incident_id,
            mode=ref.mode,
            workload=self._workload(ref.workload),
            triggered_at=ref.triggered_at,
        )

    def context(self, run: Run, folder: str, progress: Progress | None = None) -> Context[Any]:
        """What measures of that run work with."""
        access = self.provider.access(run, self.settings, self.vault)
        progress = progress or Progress()
        return Context(run=run, access=access, vault=self.vault, folder=folder, progress=progress)

    def measure(self, ref: RunRef, step: PlannedStep, progress: Progress | None = None) -> Measure[Any]:
        """The step's measure, ready to act."""
        return measure(step.measure)(self.context(self.open(ref), folder(ref.incident_id, step), progress))

    def put(self, key: str, value: FrozenModel | JsonObject | list[Any]) -> Stored:
        """Store a JSON document as evidence."""
        body = value.canonical() if isinstance(value, FrozenModel) else json.dumps(value, indent=1).encode()
        return self.vault.put(key, body)

    def put_workload(self, key: str, workload: Workload) -> Stored:
        """Store the workload of a run, and keep it at hand: see ``put_state``."""
        stored = self.put(key, workload)
        self._workloads[stored.sha256] = workload
        return stored

    def put_state(self, key: str, state: State) -> Stored:
        """Store a pre-state, and keep it at hand: a store that is away later must not hold up the change."""
        stored = self.put(key, state)
        with self._keeping:  # a plan stores its pre-states side by side
            self._states[stored.sha256] = state
            while len(self._states) > STATES:
                self._states.pop(next(iter(self._states)))  # the oldest
        return stored

    def state(self, stored: Stored) -> State:
        """A pre-state; read from the evidence store where another process planned the run."""
        return self._states.get(stored.sha256) or State.model_validate_json(self.get(stored))

    def get(self, stored: Stored) -> bytes:
        """A small document, whole; its hash is checked."""
        return b"".join(self.vault.read(stored))

    def newest(self, key: str) -> bytes | None:
        """The newest version of a document, by its key; None where there is none."""
        uri = self.vault.uri(key)
        return self.get(self.vault.find(uri)) if uri in self.vault.list(key) else None

    def get_all(self, stored: Sequence[Stored]) -> list[bytes]:
        """Several documents, in their order, read side by side; blocking."""
        with ThreadPoolExecutor(READERS) as readers:  # not ``pool``: its threads may all be waiting here
            return list(readers.map(self.get, stored))

    def _workload(self, stored: Stored) -> Workload:
        if stored.sha256 not in self._workloads:
            self._workloads[stored.sha256] = workload_from_json(self.get(stored))
        return self._workloads[stored.sha256]


def slug(target: Target) -> str:
    """A file name for a target: readable, and unique by a short hash of its whole key."""
    tail = re.sub(r"[^A-Za-z0-9._-]+", "-", target.ref.rsplit(":", 1)[-1]).strip("-.")[-48:]
    return f"{tail or target.kind}-{sha256(target.key.encode()).hexdigest()[:8]}"


def folder(incident_id: str, step: PlannedStep) -> str:
    """The vault key under which a step's exhibits lie."""
    return f"{incident_id}/data/phases/{int(step.phase)}/{step.measure}/{slug(step.target)}"
