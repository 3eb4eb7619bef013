"""Build the sample workload's network: VPC, instance with two interfaces, firewall, flow logs and canary."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drills.sandbox.aws.sample.accounts import create_role
from drills.sandbox.aws.sample.clients import allow, document, trust

if TYPE_CHECKING:
    from drills.sandbox.aws.sample.clients import Admin

Json = dict[str, Any]
VPC_RANGE = "10.42.0.0/16"
CANARY_PORT = 443
# What the VPC user guide has flow logs delivered by.
FLOW_LOG_SERVICE = {"Service": "vpc-flow-logs.amazonaws.com"}
CANARY_CODE = """\
import socket, time

def handler(event, context):
    sent_at = time.time()
    try:
        with socket.create_connection((event["address"], event["port"]), event["timeout"]) as connection:
            address, port = connection.getsockname()
            source = {"source_address": address, "source_port": port, "sent_at": sent_at}
            return {"connected": True, "error": "", **source}
    except OSError as error:
        source = {"source_address": "", "source_port": 0, "sent_at": sent_at}
        return {"connected": False, "error": str(error), **source}
"""


@dataclass(frozen=True)
class Vpc:
    """A VPC with a public subnet, flow logs and the canary function."""

    id: str
    public_subnet: str
    flow_log_group_arn: str
    canary_arn: str


@dataclass(frozen=True)
class Host:
    """The agent's instance and everything that leads to it."""

    instance_id: str
    public_interface: str
    private_interface: str
    private_address: str
    public_address: str
    dedicated_subnet: str
    peer_interface: str
    firewall_policy_arn: str


def create_vpc(admin: Admin, name: str, public_range: str) -> Vpc:
    """Create a VPC whose public subnet leads to the internet, with flow logs and a canary."""
    ec2 = admin.client("ec2")
    vpc_id = ec2.create_vpc(CidrBlock=VPC_RANGE, TagSpecifications=_named("vpc", name))["Vpc"]["VpcId"]
    subnet = create_subnet(admin, vpc_id, public_range, f"{name}-public")
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc_id)
    table = ec2.create_route_table(VpcId=vpc_id)["RouteTable"]["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
    return Vpc(vpc_id, subnet, _flow_logs(admin, name, vpc_id), _canary(admin, name, vpc_id, subnet))


def create_subnet(admin: Admin, vpc_id: str, address_range: str, name: str) -> str:
    """Create a subnet and return its id."""
    subnet = admin.client("ec2").create_subnet(
        VpcId=vpc_id,
        CidrBlock=address_range,
        AvailabilityZone=f"{admin.region}a",
        TagSpecifications=_named("subnet", name),
    )
    return str(subnet["Subnet"]["SubnetId"])


def create_group(admin: Admin, vpc_id: str, name: str, *ingress: tuple[int, str]) -> str:
    """Create a security group that lets in the given (port, range) pairs and lets out everything."""
    ec2 = admin.client("ec2")
    group = ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc_id)["GroupId"]
    rules = [_tcp(port, source) for port, source in ingress]
    if rules:
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=rules)
    return str(group)


def _tcp(port: int, source: str) -> Json:
    return {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": source}]}


def _named(kind: str, name: str) -> list[Json]:
    return [{"ResourceType": kind, "Tags": [{"Key": "Name", "Value": name}]}]


def _flow_logs(admin: Admin, name: str, vpc_id: str) -> str:
    group = f"/vpc/{name}/flow-logs"
    admin.client("logs").create_log_group(logGroupName=group)
    delivery = create_role(
        admin,
        f"{name}-flow-logs",
        trust(FLOW_LOG_SERVICE),
        document(allow(["logs:CreateLogStream", "logs:PutLogEvents"], "*")),
    )
    admin.client("ec2").create_flow_logs(
        ResourceType="VPC",
        ResourceIds=[vpc_id],
        TrafficType="ALL",
        LogDestinationType="cloud-watch-logs",
        LogGroupName=group,
        DeliverLogsPermissionArn=delivery,
        MaxAggregationInterval=60,
    )
    return admin.arn("logs", f"log-group:{group}")


def _canary(admin: Admin, name: str, vpc_id: str, subnet: str) -> str:
    role = create_role(
        admin,
        f"{name}-canary",
        trust({"Service": "lambda.amazonaws.com"}),
        document(
            allow(
                ["ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DeleteNetworkInterface"]
            )
        ),
    )
    group = create_group(admin, vpc_id, f"{name}-canary")
    answer = admin.client("lambda").create_function(
        FunctionName=f"{name}-firebreak-canary",
        Runtime="python3.12",
        Role=role,
        Handler="canary.handler",
        Code={"ZipFile": zipped("canary.py", CANARY_CODE)},
        VpcConfig={"SubnetIds": [subnet], "SecurityGroupIds": [group]},
    )
    return str(answer["FunctionArn"])


def zipped(name: str, text: str) -> bytes:
    """Return a deployment package with one source file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, text)
    return buffer.getvalue()


def create_host(admin: Admin, name: str, vpc: Vpc, profile: str) -> Host:
    """Create the agent's instance with a public and a private interface, a peer, and the firewall."""
    dedicated = create_subnet(admin, vpc.id, "10.42.2.0/24", f"{name}-dedicated")
    public_group = create_group(admin, vpc.id, f"{name}-public", (CANARY_PORT, "0.0.0.0/0"))
    private_group = create_group(admin, vpc.id, f"{name}-private", (CANARY_PORT, VPC_RANGE))
    first = _interface(admin, vpc.public_subnet, public_group, "10.42.1.10", f"{name} public")
    second = _interface(admin, dedicated, private_group, "10.42.2.10", f"{name} private")
    peer_group = create_group(admin, vpc.id, f"{name}-peer", (CANARY_PORT, VPC_RANGE))
    peer = _interface(admin, vpc.public_subnet, peer_group, "10.42.1.20", "planner agent")
    return Host(
        instance_id=_instance(admin, name, profile, first, second),
        public_interface=first,
        private_interface=second,
        private_address="10.42.2.10",
        public_address=_public_address(admin, first),
        dedicated_subnet=dedicated,
        peer_interface=peer,
        firewall_policy_arn=_firewall(admin, name, vpc),
    )


def _interface(admin: Admin, subnet: str, group: str, address: str, description: str) -> str:
    answer = admin.client("ec2").create_network_interface(
        SubnetId=subnet, Groups=[group], PrivateIpAddress=address, Description=description
    )
    return str(answer["NetworkInterface"]["NetworkInterfaceId"])


def _instance(admin: Admin, name: str, profile: str, *interfaces: str) -> str:
    ec2 = admin.client("ec2")
    image = ec2.describe_images(Owners=["amazon"], Filters=[{"Name": "name", "Values": ["amzn2-ami-hvm*"]}])
    answer = ec2.run_instances(
        ImageId=image["Images"][0]["ImageId"],
        MinCount=1,
        MaxCount=1,
        InstanceType="m5.large",
        IamInstanceProfile={"Name": profile},
        NetworkInterfaces=[{"DeviceIndex": n, "NetworkInterfaceId": eni} for n, eni in enumerate(interfaces)],
        TagSpecifications=_named("instance", name),
    )
    instance_id = str(answer["Instances"][0]["InstanceId"])
    volume = ec2.create_volume(AvailabilityZone=f"{admin.region}a", Size=20)["VolumeId"]
    ec2.attach_volume(VolumeId=volume, InstanceId=instance_id, Device="/dev/sdf")
    return instance_id


def _public_address(admin: Admin, interface: str) -> str:
    ec2 = admin.client("ec2")
    allocated = ec2.allocate_address(Domain="vpc")
    ec2.associate_address(AllocationId=allocated["AllocationId"], NetworkInterfaceId=interface)
    return str(allocated["PublicIp"])


def _firewall(admin: Admin, name: str, vpc: Vpc) -> str:
    firewall = admin.client("network-firewall")
    rules = {"RulesSource": {"RulesString": 'alert tcp any any -> any 23 (msg:"telnet"; sid:1; rev:1;)'}}
    group = firewall.create_rule_group(
        RuleGroupName=f"{name}-baseline", Type="STATEFUL", Capacity=100, RuleGroup=rules
    )["RuleGroupResponse"]["RuleGroupArn"]
    policy = firewall.create_firewall_policy(
        FirewallPolicyName=f"{name}-egress",
        FirewallPolicy={
            "StatelessDefaultActions": ["aws:forward_to_sfe"],
            "StatelessFragmentDefaultActions": ["aws:forward_to_sfe"],
            "StatefulRuleGroupReferences": [{"ResourceArn": group}],
        },
    )["FirewallPolicyResponse"]["FirewallPolicyArn"]
    firewall.create_firewall(
        FirewallName=f"{name}-firewall",
        FirewallPolicyArn=policy,
        VpcId=vpc.id,
        SubnetMappings=[{"SubnetId": vpc.public_subnet}],
    )
    return str(policy)
