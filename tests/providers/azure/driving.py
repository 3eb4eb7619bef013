"""Take one measure through its life on its one target, as the engine does, with the rights it asks for."""

from __future__ import annotations

from typing import Any

from firebreak.measure import measure
from firebreak.model import Workload
from tests.providers.driving import OneTarget


class Step(OneTarget):
    """One measure on one target; ``least`` gives its responder exactly the permissions of the measure."""

    def __init__(
        self, world: Any, name: str, *, owner: str = "agent", least: bool = True, **groups: Any
    ) -> None:
        workload: Workload = world.workload(id=owner, **groups)
        self.workload = world.least(workload, name) if least else workload
        kind = measure(name)
        (self.target,) = kind.applies_to(self.workload)
        self.measure: Any = kind(world.context(self.workload))
