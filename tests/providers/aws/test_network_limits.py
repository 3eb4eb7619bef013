"""What phase 2 on AWS cannot prove or cannot cut is told in the plan, and no finding claims it."""

from __future__ import annotations

import time

import pytest

from drills.sandbox.aws.sample.network import create_subnet
from firebreak.model import Finding, JsonObject, Method
from firebreak.planning import _unprovable
from tests.providers.aws.netground import OUTSIDE, Ground, Steps, quarantine

pytestmark = pytest.mark.usefixtures("quick_records")


def first_of(ground: Ground, *watch: JsonObject) -> Steps:
    return quarantine(ground, {"kind": "network-interface", "ref": ground.first}, *watch, watch=False)


def notes(steps: Steps) -> str:
    return "\n".join(_unprovable(steps.snapshot()))


def test_with_canary_and_quick_flow_log_the_plan_names_no_missing_instrument(ground: Ground) -> None:
    told = notes(first_of(ground, *ground.watch()))
    assert "cannot be proved" not in told
    assert "cannot prove" not in told
    assert "aggregates" not in told


def test_the_plan_names_a_missing_canary(ground: Ground) -> None:
    told = notes(first_of(ground, ground.watch()[0]))
    assert f"on {ground.first} cannot be proved by a probe: the inventory declares no canary" in told


def test_the_plan_names_a_canary_that_never_arrives(ground: Ground) -> None:
    closed = ground.ec2.create_security_group(GroupName="none", Description="none", VpcId=ground.vpc)
    ground.ec2.modify_network_interface_attribute(NetworkInterfaceId=ground.first, Groups=[closed["GroupId"]])
    told = notes(first_of(ground, *ground.watch()))
    assert "cannot be proved by a probe: the canary does not arrive before the change either" in told


def test_the_plan_names_a_missing_flow_log(ground: Ground) -> None:
    told = notes(first_of(ground, ground.watch()[1]))
    assert "the flow logs cannot prove it: the inventory declares no flow-log" in told


def test_the_plan_names_a_long_aggregation_interval(ground: Ground) -> None:
    ground.replace_flow_log(MaxAggregationInterval=600)
    assert "aggregates over up to 600 s" in notes(first_of(ground, *ground.watch()))


def test_the_plan_names_fields_that_the_flow_log_lacks(ground: Ground) -> None:
    ground.replace_flow_log(MaxAggregationInterval=60, LogFormat="${interface-id} ${start} ${end}")
    told = notes(first_of(ground, *ground.watch()))
    assert "the flow logs cannot prove it: the flow log's format lacks action" in told


def test_the_plan_says_that_dns_stays_open_and_what_stays_tracked(ground: Ground) -> None:
    shared = notes(first_of(ground, *ground.watch()))
    assert "NAT gateways" in shared
    assert "Route 53 Resolver DNS Firewall" in shared
    declared: JsonObject = {"kind": "subnet", "ref": ground.subnet, "dedicated": True}
    alone = notes(first_of(ground, declared, *ground.watch()))
    assert "NAT gateways" not in alone
    assert "Route 53 Resolver DNS Firewall" in alone


@pytest.fixture
def behind_nat(ground: Ground) -> tuple[str, str]:
    """An interface whose subnet leads out through a NAT gateway, with its subnet."""
    ec2 = ground.ec2
    subnet = create_subnet(ground.admin, ground.vpc, "10.42.7.0/24", "private")
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    made = ec2.create_nat_gateway(SubnetId=ground.subnet, AllocationId=address)
    gateway = made["NatGateway"]["NatGatewayId"]
    table = ec2.create_route_table(VpcId=ground.vpc)["RouteTable"]["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=gateway)
    ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
    eni = ec2.create_network_interface(SubnetId=subnet, Groups=[ground.group], PrivateIpAddress="10.42.7.10")
    return eni["NetworkInterface"]["NetworkInterfaceId"], subnet


def test_an_active_connection_through_nat_goes_on_and_refutes_the_proof(
    ground: Ground, behind_nat: tuple[str, str]
) -> None:
    eni, _ = behind_nat
    connection = ground.connect(eni, OUTSIDE)["connection_id"]
    steps = quarantine(ground, {"kind": "network-interface", "ref": eni})
    changes = steps.apply(steps.snapshot())
    assert not ground.connect(eni, OUTSIDE)["allowed"]
    evidence: list[Finding] = []
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        assert ground.delivered(connection)
        evidence = [each for each in steps.verify(changes) if each.method is Method.LOG_EVIDENCE]
        assert not evidence[0].holds
    assert "may be older than isolation" in evidence[0].observed


def test_of_a_quiet_connection_through_nat_no_finding_says_that_it_is_cut(
    ground: Ground, behind_nat: tuple[str, str]
) -> None:
    eni, _ = behind_nat
    connection = ground.connect(eni, OUTSIDE)["connection_id"]
    steps = quarantine(ground, {"kind": "network-interface", "ref": eni})
    states = steps.snapshot()
    findings = steps.proved(steps.apply(states))
    assert ground.delivered(connection)
    rules = next(each for each in findings if each.method is Method.EFFECTIVE_POLICY)
    assert "connections through NAT gateways" in rules.observed
    assert "may go on" in rules.observed
    assert not any("cut" in each.observed for each in findings)


def test_the_acl_of_a_dedicated_subnet_cuts_a_connection_through_nat(
    ground: Ground, behind_nat: tuple[str, str]
) -> None:
    eni, subnet = behind_nat
    connection = ground.connect(eni, OUTSIDE)["connection_id"]
    declared: list[JsonObject] = [
        {"kind": "network-interface", "ref": eni},
        {"kind": "subnet", "ref": subnet, "dedicated": True},
        *ground.watch(),
    ]
    names = ("aws.quarantine-security-group", "aws.quarantine-subnet-acl")
    both = [Steps(ground.world, name, network=declared) for name in names]
    changes = [steps.apply(steps.snapshot()) for steps in both]
    assert not ground.delivered(connection)
    findings = [steps.proved(each) for steps, each in zip(both, changes, strict=True)]
    assert "network ACL" in findings[0][0].observed
