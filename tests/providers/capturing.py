"""What the tests of every cloud's captures share: one step that a killed worker may repeat."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from firebreak.measure import Progress, measure, now
from firebreak.model import Change, Exhibit, Finding, State


class WorkerKilledError(Exception):
    """Stands for the end of the process at one moment."""


class Step:
    """One capture on its one target, with the progress that survives its process and only its own rights."""

    def __init__(self, world: Any, name: str, **groups: Any) -> None:
        self.workload = world.exactly(world.workload(**groups), name)
        self.kind = measure(name)
        (self.target,) = self.kind.applies_to(self.workload)
        self.last: dict[str, Any] = {}
        self.until: datetime | None = None
        self.context = world.context(self.workload)
        self.state = State(
            measure=name, target=self.target, taken_at=now(), values=self.attempt().snapshot(self.target)
        )

    def attempt(self, on_report: Callable[[dict[str, Any]], None] = lambda _: None) -> Any:
        """A fresh process: only the last report is left of the one before."""

        def report(progress: dict[str, Any]) -> None:
            self.last = json.loads(json.dumps(progress))
            on_report(progress)

        progress = Progress(report=report, resume=self.last, until=self.until)
        context = type(self.context)(
            run=self.context.run,
            access=self.context.access,
            vault=self.context.vault,
            folder=self.context.folder,
            progress=progress,
        )
        return self.kind(context)

    def apply(self) -> Change:
        change: Change = self.attempt().apply(self.target, self.state)
        return Change.model_validate_json(change.model_dump_json())

    def verify(self, change: Change) -> tuple[Finding, ...]:
        return tuple(self.attempt().verify(self.target, change))

    def records(self, change: Change) -> list[Any]:
        return [json.loads(line) for each in change.exhibits for line in self.lines(each)]

    def lines(self, exhibit: Exhibit) -> list[bytes]:
        if not exhibit.evidence_id.endswith(".jsonl"):
            return []
        return b"".join(self.context.vault.read(exhibit.stored)).splitlines()
