"""The contract of a measure, held against every registered one on a target of the sample workloads.

Each measure is taken through its life once per target, against its cloud's sandbox and without Temporal:
snapshot, apply, apply again, verify, revert, revert again. The tests then look at the record.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import TypeAdapter

from firebreak.codec import data_converter
from firebreak.errors import ContainmentError, Irreversible
from firebreak.measure import Measure, Scope, measures, now
from firebreak.measure import measure as registered
from firebreak.model import Change, Cloud, Finding, JsonObject, Phase, Run, State, Target
from firebreak.settings import Settings
from tests.grounds import Ground, grounds
from tests.hollow import hollowed

CLOUDS = (Cloud.AWS, Cloud.AZURE)
KINDS = sorted(
    (kind for cloud in CLOUDS for kind in measures(cloud)),
    key=lambda kind: (kind.cloud, bool(kind.irreversible)),
)
"""What has no way back comes last: it would take the others' ground away."""
PATIENCE = 40.0
"""Seconds until a verification must hold: flow log records take a few."""

ACTIONS = {
    # IAM user guide, "Action" element
    Cloud.AWS: re.compile(r"^[a-z0-9-]+:[A-Z][A-Za-z0-9]+$"),
    # Azure resource provider operations (control plane, data plane, Cosmos DB's own); Graph's permissions
    Cloud.AZURE: re.compile(
        r"^(((data|cosmos):)?Microsoft\.[A-Za-z]+(/[A-Za-z0-9.$*]+)+|graph:[A-Za-z]+(\.[A-Za-z]+)+)$"
    ),
}
SLOW_TO_SHOW = 0.5

PROVED_BESIDE = {"aws.disable-access-keys": "aws.deny-all", "azure.archive-model": "azure.hold-blobs"}
"""A console password cannot be switched off, only denied everything; archiving a model hides it, and what
keeps its files is the hold on their container."""
GIVES_BACK = {"sqs:ChangeMessageVisibilityBatch"}
"""Reading a queue's messages hides them for a while; showing them again is no change."""


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


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Cloud], Ground]]:
    """The seeded sandbox of a cloud, started when a measure of that cloud comes first."""
    with grounds(tmp_path_factory.mktemp("contract")) as of:
        yield of


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.name)
def lives(request: pytest.FixtureRequest, place: Callable[[Cloud], Ground]) -> list[Life]:
    """One life per target that the measure has in the sample agent, or else in a variant."""
    kind: type[Measure[Any]] = request.param
    account = place(kind.cloud)
    owner = next(each for each in account.workloads() if kind.applies_to(each))
    scout = account.measure(kind, account.run(owner.id, "INC-scout"))
    targets = [found for each in kind.applies_to(owner) for found in scout.discover(each)]
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
        in_force = until_it_holds(measure, target, change)
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


def until_it_holds(measure: Measure[Any], target: Target, change: Change) -> Sequence[Finding]:
    """The first observation that holds, or the last one."""
    deadline = time.monotonic() + PATIENCE
    while True:
        findings = seen(measure, target, change)
        if holds(findings) or time.monotonic() > deadline:
            return findings
        time.sleep(SLOW_TO_SHOW)


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


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("phase", Phase)
def test_every_phase_has_a_measure(cloud: Cloud, phase: Phase) -> None:
    assert measures(cloud, phase)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_registry_is_in_the_order_of_the_run(cloud: Cloud) -> None:
    phases = [kind.phase for kind in measures(cloud)]
    assert phases == sorted(phases)
    assert len({kind.name for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_it_says_what_it_does_in_one_line(kind: type[Measure[Any]]) -> None:
    promise = (kind.__doc__ or "").strip().splitlines()[0]
    assert promise.endswith(".")
    assert promise[0].isupper()
    assert len(promise) < 120


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_its_name_and_its_permissions_are_well_formed(kind: type[Measure[Any]]) -> None:
    assert re.fullmatch(rf"{kind.cloud}\.[a-z]+(-[a-z]+)+", kind.name)
    assert kind.permissions
    actions = [permission.action for permission in kind.permissions]
    assert all(ACTIONS[kind.cloud].match(action) for action in actions), actions
    assert len(set(actions)) == len(actions)
    assert {permission.scope for permission in kind.permissions} <= set(Scope)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_it_destroys_nothing_volatile(kind: type[Measure[Any]]) -> None:
    assert not kind.destroys_volatile


def test_it_has_a_target_in_the_sample(lives: list[Life]) -> None:
    assert lives


def test_looking_changes_nothing(lives: list[Life]) -> None:
    assert [life.idle_writes for life in lives] == [[] for _ in lives]


def test_applied_it_changes_something(lives: list[Life]) -> None:
    assert any(life.change.changed for life in lives)
    for life in lives:
        assert life.change.changed == bool(life.effects), life.target.key
        assert life.change.before == life.state.values
        assert (life.change.measure, life.change.target) == (life.kind.name, life.target)


def test_applied_twice_it_is_one_change(lives: list[Life]) -> None:
    for life in lives:
        assert set(life.effects_again) <= GIVES_BACK, life.target.key
        assert life.again.before == life.change.before


def test_without_effect_its_verification_does_not_hold(lives: list[Life]) -> None:
    for life in lives:
        if life.change.changed:  # an interface without a public address had nothing to detach
            assert not holds(life.without_effect), (life.target.key, life.without_effect)


def test_in_force_its_verification_holds(lives: list[Life]) -> None:
    for life in lives:
        assert holds(life.in_force), (life.target.key, life.in_force)


def test_reverted_the_observed_state_is_exactly_as_before(lives: list[Life]) -> None:
    for life in lives:
        if life.kind.irreversible:
            assert isinstance(life.reverted, Irreversible), life.target.key
            assert life.kind.irreversible in str(life.reverted)
        else:
            assert isinstance(life.reverted, Finding)
            assert life.reverted.holds, (life.target.key, life.reverted)
            assert observed(life.restored) == observed(life.state.values), life.target.key


def test_reverted_twice_it_does_no_harm(lives: list[Life]) -> None:
    for life in lives:
        assert type(life.reverted_again) is type(life.reverted)
        if isinstance(life.reverted_again, Finding):
            assert life.reverted_again.holds, (life.target.key, life.reverted_again)
            assert observed(life.still_restored) == observed(life.state.values), life.target.key


def test_its_change_and_its_findings_survive_temporals_data_converter(lives: list[Life]) -> None:
    converter = data_converter(Settings()).payload_converter
    for life in lives:
        for value in (life.change, life.state, *life.in_force):
            payload = converter.to_payload(value)
            assert converter.from_payload(payload, type(value)) == value
            assert TypeAdapter(type(value)).validate_json(value.canonical()) == value


def test_its_change_holds_no_secret(lives: list[Life]) -> None:
    for life in lives:
        text = life.change.model_dump_json() + life.state.model_dump_json()
        assert not re.search(r"SessionToken|SecretAccessKey|secret_access_key|aws_session_token", text)
