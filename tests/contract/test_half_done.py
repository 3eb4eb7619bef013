"""Every measure that can be undone, refused for good at each of its changes: release still finds it all.

No change is recorded then, so it is undone from the state before and from what the measure finds there now.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from firebreak.errors import PermanentCloudError
from firebreak.measure import Measure
from firebreak.model import Change, Cloud, Finding, Run, State
from tests.contract.lives import discovered, kinds_of, observed, revert, snapshot
from tests.grounds import Ground

CLOUDS = (Cloud.AWS, Cloud.AZURE)
KINDS = [kind for cloud in CLOUDS for kind in kinds_of(cloud) if not kind.irreversible]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_what_was_begun_is_undone(places: Callable[[Cloud], Ground], kind: type[Measure[Any]]) -> None:
    ground = places(kind.cloud)
    owner, targets = discovered(ground, kind)
    run = ground.run(owner.id, f"INC-half-done-{kind.name.partition('.')[2]}")
    for target in targets:
        state = snapshot(ground.measure(kind, run), target)
        for refused in changes_of(ground, kind, run, state):
            change = applied_without(refused, ground, ground.measure(kind, run), state)
            measure = ground.measure(kind, run)
            reverted = revert(measure, change or measure.begun(target, state))
            assert isinstance(reverted, Finding)
            assert reverted.holds, (refused, reverted)
            assert observed(measure.snapshot(target)) == observed(state.values), refused


@dataclass(frozen=True)
class Refused:
    """One change that is refused, and every later one of its kind."""

    operation: str
    done_before: int


def changes_of(ground: Ground, kind: type[Measure[Any]], run: Run, state: State) -> list[Refused]:
    """The first and the last of each kind of change that applying makes."""
    since = ground.seq()
    change = ground.measure(kind, run).apply(state.target, state)
    made = Counter(ground.effects(since))
    revert(ground.measure(kind, run), change)
    return [Refused(name, at) for name, number in made.items() for at in sorted({0, number - 1})]


def applied_without(refused: Refused, ground: Ground, measure: Measure[Any], state: State) -> Change | None:
    """The change, where the measure can do without; None where it failed half way."""
    ground.refuse(refused.operation, refused.done_before)
    try:
        return measure.apply(state.target, state)
    except PermanentCloudError:
        return None
    finally:
        ground.relent()
