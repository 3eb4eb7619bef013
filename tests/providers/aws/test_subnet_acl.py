"""The network ACL of a dedicated subnet: closed, proved for what no other measure watches, and given back."""

from __future__ import annotations

from typing import Any

import pytest

from drills.sandbox.aws.sample.network import create_subnet
from firebreak.errors import TransientCloudError
from firebreak.model import JsonObject, Method
from tests.providers.aws.hooks import hooked
from tests.providers.aws.netground import Ground, Steps

pytestmark = pytest.mark.usefixtures("quick_records")


def closing(ground: Ground, *more: JsonObject, subnet: str = "") -> Steps:
    declared: JsonObject = {"kind": "subnet", "ref": subnet or ground.dedicated, "dedicated": True}
    return Steps(ground.world, "aws.quarantine-subnet-acl", network=[declared, *more])


def test_a_dedicated_subnet_is_closed_and_opened(ground: Ground) -> None:
    resources: list[JsonObject] = [
        {"kind": "ec2-instance", "ref": ground.instance},
        {"kind": "subnet", "ref": ground.dedicated, "dedicated": True},
        {"kind": "subnet", "ref": ground.subnet},
    ]
    steps = Steps(ground.world, "aws.quarantine-subnet-acl", network=resources)
    (target,) = steps.targets
    assert target.ref == ground.dedicated
    assert steps.measure.blast_radius(target) == ()
    other = ground.ec2.create_network_interface(SubnetId=ground.dedicated)["NetworkInterface"][
        "NetworkInterfaceId"
    ]
    assert steps.measure.blast_radius(target) == (other,)
    connection = ground.connect(ground.peer, "10.42.2.10")["connection_id"]
    states = steps.snapshot()
    changes = steps.apply(states)
    assert not ground.delivered(connection)
    assert steps.verify(changes)[0].holds
    assert not steps.apply(states)[0].changed
    assert steps.revert(changes)[0].holds
    assert steps.revert(changes)[0].holds
    assert not steps.verify(changes)[0].holds
    assert ground.connect(ground.peer, "10.42.2.10")["allowed"]


def test_a_subnet_alone_is_proved_by_canary_and_flow_logs(ground: Ground) -> None:
    connection = ground.connect(ground.peer, "10.42.2.10")["connection_id"]
    steps = closing(ground, *ground.watch())
    (state,) = steps.snapshot()
    assert state.values["control"]["works"] == ["canary to 10.42.2.10:443"]
    early = steps.verify([steps.measure.done(state.target, state, changed=True)])
    assert not any(each.holds for each in early)
    changes = steps.apply([state])
    assert not ground.delivered(connection)
    findings = steps.proved(changes)
    assert [each.method for each in findings] == [
        Method.EFFECTIVE_POLICY,
        Method.LIVE_PROBE,
        Method.LOG_EVIDENCE,
    ]
    assert findings[-1].detail["interface"] == ground.second
    assert steps.revert(changes)[0].holds


def test_a_subnet_alone_without_canary_or_flow_log_stays_unproved(ground: Ground) -> None:
    steps = closing(ground)
    findings = steps.verify(steps.apply(steps.snapshot()))
    assert findings[0].holds
    assert [each.method for each in findings if each.inconclusive] == [Method.LIVE_PROBE, Method.LOG_EVIDENCE]
    assert "no flow-log" in findings[-1].observed


def test_a_subnet_without_an_interface_stays_unproved(ground: Ground) -> None:
    empty = create_subnet(ground.admin, ground.vpc, "10.42.9.0/24", "empty")
    steps = closing(ground, *ground.watch(), subnet=empty)
    (state,) = steps.snapshot()
    assert "no interface" in state.values["control"]["why_not"]
    findings = steps.verify(steps.apply([state]))
    assert [(each.method, each.holds) for each in findings] == [
        (Method.EFFECTIVE_POLICY, True),
        (Method.LOG_EVIDENCE, False),
    ]
    assert findings[-1].inconclusive


def test_declared_interfaces_are_left_to_their_own_measure(ground: Ground) -> None:
    steps = closing(ground, {"kind": "ec2-instance", "ref": ground.instance}, *ground.watch())
    (state,) = steps.snapshot()
    assert not state.values["control"]["interfaces"]
    assert not state.values["control"]["why_not"]
    findings = steps.verify(steps.apply([state]))
    assert [each.method for each in findings] == [Method.EFFECTIVE_POLICY]


def test_an_interface_that_comes_after_the_plan_is_proved_by_flow_logs(ground: Ground) -> None:
    steps = closing(ground, *ground.watch())
    states = steps.snapshot()
    late = ground.ec2.create_network_interface(SubnetId=ground.dedicated, Groups=[ground.group])
    findings = steps.proved(steps.apply(states))
    proved = {each.detail["interface"] for each in findings if each.method is Method.LOG_EVIDENCE}
    assert proved == {ground.second, late["NetworkInterface"]["NetworkInterfaceId"]}


def test_its_declared_rights_are_enough(ground: Ground) -> None:
    steps = closing(ground, *ground.watch())
    narrow = ground.world.exactly(steps.workload, "aws.quarantine-subnet-acl")
    steps.workload = narrow
    steps.context = ground.world.context(narrow)
    steps.measure = type(steps.measure)(steps.context)
    changes = steps.apply(steps.snapshot())
    assert steps.proved(changes)
    assert steps.revert(changes)[0].holds


def test_an_acl_that_aws_does_not_know_yet_is_tried_again(ground: Ground) -> None:
    steps = closing(ground)
    states = steps.snapshot()
    client = steps.context.access.client("ec2")
    names = iter(["acl-00000000000000000"])

    def hook(params: JsonObject, **_: Any) -> None:
        params["NetworkAclId"] = next(names, params["NetworkAclId"])

    with (
        hooked(client, "provide-client-params.ec2.CreateNetworkAclEntry", hook),
        pytest.raises(TransientCloudError, match=r"InvalidNetworkAclID\.NotFound"),
    ):
        steps.apply(states)
    assert steps.verify(steps.apply(states))[0].holds
