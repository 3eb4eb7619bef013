"""Take one measure through its life on its one target, as the engine does, with the rights it asks for."""

from __future__ import annotations

import json
from typing import Any

from firebreak.measure import measure, now
from firebreak.model import Change, Finding, State, Workload


class Step:
    """One measure on one target; ``least`` gives its responder exactly the permissions of the measure."""

    def __init__(
        self, world: Any, name: str, *, owner: str = "agent", least: bool = True, **groups: Any
    ) -> None:
        workload: Workload = world.workload(id=owner, **groups)
        self.workload = world.least(workload, name) if least else workload
        kind = measure(name)
        (self.target,) = kind.applies_to(self.workload)
        self.measure: Any = kind(world.context(self.workload))
        self.state: State | None = None

    def snapshot(self) -> dict[str, Any]:
        return dict(json.loads(json.dumps(self.measure.snapshot(self.target))))

    def apply(self) -> Change:
        if self.state is None:
            self.state = State(
                measure=self.measure.name, target=self.target, taken_at=now(), values=self.snapshot()
            )
        change: Change = self.measure.apply(self.target, self.state)
        return Change.model_validate_json(change.model_dump_json())

    def verify(self, change: Change) -> tuple[Finding, ...]:
        return tuple(self.measure.verify(self.target, change))

    def intact(self, change: Change) -> Finding:
        finding: Finding = self.measure.intact(self.target, change)
        return finding

    def revert(self, change: Change) -> Finding:
        finding: Finding = self.measure.revert(change)
        return finding


def holds(findings: tuple[Finding, ...]) -> bool:
    return bool(findings) and all(finding.holds for finding in findings)
