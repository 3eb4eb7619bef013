"""Take a measure through its life once per target: its cloud's sandbox, and no Temporal.

Snapshot, apply, apply again, verify, revert, revert again; checks.py looks at the record.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from firebreak.errors import ContainmentError, Irreversible
from firebreak.measure import Measure, measures, now
from firebreak.measure import measure as registered
from firebreak.model import Change, Cloud, Finding, JsonObject, Run, State, Target, Workload
from tests.grounds import Ground
from tests.hollow import hollowed

PATIENCE = 40.0
"""Seconds until a verification must hold: flow log records take a few."""

PROVED_BESIDE = {"aws.disable-access-keys": "aws.deny-all", "azure.archive-model": "azure.hold-blobs"}
"""A console password cannot be switched off, only denied everything; archiving a model hides it, and what
keeps its files is the hold on their container."""


def kinds_of(cloud: Cloud) -> list[type[Measure[Any]]]:
    """A cloud's measures; what has no way back comes last: it would take the others' ground away."""
    return sorted(measures(cloud), key=lambda kind: bool(kind.irreversible))


@dataclass(frozen=True)
class Life:
    """What one measure did and saw on one target."""

    kind: type[Measure[Any]]
    target: Target
    state: State
    idle_writes: list[str]
    """Changes made by discovery, blast radius and snapshot."""
    change: Change
    effects: list[str]
    again: Change
    effects_again: list[str]
    without_effect: Sequence[Finding]
    """Seen while the change was not in force."""
    in_force: Sequence[Finding]
    reverted: Finding | Irreversible
    restored: JsonObject
    reverted_again: Finding | Irreversible
    still_restored: JsonObject


def discovered(account: Ground, kind: type[Measure[Any]]) -> tuple[Workload, list[Target]]:
    """The first workload that the measure applies to, and every target it finds there."""
    owner = next(each for each in account.workloads() if kind.applies_to(each))
    scout = account.measure(kind, account.run(owner.id, "INC-scout"))
    return owner, [found for each in kind.applies_to(owner) for found in scout.discover(each)]


def lives_on(account: Ground, kind: type[Measure[Any]]) -> list[Life]:
    """One life per target that the measure has in the sample agent, or else in a variant."""
    owner, targets = discovered(account, kind)
    short = kind.name.partition(".")[2]
    runs = [account.run(owner.id, f"INC-{short}-{number}") for number, _ in enumerate(targets)]
    return [lived(account, kind, run, target) for run, target in zip(runs, targets, strict=True)]


def lived(account: Ground, kind: type[Measure[Any]], run: Run, target: Target) -> Life:
    measure = account.measure(kind, run)
    before = account.seq()
    assert measure.discover(target) == [target]
    measure.blast_radius(target)
    state = snapshot(measure, target)
    idle_writes = account.effects(before)
    nothing_done = seen(measure, target, hollowed(measure, target, state)) if kind.irreversible else ()
    since = account.seq()
    change = measure.apply(target, state)
    effects = account.stored(since) if change.exhibits else account.effects(since)
    since = account.seq()
    again = account.measure(kind, run).apply(target, state)
    effects_again = account.effects(since)
    with companion(account, kind, run, target):
        in_force = until_it_holds(account, measure, target, change)
    reverted = revert(measure, change)
    nothing_done = nothing_done if kind.irreversible else seen(measure, target, change)
    restored = snapshot(account.measure(kind, run), target).values
    reverted_again = revert(account.measure(kind, run), change)
    still_restored = snapshot(account.measure(kind, run), target).values
    return Life(
        kind, target, state, idle_writes, change, effects, again, effects_again,
        nothing_done, in_force, reverted, restored, reverted_again, still_restored,
    )  # fmt: skip


@contextmanager
def companion(account: Ground, kind: type[Measure[Any]], run: Run, target: Target) -> Iterator[None]:
    """What a measure counts on to be proved, in force for the length of a block."""
    if kind.name not in PROVED_BESIDE:
        yield
        return
    other = registered(PROVED_BESIDE[kind.name])
    beside = account.measure(other, run)
    on = [target] if target in other.applies_to(run.workload) else other.applies_to(run.workload)
    changes = [beside.apply(each, snapshot(beside, each)) for each in on]
    yield
    for change in changes:
        beside.revert(change)


def snapshot(measure: Measure[Any], target: Target) -> State:
    return State(measure=measure.name, target=target, taken_at=now(), values=measure.snapshot(target))


def seen(measure: Measure[Any], target: Target, change: Change) -> Sequence[Finding]:
    """One observation; what cannot be observed has no finding, as in a run."""
    try:
        return measure.verify(target, change)
    except ContainmentError:
        return ()


def until_it_holds(
    account: Ground, measure: Measure[Any], target: Target, change: Change
) -> Sequence[Finding]:
    """The first observation that holds, or the last one."""
    findings: Sequence[Finding] = ()
    passed = 0.0
    while passed < PATIENCE:
        findings = seen(measure, target, change)
        if holds(findings):
            break
        passed += account.let_time_pass()
    return findings


def holds(findings: Sequence[Finding]) -> bool:
    return bool(findings) and all(finding.holds for finding in findings)


def observed(values: JsonObject) -> JsonObject:
    """The state of a snapshot, without the record of the attempt that is its positive control."""
    return {name: value for name, value in values.items() if name != "control"}


def revert(measure: Measure[Any], change: Change) -> Finding | Irreversible:
    try:
        return measure.revert(change)
    except Irreversible as kept:
        return kept
