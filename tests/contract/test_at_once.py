"""Every measure of every cloud, applied by two workers at the same moment.

A worker that stopped reporting is given up and its step handed to another one, while the first may only have
been slow: whoever of them is first, the step is done, holds and can be undone where that is possible at all.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from firebreak.errors import TransientCloudError
from firebreak.measure import Measure
from firebreak.model import Change, Cloud, Finding, Run, State, Target
from tests.contract.lives import companion, discovered, holds, kinds_of, observed, snapshot, until_it_holds
from tests.grounds import Ground

WORKERS = 2
CLOUDS = (Cloud.AWS, Cloud.AZURE)
KINDS = sorted(
    (kind for cloud in CLOUDS for kind in kinds_of(cloud)), key=lambda kind: bool(kind.irreversible)
)
"""What cannot be undone comes last: the ground stays as it leaves it."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_two_workers_at_once_do_one_step(places: Callable[[Cloud], Ground], kind: type[Measure[Any]]) -> None:
    ground = places(kind.cloud)
    owner, targets = discovered(ground, kind)
    run = ground.run(owner.id, f"INC-at-once-{kind.name.partition('.')[2]}")
    for target in targets:
        there_and_back(ground, kind, run, target)


def there_and_back(ground: Ground, kind: type[Measure[Any]], run: Run, target: Target) -> None:
    measure = ground.measure(kind, run)
    state = snapshot(measure, target)
    changes = at_once(ground, kind, run, state)
    with companion(ground, kind, run, target):
        for change in changes:
            findings = until_it_holds(ground, measure, target, change)
            if any(each.inconclusive for each in findings):  # as after `retry`: the other had them
                findings = until_it_holds(ground, measure, target, measure.apply(target, state))
            assert holds(findings), (target.key, [each.observed for each in findings])
    if not kind.irreversible:
        back(measure, target, state, changes)


def back(measure: Measure[Any], target: Target, state: State, changes: list[Change]) -> None:
    for change in changes:
        reverted = measure.revert(change)
        assert isinstance(reverted, Finding)
        assert reverted.holds, (target.key, reverted.observed)
    assert observed(snapshot(measure, target).values) == observed(state.values), target.key


def at_once(ground: Ground, kind: type[Measure[Any]], run: Run, state: State) -> list[Change]:
    together = Barrier(WORKERS)

    def apply(measure: Measure[Any]) -> Change:
        together.wait()
        try:
            return measure.apply(state.target, state)
        except TransientCloudError:  # as the engine: the other one came first
            return measure.apply(state.target, state)

    with ThreadPoolExecutor(WORKERS) as pool:
        waiting = [pool.submit(apply, ground.measure(kind, run)) for _ in range(WORKERS)]
        return [each.result() for each in waiting]
