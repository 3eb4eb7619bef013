"""The list of incidents, asked of Temporal for all who look, and shown to each as far as they may see."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

from firebreak.web.operations import Operations, RunSummary


@dataclass(frozen=True)
class Row:
    """One incident: its containment, and its release where there is one."""

    containment: RunSummary
    release: RunSummary | None


@dataclass(frozen=True)
class Listing:
    """The newest runs at one moment."""

    runs: tuple[RunSummary, ...]
    over = False

    @cached_property
    def fingerprint(self) -> str:
        """The same while nothing happens but the passing of time."""
        text = "\n".join(_timeless(run).model_dump_json() for run in self.runs)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def rows(self, visible: Iterable[str]) -> list[Row]:
        """The incidents of these workloads, newest first."""
        seen = set(visible)
        releases = {run.incident_id: run for run in self.runs if run.kind == "release"}
        found = [
            Row(run, releases.get(run.incident_id))
            for run in self.runs
            if run.kind == "containment" and run.workload_id in seen
        ]
        return sorted(found, key=lambda row: row.containment.started_at, reverse=True)

    def last_of(self, workload_id: str) -> RunSummary | None:
        """The newest containment of a workload."""
        own = [run for run in self.runs if run.kind == "containment" and run.workload_id == workload_id]
        return max(own, key=lambda run: run.started_at, default=None)


def listing(operations: Operations) -> Callable[[], Awaitable[Listing]]:
    """Asks for the newest runs."""

    async def ask() -> Listing:
        return Listing(await operations.newest())

    return ask


def _timeless(run: RunSummary) -> RunSummary:
    return run if run.finished else run.model_copy(update={"elapsed_seconds": None})
