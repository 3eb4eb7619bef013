"""Phase 2 on AWS, against the sandbox's packet simulator: real, proved from records, reverted."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from drills.sandbox.aws.sample.network import create_group
from firebreak.errors import PermanentCloudError
from firebreak.model import Finding, JsonObject, Method, Target
from providers.aws.network.canary import Reach, _reach
from providers.aws.network.groups import INCIDENT_TAG
from providers.aws.network.interfaces import interface
from tests.providers.aws.netground import ACCOUNT, OUTSIDE, REGION, Ground, Steps, quarantine

pytestmark = pytest.mark.usefixtures("quick_records")


def test_every_interface_is_isolated_proved_and_given_back(ground: Ground) -> None:
    steps = quarantine(ground)
    assert [each.ref for each in steps.targets] == [ground.first, ground.second]
    assert {each.parent for each in steps.targets} == {ground.instance}
    outbound = ground.connect(ground.first, "10.42.1.20")
    inbound = ground.connect(ground.peer, "10.42.2.10")
    assert ground.delivered(outbound["connection_id"])
    assert ground.delivered(inbound["connection_id"])
    states = steps.snapshot()
    changes = steps.apply(states)
    assert all(each.changed for each in changes)
    assert not ground.delivered(outbound["connection_id"])
    assert not ground.delivered(inbound["connection_id"])
    assert not ground.connect(ground.first, "10.42.1.20")["allowed"]
    assert not ground.connect(ground.peer, "10.42.2.10")["allowed"]
    methods = {each.method for each in steps.proved(changes)}
    assert methods == {Method.EFFECTIVE_POLICY, Method.LIVE_PROBE, Method.LOG_EVIDENCE}
    assert not any(each.changed for each in steps.apply(states))
    assert all(each.holds for each in steps.revert(changes))
    assert all(each.holds for each in steps.revert(changes))
    assert ground.groups(ground.first) == ground.groups(ground.second) == [ground.group]
    tagged = [{"Name": f"tag:{INCIDENT_TAG}", "Values": [steps.context.run.incident_id]}]
    assert ground.ec2.describe_security_groups(Filters=tagged)["SecurityGroups"] == []
    assert ground.connect(ground.first, "10.42.1.20")["allowed"]


def test_without_the_change_nothing_is_proved(ground: Ground) -> None:
    steps = quarantine(ground, {"kind": "network-interface", "ref": ground.first})
    (state,) = steps.snapshot()
    spare = create_group(ground.admin, ground.vpc, f"{ground.first}-spare")
    pretended = steps.measure.done(state.target, state, changed=True, group=spare)
    deadline = time.monotonic() + 4
    while time.monotonic() < deadline:
        rules, probe, records = steps.measure.verify(state.target, pretended)
        assert not any(each.holds for each in (rules, probe, records))
        assert not probe.inconclusive


def test_a_single_swap_that_leaves_a_connection_open_is_not_proved(ground: Ground) -> None:
    steps = quarantine(ground, {"kind": "network-interface", "ref": ground.first})
    connection = ground.connect(ground.first, "10.42.1.20")["connection_id"]
    (state,) = steps.snapshot()
    closed = create_group(ground.admin, ground.vpc, f"{ground.first}-closed")
    everything = ground.ec2.describe_security_groups(GroupIds=[closed])["SecurityGroups"][0][
        "IpPermissionsEgress"
    ]
    ground.ec2.revoke_security_group_egress(GroupId=closed, IpPermissions=everything)
    ground.ec2.modify_network_interface_attribute(NetworkInterfaceId=ground.first, Groups=[closed])
    single = steps.measure.done(state.target, state, changed=True, group=closed)
    assert ground.delivered(connection)
    findings: dict[Method, Finding] = {}
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        assert ground.delivered(connection)
        findings = {each.method: each for each in steps.measure.verify(state.target, single)}
        assert not findings[Method.LOG_EVIDENCE].holds
    assert findings[Method.EFFECTIVE_POLICY].holds
    assert findings[Method.LIVE_PROBE].holds


def test_a_strangers_group_of_our_name_is_not_used(ground: Ground) -> None:
    steps = quarantine(ground, {"kind": "network-interface", "ref": ground.first})
    name = f"firebreak-quarantine-{steps.context.run.incident_id}-{ground.vpc}"
    stranger = create_group(ground.admin, ground.vpc, name, (443, "0.0.0.0/0"))
    (change,) = steps.apply(steps.snapshot())
    assert change.after["group"] != stranger
    rules, *_ = steps.verify([change])
    assert rules.holds
    kept = ground.ec2.describe_security_groups(GroupIds=[stranger])["SecurityGroups"][0]
    assert kept["IpPermissions"]


def test_interfaces_isolated_at_one_time_share_one_group(ground: Ground) -> None:
    steps = quarantine(ground)
    states = steps.snapshot()
    with ThreadPoolExecutor(2) as pool:
        changes = list(pool.map(lambda each: steps.measure.apply(each.target, each), states))
    assert all(steps.measure.verify(each.target, each)[0].holds for each in changes)
    with ThreadPoolExecutor(2) as pool:
        assert all(each.holds for each in pool.map(steps.measure.revert, changes))
    assert ground.groups(ground.first) == ground.groups(ground.second) == [ground.group]


def test_a_second_incident_never_opens_an_isolated_interface(ground: Ground) -> None:
    first = quarantine(ground, {"kind": "network-interface", "ref": ground.first})
    (change,) = first.apply(first.snapshot())
    second = quarantine(ground, {"kind": "network-interface", "ref": ground.first})
    since = ground.world.sandbox.calls().next
    (state,) = second.snapshot()
    carried = state.model_copy(update={"values": {**state.values, "groups": [ground.group]}})
    (again,) = second.apply([carried])
    assert not again.changed
    assert again.after["group"] == change.after["group"]
    operations = {each["operation"] for each in ground.world.sandbox.calls(since, mutating=True).calls}
    assert "ModifyNetworkInterfaceAttribute" not in operations
    assert second.revert([again])[0].holds
    assert ground.groups(ground.first) == [ground.group]
    tagged = [{"Name": f"tag:{INCIDENT_TAG}", "Values": [first.context.run.incident_id]}]
    left = ground.ec2.describe_security_groups(Filters=tagged)["SecurityGroups"]
    assert change.after["group"] not in [each["GroupId"] for each in left]


def test_a_rule_added_to_the_quarantine_group_is_noticed_and_removed(ground: Ground) -> None:
    steps = quarantine(ground, {"kind": "network-interface", "ref": ground.first})
    states = steps.snapshot()
    (change,) = steps.apply(states)
    rule = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}
    ground.ec2.authorize_security_group_egress(GroupId=change.after["group"], IpPermissions=[rule])
    rules, *_ = steps.verify([change])
    assert not rules.holds
    steps.apply(states)
    rules, *_ = steps.verify([change])
    assert rules.holds


@pytest.mark.parametrize(
    ("kept", "missing"), [("canary", "no flow-log"), ("flow-log", "no canary"), ("", "no canary")]
)
def test_missing_instruments_are_named_and_leave_it_unproved(ground: Ground, kept: str, missing: str) -> None:
    watch = [each for each in ground.watch() if each["kind"] == kept]
    steps = quarantine(ground, {"kind": "network-interface", "ref": ground.first}, *watch, watch=False)
    changes = steps.apply(steps.snapshot())
    findings = steps.verify(changes)
    assert findings[0].holds
    assert any(each.inconclusive and missing in each.observed for each in findings)


def test_a_flow_log_that_hides_accepted_traffic_does_not_serve(ground: Ground) -> None:
    ground.replace_flow_log(traffic="REJECT")
    steps = quarantine(
        ground, {"kind": "network-interface", "ref": ground.first}, *ground.watch(), watch=False
    )
    *_, records = steps.verify(steps.apply(steps.snapshot()))
    assert records.inconclusive
    assert "REJECT only" in records.observed


def test_records_in_a_bucket_prove_as_well(ground: Ground, fresh: Callable[[str], str]) -> None:
    bucket = fresh("flow")
    place = {"LocationConstraint": REGION}
    ground.admin.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration=place)
    ground.ec2.create_flow_logs(
        ResourceType="NetworkInterface",
        ResourceIds=[ground.first],
        TrafficType="ALL",
        LogDestinationType="s3",
        LogDestination=f"arn:aws:s3:::{bucket}/flows",
        LogFormat="${interface-id} ${action} ${start} ${end} ${srcaddr} ${dstaddr} ${dstport} ${log-status}",
    )
    watch = [{"kind": "flow-log", "ref": f"arn:aws:s3:::{bucket}/flows"}, ground.watch()[1]]
    steps = quarantine(ground, {"kind": "network-interface", "ref": ground.first}, *watch, watch=False)
    findings = steps.proved(steps.apply(steps.snapshot()))
    assert findings[-1].method is Method.LOG_EVIDENCE


def test_an_instance_of_a_scaling_group_is_held_and_let_go(
    ground: Ground, fresh: Callable[[str], str]
) -> None:
    scaling, name = ground.admin.client("autoscaling"), fresh("asg")
    scaling.create_launch_configuration(
        LaunchConfigurationName=name, ImageId="ami-12c6146b", InstanceType="t2.micro"
    )
    scaling.create_auto_scaling_group(
        AutoScalingGroupName=name,
        LaunchConfigurationName=name,
        MinSize=0,
        MaxSize=2,
        DesiredCapacity=0,
        VPCZoneIdentifier=ground.subnet,
    )
    scaling.attach_instances(InstanceIds=[ground.instance], AutoScalingGroupName=name)
    steps = quarantine(ground)
    states = steps.snapshot()
    assert states[0].values["auto_scaling"] == {"group": name, "protected": False, "suspended": []}
    changes = steps.apply(states)
    assert changes[0].after["auto_scaling_group"] == name
    (member,) = scaling.describe_auto_scaling_instances(InstanceIds=[ground.instance])["AutoScalingInstances"]
    assert member["ProtectedFromScaleIn"]
    (group,) = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"]
    assert {each["ProcessName"] for each in group["SuspendedProcesses"]} == {"ReplaceUnhealthy", "Terminate"}
    assert steps.revert(changes)[-1].holds
    (member,) = scaling.describe_auto_scaling_instances(InstanceIds=[ground.instance])["AutoScalingInstances"]
    assert not member["ProtectedFromScaleIn"]


def test_unknown_instances_are_refused(ground: Ground) -> None:
    with pytest.raises(PermanentCloudError, match="InvalidInstanceID"):
        quarantine(ground, {"kind": "ec2-instance", "ref": "i-0123456789abcdef0"})


def test_elastic_addresses_leave_and_return_to_the_same_place(ground: Ground) -> None:
    made = ground.ec2.allocate_address(Domain="vpc")
    ground.ec2.associate_address(AllocationId=made["AllocationId"], NetworkInterfaceId=ground.first)
    steps = Steps(
        ground.world, "aws.detach-public-ip", network=[{"kind": "ec2-instance", "ref": ground.instance}]
    )
    assert [each.ref for each in steps.targets] == [ground.first, ground.second]
    before = interface(steps.context.access, ground.first).public_addresses
    states = steps.snapshot()
    changes = steps.apply(states)
    assert changes[0].after["detached"] == [made["PublicIp"]]
    assert steps.verify(changes)[0].holds
    assert not steps.apply(states)[0].changed
    assert steps.revert(changes)[0].holds
    assert steps.revert(changes)[0].holds
    assert interface(steps.context.access, ground.first).public_addresses == before
    assert not steps.verify(changes)[0].holds


def firewall_policy(ground: Ground, name: str, references: list[JsonObject]) -> str:
    created = ground.admin.client("network-firewall").create_firewall_policy(
        FirewallPolicyName=name,
        FirewallPolicy={
            "StatelessDefaultActions": ["aws:forward_to_sfe"],
            "StatelessFragmentDefaultActions": ["aws:forward_to_sfe"],
            **({"StatelessRuleGroupReferences": references} if references else {}),
        },
    )
    return str(created["FirewallPolicyResponse"]["FirewallPolicyArn"])


def rule_group(ground: Ground, name: str) -> str:
    rule = {"RuleDefinition": {"MatchAttributes": {}, "Actions": ["aws:pass"]}, "Priority": 1}
    created = ground.admin.client("network-firewall").create_rule_group(
        RuleGroupName=name,
        Type="STATELESS",
        Capacity=10,
        RuleGroup={"RulesSource": {"StatelessRulesAndCustomActions": {"StatelessRules": [rule]}}},
    )
    return str(created["RuleGroupResponse"]["RuleGroupArn"])


@pytest.mark.parametrize("priorities", [[], [5], [1, 2]])
def test_firewall_drops_come_first_and_leave_no_trace(
    ground: Ground, fresh: Callable[[str], str], priorities: list[int]
) -> None:
    made = ground.ec2.allocate_address(Domain="vpc")
    ground.ec2.associate_address(AllocationId=made["AllocationId"], NetworkInterfaceId=ground.first)
    references = [
        {"ResourceArn": rule_group(ground, fresh("pass")), "Priority": priority} for priority in priorities
    ]
    policy = firewall_policy(ground, fresh("egress"), references)
    client = ground.admin.client("network-firewall")
    client.create_firewall(
        FirewallName=fresh("fw"),
        FirewallPolicyArn=policy,
        VpcId=ground.vpc,
        SubnetMappings=[{"SubnetId": ground.subnet}],
    )
    before = client.describe_firewall_policy(FirewallPolicyArn=policy)["FirewallPolicy"]
    steps = Steps(
        ground.world,
        "aws.network-firewall-deny",
        network=[
            {"kind": "ec2-instance", "ref": ground.instance},
            {"kind": "firewall-policy", "ref": policy},
        ],
    )
    assert ground.connect(ground.first, OUTSIDE)["allowed"]
    states = steps.snapshot()
    changes = steps.apply(states)
    assert steps.verify(changes)[0].holds
    assert not ground.connect(ground.first, OUTSIDE)["allowed"]
    assert not steps.apply(states)[0].changed
    assert steps.revert(changes)[0].holds
    assert steps.revert(changes)[0].holds
    assert client.describe_firewall_policy(FirewallPolicyArn=policy)["FirewallPolicy"] == before
    assert not steps.verify(changes)[0].holds
    assert ground.connect(ground.first, OUTSIDE)["allowed"]


@pytest.mark.parametrize(
    ("error", "reach"),
    [
        ("timed out", Reach.TIMED_OUT),
        ("timeout", Reach.TIMED_OUT),
        ("[Errno 111] Connection refused", Reach.REFUSED),
        ("[Errno 104] Connection reset by peer", Reach.REFUSED),
        ("[Errno 113] No route to host", Reach.UNKNOWN),
    ],
)
def test_only_a_timeout_is_silence(error: str, reach: Reach) -> None:
    assert _reach(connected=False, error=error) is reach
    assert _reach(connected=True, error="") is Reach.CONNECTED


def test_targets_name_the_parent_instance(ground: Ground) -> None:
    steps = quarantine(ground, {"kind": "network-interface", "ref": ground.first})
    assert steps.targets == [
        Target(
            kind="network-interface", ref=ground.first, account=ACCOUNT, region=REGION, parent=ground.instance
        )
    ]
