"""Phase 2 on Azure, security groups, against the sandbox's packet simulator: real, proved, reverted.

Proofs wait for flow logs. Here the sandbox's clock goes on instead, so that each test has a world of its own.
"""

from __future__ import annotations

from typing import Any

import pytest

from firebreak.measure import measure
from firebreak.model import Finding, JsonObject, Method
from providers.azure.permissions import missing
from tests.providers.azure.networks import (
    DESTRUCTIVE,
    OUTSIDE,
    QUARANTINE,
    Ground,
    Steps,
    merged,
    nic,
    quarantine,
    rules_of,
    without_etag,
)

IMDS = "169.254.169.254"


@pytest.fixture
def ground(new_world: Any) -> Ground:
    new_world.sandbox.configure(flow_aggregation_seconds=1, flow_delivery_seconds=0.2)
    return Ground.made(new_world)


def machine(ground: Ground) -> dict[str, list[JsonObject]]:
    return {"network": [{"kind": "virtual-machine", "ref": ground.machine}]}


def test_every_interface_is_isolated_proved_and_given_back(ground: Ground) -> None:
    steps = quarantine(ground, machine(ground))
    assert [each.ref for each in steps.targets] == [ground.first, ground.second]
    assert {each.parent for each in steps.targets} == {ground.machine}
    before = [without_etag(ground.get(each)) for each in (ground.first, ground.second, ground.group)]
    open_flows = [
        ground.opened(ground.first, "10.42.1.20"),
        ground.opened(ground.first, OUTSIDE),
        ground.opened(ground.peer, "10.42.2.10"),
        ground.opened("internet", ground.public_address()),
    ]
    since = ground.world.sandbox.calls().next
    states = steps.snapshot()
    changes = steps.apply(states)
    assert all(each.changed for each in changes)
    assert not any(ground.delivered(each) for each in open_flows)
    for address in ("10.42.1.10", "10.42.1.11", "10.42.2.10"):
        assert not ground.allowed(ground.peer, address)
    assert not ground.allowed("internet", ground.public_address())
    assert not ground.allowed(ground.first, OUTSIDE)
    assert not ground.allowed(ground.second, IMDS, 80)
    methods = [each.method for each in steps.proved(changes)]
    assert set(methods) == {
        Method.EFFECTIVE_POLICY,
        Method.CONFIGURATION,
        Method.LIVE_PROBE,
        Method.LOG_EVIDENCE,
    }
    assert not any(each.changed for each in steps.apply(states))
    assert all(each.holds for each in steps.revert(changes))
    assert all(each.holds for each in steps.revert(changes))
    after = [without_etag(ground.get(each)) for each in (ground.first, ground.second, ground.group)]
    assert after == before
    assert not any(ground.get(each.after["group"]) for each in changes)
    assert ground.allowed(ground.first, "10.42.1.20")
    made = ground.world.sandbox.calls(since, mutating=True).calls
    assert not [each for each in made if any(word in str(each) for word in DESTRUCTIVE)]


def test_without_the_change_nothing_is_proved(ground: Ground) -> None:
    steps = quarantine(ground, nic(ground.first))
    (state,) = steps.snapshot()
    spare = ground.build.security_group("spare")
    pretended = steps.measure.done(state.target, state, changed=True, group=spare, flushed=False)
    findings: tuple[Finding, ...] = ()
    for _ in range(15):
        findings = steps.measure.verify(state.target, pretended)
        assert not any(each.holds for each in findings)
        steps.flow_logs_are_written()
    probe = next(each for each in findings if each.method is Method.LIVE_PROBE)
    assert not probe.inconclusive


def test_an_established_flow_that_survives_is_not_proved(ground: Ground) -> None:
    """Where the service does not flush and others share the subnet, nothing cuts it: the proof says so."""
    ground.world.sandbox.configure(nsg_flush_supported=0)
    steps = quarantine(ground, nic(ground.first))
    connection = ground.opened(ground.first, "10.42.1.20")
    changes = steps.apply(steps.snapshot())
    assert changes[0].after["flushed"] is False
    assert steps.measure.blast_radius(steps.targets[0]) == ()
    findings: list[Finding] = []
    for _ in range(15):
        assert ground.delivered(connection)
        findings = steps.verify(changes)
        assert not any(each.holds for each in findings if each.method is Method.LOG_EVIDENCE)
        steps.flow_logs_are_written()
    assert all(each.holds for each in rules_of(findings))
    assert all(each.holds for each in findings if each.method is Method.LIVE_PROBE)
    established = next(each for each in findings if each.method is Method.CONFIGURATION)
    assert not established.holds
    assert ground.peer in established.detail["shared_with"]
    assert not any(each.changed for each in steps.apply(steps.snapshot()))


def test_routes_to_nowhere_cut_what_the_service_does_not_flush(ground: Ground) -> None:
    ground.world.sandbox.configure(nsg_flush_supported=0)
    steps = quarantine(ground, nic(ground.second))
    inbound = ground.opened(ground.peer, "10.42.2.10")
    outbound = ground.opened(ground.second, OUTSIDE)
    before = [without_etag(ground.get(each)) for each in (ground.own, ground.second)]
    states = steps.snapshot()
    changes = steps.apply(states)
    assert not ground.delivered(inbound)
    assert not ground.delivered(outbound)
    findings = steps.proved(changes)
    established = next(each for each in findings if each.method is Method.CONFIGURATION)
    assert established.detail == {"flushed": False, "routed": True, "shared_with": []}
    assert not any(each.changed for each in steps.apply(states))
    assert all(each.holds for each in steps.revert(changes))
    assert all(each.holds for each in steps.revert(changes))
    assert [without_etag(ground.get(each)) for each in (ground.own, ground.second)] == before
    tables = ground.get(f"{ground.build.group}/providers/Microsoft.Network/routeTables")["value"]
    assert tables == []
    assert ground.allowed(ground.peer, "10.42.2.10")


def test_the_printed_role_suffices_and_each_action_is_missed(ground: Ground) -> None:
    declared = merged(machine(ground), ground.watch())
    workload = ground.world.least(ground.world.workload(**declared), QUARANTINE)
    steps = Steps(ground.world, QUARANTINE, {}, workload=workload)
    changes = steps.apply(steps.snapshot())
    steps.proved(changes)
    assert all(each.holds for each in steps.revert(changes))
    needs = [(measure(QUARANTINE), target) for target in steps.targets]
    assert missing(steps.context.access, needs) == ()
    action = "Microsoft.Network/networkSecurityGroups/write"
    lesser = ground.world.least(ground.world.workload(**declared), QUARANTINE, without=action)
    lacking = missing(ground.world.context(lesser).access, needs)
    assert lacking
    assert all(each.startswith(action) for each in lacking)
