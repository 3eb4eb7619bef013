"""Take measures of any cloud through their lives as the engine does; what is kept makes a trip as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from firebreak.errors import PermanentCloudError, TransientCloudError
from firebreak.measure import now
from firebreak.model import Change, Finding, State, Target

ResultT = TypeVar("ResultT")
ATTEMPTS = 30


class OneTarget:
    """One measure on one target; who subclasses it sets both."""

    measure: Any
    target: Target
    state: State | None = None

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

    def assert_goes_back(self, change: Change, before: dict[str, Any]) -> None:
        """Reverting restores the state from before, and is safe to repeat."""
        for _ in range(2):
            finding = self.revert(change)
            assert finding.holds, finding
        assert self.snapshot() == before


class OneIdentity:
    """One measure on one identity; the state is the test's to keep."""

    measure: Any
    target: Target

    def snapshot(self) -> State:
        values = self.measure.snapshot(self.target)
        return State(measure=self.measure.name, target=self.target, taken_at=now(), values=values)

    def apply(self, state: State) -> Change:
        return Change.model_validate_json(self.measure.apply(self.target, state).model_dump_json())

    def verify(self, change: Change) -> tuple[Finding, ...]:
        return tuple(self.measure.verify(self.target, change))

    def holds(self, change: Change) -> bool:
        return holds(self.verify(change))


class ManyTargets:
    """One measure on everything it finds."""

    measure: Any
    targets: list[Target]

    def snapshot(self) -> list[State]:
        return [
            State(measure=self.measure.name, target=each, taken_at=now(), values=self.measure.snapshot(each))
            for each in self.targets
        ]

    def apply(self, states: Iterable[State]) -> list[Change]:
        made = [self.measure.apply(each.target, each) for each in states]
        return [Change.model_validate_json(each.model_dump_json()) for each in made]

    def verify(self, changes: Iterable[Change]) -> list[Finding]:
        return [each for change in changes for each in self.measure.verify(change.target, change)]


def holds(findings: tuple[Finding, ...]) -> bool:
    """Whether there is proof, and nothing speaks against it."""
    return bool(findings) and all(finding.holds for finding in findings)


def proved(step: OneTarget) -> bool:
    """Whether it goes through its whole life, with the rights it has."""
    try:
        change = step.apply()
        return holds(step.verify(change)) and step.revert(change).holds
    except (PermanentCloudError, TransientCloudError):
        return False


def patiently(call: Callable[[], ResultT | None]) -> ResultT:
    """The first result, trying again what is worth trying again, as a run does."""
    for _ in range(ATTEMPTS):
        try:
            result = call()
        except TransientCloudError:
            continue
        if result is not None:
            return result
    raise AssertionError("never got through")
