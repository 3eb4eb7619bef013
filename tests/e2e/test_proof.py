"""No proof without containment: a step that only claims to be done is never called contained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import pytest

from drills.sandbox.aws.sample.clients import trust
from drills.sandbox.azure.sample.accounts import WORKLOAD_ACCOUNT
from firebreak import inventory
from firebreak.cli.session import exit_code
from firebreak.devserver import DevServer
from firebreak.measure import Measure, measures
from firebreak.model import Change, Cloud, Phase, State, Target, Verdict, Workload
from firebreak.record import RunStatus
from tests.e2e import aws, azure
from tests.e2e.leaks import leaking
from tests.e2e.scene import CLOUDS
from tests.e2e.scenes import scene_of
from tests.e2e.stack import Stack, measures_of, running_stack, unproved
from tests.hollow import hollowed

KINDS = [kind for cloud in CLOUDS for kind in measures(cloud)]
DECLARABLE = ("identities", "network", "artifacts", "evidence_sources")
"""Groups whose absence has to be declared."""
BUDGET = 4
"""Seconds for the phase of the broken measure: long enough for several observations."""
BUDGETS = {"azure.quarantine-nsg": 20}
"""Flow logs tell that nothing goes on only after the interval in which a flow would have been seen again."""


@pytest.fixture
def variants(
    request: pytest.FixtureRequest,
    kind: type[Measure[Any]],
    server: DevServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    """The sample agent and the variants of the measure's cloud."""
    scene = scene_of(kind.cloud, request)
    with running_stack(scene, server, tmp_path_factory.mktemp("stack"), variants=True) as running:
        yield running


def lying(kind: type[Measure[Any]]) -> Callable[[Any, Target, State], Change]:
    """An ``apply`` whose effect is gone when it returns, and that reports a change all the same."""
    real = kind.apply

    @wraps(real)
    def apply(self: Any, target: Target, state: State) -> Change:
        if kind.irreversible:
            return hollowed(self, target, state)
        change = real(self, target, state)
        self.revert(change)
        return change

    return apply


BESIDES = {
    "aws.open-investigation": ("identities",),
    "azure.quarantine-nsg": ("evidence_sources",),
    "azure.snapshot-disks": ("evidence_sources",),
}
"""What a measure needs beside its own targets: somebody to investigate; flow logs that prove isolation."""

MACHINES = frozenset({"ec2-instance", "virtual-machine"})


def reduced(stack: Stack, workload_id: str, *groups: str) -> dict[str, Any]:
    """The fields that leave a workload with some groups of its parts."""
    entry = stack.entry(workload_id)
    machines = [each["ref"] for each in entry.get("network", []) if each["kind"] in MACHINES]
    own = [used_by(each, machines) for each in entry["identities"]]
    without = {each: "left out by the test" for each in DECLARABLE if each not in groups}
    rest = dict.fromkeys(each for each in inventory.GROUPS if each not in groups)
    return {"identities": own, "without": without, **rest}


def used_by(identity: dict[str, Any], machines: list[str]) -> dict[str, Any]:
    """The identity with the machines that it is on, which the workload no longer declares."""
    if not machines or identity["kind"] == "ai-account":
        return identity
    return {**identity, "used_by": [*identity.get("used_by", ()), *machines]}


def group_of(kind: type[Measure[Any]], workload: Workload) -> str:
    """The group of the workload's parts that the measure acts on; empty when there is none."""
    for group in inventory.GROUPS:
        rest: dict[str, Any] = {each: () for each in inventory.GROUPS if each != group}
        if kind.applies_to(workload.model_copy(update=rest)):
            return group
    return ""


def owner_of(stack: Stack, kind: type[Measure[Any]]) -> str:
    owning = (each for each in stack.sample.workload_ids if group_of(kind, stack.workload(each)))
    return str(next(owning))


@contextmanager
def alone(stack: Stack, workload_id: str, kind: type[Measure[Any]]) -> Iterator[None]:
    """A workload with the parts that the measure acts on, and little time for its phase."""
    group = group_of(kind, stack.workload(workload_id))
    fields = reduced(stack, workload_id, group, *BESIDES.get(kind.name, ()))
    with stack.edited(
        workload_id, budgets={kind.phase.name.lower(): BUDGETS.get(kind.name, BUDGET)}, **fields
    ):
        yield


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_measure_that_only_claims_to_be_applied_is_never_contained(
    variants: Stack, monkeypatch: pytest.MonkeyPatch, kind: type[Measure[Any]]
) -> None:
    if kind.name == "aws.open-investigation":  # off in the sample, where it is skipped with that reason
        place = {"account": variants.sample.workload_account, "region": variants.sample.region}
        variants.sandbox.request("POST", "/detective", place)
    workload_id = owner_of(variants, kind)
    monkeypatch.setattr(kind, "apply", lying(kind))
    with alone(variants, workload_id, kind):
        started = variants.start(workload_id)
        waiting = variants.settled(started)
        assert waiting.awaiting is not None, waiting.verdict
        assert waiting.awaiting.phase is kind.phase
        assert kind.name in waiting.awaiting.reason
        variants.decide(started.incident_id, "proceed", by="riley", reason="accepted for the test")
        document = variants.ended(started)
    assert kind.name in {name.split()[0] for name in unproved(document)}
    assert_not_contained(document, kind.phase)


def assert_not_contained(document: RunStatus, phase: Phase) -> None:
    """Not even when a person took the risk and went on."""
    assert document.verdict in {Verdict.UNPROVEN, Verdict.PARTIALLY_CONTAINED}
    assert document.contained_at is None
    assert not document.within_target
    assert exit_code(document) == 3
    judged = document.phases[phase - 1]
    assert judged.verdict is not Verdict.CONTAINED
    assert judged.verified_at is None
    assert "riley accepted the risk" in " ".join(judged.deviations)


FORBIDDEN = {
    Cloud.AWS: {"service": "ec2", "operation": "DescribeInstances"},
    Cloud.AZURE: {
        "url": f"https://management.azure.com/subscriptions/{WORKLOAD_ACCOUNT}?api-version=2022-12-01"
    },
}
"""A probe that the sample agent was never allowed."""
PROVED_BY_SESSION = {Cloud.AWS: "aws.deny-all", Cloud.AZURE: "azure.remove-role-assignments"}
PROVED_BY_ISSUE = {Cloud.AWS: "aws.block-assume-role", Cloud.AZURE: "azure.disable-service-principal"}


@pytest.mark.parametrize("declared", ["no-probe-declared", "never-allowed"])
def test_a_session_that_never_worked_proves_nothing(fresh_stack: Stack, declared: str) -> None:
    probes = [FORBIDDEN[fresh_stack.cloud]] if declared == "never-allowed" else []
    changed = reduced(fresh_stack, fresh_stack.workload_id, "identities")
    changed["identities"] = [{**changed["identities"][0], "probes": probes}]
    with fresh_stack.edited(**changed, budgets={"identity_revoke": BUDGET}):
        started = fresh_stack.start()
        waiting = fresh_stack.settled(started)
        fresh_stack.decide(started.incident_id, "stop", by="riley")
        document = fresh_stack.ended(started)
    assert waiting.awaiting is not None
    assert document.verdict is not Verdict.CONTAINED
    (deny,) = [m for m in measures_of(document) if m.name == PROVED_BY_SESSION[fresh_stack.cloud]]
    assert deny.verdict is Verdict.UNPROVEN
    assert deny.change == "applied"
    assert any(finding.inconclusive for finding in deny.findings)
    assert not any(finding.holds and finding.method == "live_probe" for finding in deny.findings)


def test_an_identity_that_nobody_could_become_before_is_not_proved_by_a_refusal(fresh_stack: Stack) -> None:
    changed = reduced(fresh_stack, fresh_stack.workload_id, "identities")
    changed["identities"] = [closed(fresh_stack, changed["identities"][0])]
    with fresh_stack.edited(**changed, budgets={"identity_revoke": BUDGET}):
        document = fresh_stack.contain()
    assert document.awaiting is not None
    assert document.awaiting.phase is Phase.IDENTITY_REVOKE
    (blocked,) = [m for m in measures_of(document) if m.name == PROVED_BY_ISSUE[fresh_stack.cloud]]
    assert blocked.verdict is Verdict.UNPROVEN
    assert any(finding.inconclusive for finding in blocked.findings)


def closed(stack: Stack, identity: dict[str, Any]) -> dict[str, Any]:
    """The identity after nobody that Firebreak knows can become it any more."""
    if stack.cloud is Cloud.AZURE:
        probe = f"{identity['ref']}/federatedIdentityCredentials/firebreak-probe"
        azure.admin(stack).arm("DELETE", probe, "2024-11-30")
        return {name: value for name, value in identity.items() if name != "probe_vm"}
    role = identity["ref"].rsplit("/", 1)[-1]
    by_ec2_alone = trust({"Service": "ec2.amazonaws.com"})
    iam = aws.admin(stack).client("iam")
    iam.update_assume_role_policy(RoleName=role, PolicyDocument=by_ec2_alone)
    return identity


def test_traffic_after_isolation_in_the_flow_logs_is_no_isolation(fresh_stack: Stack) -> None:
    (first, second) = interfaces(fresh_stack)
    changed = reduced(fresh_stack, fresh_stack.workload_id, "network", "evidence_sources")
    changed["budgets"] = {"network_isolate": 15}
    with fresh_stack.edited(**changed), leaking(fresh_stack, first):
        document = fresh_stack.contain()
    assert document.verdict is not Verdict.CONTAINED
    quarantine = QUARANTINE[fresh_stack.cloud]
    held_back = unproved(document)
    assert f"{quarantine} {first}" in held_back
    assert LEAK_SEEN[fresh_stack.cloud] in held_back[f"{quarantine} {first}"]
    assert f"{quarantine} {second}" not in held_back


QUARANTINE = {Cloud.AWS: "aws.quarantine-security-group", Cloud.AZURE: "azure.quarantine-nsg"}
LEAK_SEEN = {Cloud.AWS: "traffic", Cloud.AZURE: "flow logs: no record of the canary's denial yet"}


def interfaces(stack: Stack) -> list[str]:
    """The interfaces of the sample agent's machine."""
    machine = next(each["ref"] for each in stack.entry()["network"] if each["kind"] in MACHINES)
    if stack.cloud is Cloud.AZURE:
        found = azure.admin(stack).arm("GET", machine, "2024-11-01")
        return [each["id"] for each in found["properties"]["networkProfile"]["networkInterfaces"]]
    own = [{"Name": "attachment.instance-id", "Values": [machine]}]
    found = aws.admin(stack).client("ec2").describe_network_interfaces(Filters=own)
    return [each["NetworkInterfaceId"] for each in found["NetworkInterfaces"]]
