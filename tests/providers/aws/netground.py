"""The VPC that the network measures of AWS are tried in, and one measure on everything it applies to."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import pytest

from drills.sandbox.aws.sample.clients import Admin
from drills.sandbox.aws.sample.network import create_group, create_subnet, create_vpc
from firebreak.measure import measure
from firebreak.model import Change, Finding, JsonObject, Workload
from providers.aws.resources import KINDS
from tests.providers.driving import ManyTargets

REGION, ACCOUNT = "eu-central-1", "222222222222"
DEADLINE_SECONDS = 40
OUTSIDE = "198.51.100.10"


@dataclass
class Ground:
    """A VPC with flow logs, canary, an instance with two interfaces, and a peer."""

    world: Any
    admin: Admin
    vpc: str
    subnet: str
    dedicated: str
    flow_log: str
    canary: str
    instance: str
    first: str
    second: str
    peer: str
    group: str

    @property
    def ec2(self) -> Any:
        return self.admin.client("ec2")

    def watch(self) -> list[JsonObject]:
        return [{"kind": "flow-log", "ref": self.flow_log}, {"kind": "canary", "ref": self.canary}]

    def replace_flow_log(self, *, traffic: str = "ALL", **options: Any) -> None:
        """Another flow log of the VPC, which writes to the same place."""
        wanted = [{"Name": "resource-id", "Values": [self.vpc]}]
        logs = self.ec2.describe_flow_logs(Filters=wanted)["FlowLogs"]
        self.ec2.delete_flow_logs(FlowLogIds=[each["FlowLogId"] for each in logs])
        self.ec2.create_flow_logs(
            ResourceType="VPC",
            ResourceIds=[self.vpc],
            TrafficType=traffic,
            LogDestinationType="cloud-watch-logs",
            LogGroupName=self.flow_log.split(":log-group:")[1],
            DeliverLogsPermissionArn=logs[0]["DeliverLogsPermissionArn"],
            **options,
        )

    def groups(self, eni: str) -> list[str]:
        found = self.ec2.describe_network_interfaces(NetworkInterfaceIds=[eni])["NetworkInterfaces"][0]
        return sorted(each["GroupId"] for each in found["Groups"])

    def connect(self, source: str, destination: str, port: int = 443) -> JsonObject:
        body = {"source": source, "destination": destination, "port": port}
        return dict(self.world.sandbox.request("POST", "/net/connect", body))

    def delivered(self, connection: str) -> bool:
        answer = self.world.sandbox.request("POST", "/net/send", {"connection_id": connection})
        return bool(answer["delivered"] and answer["acknowledged"])


def made(world: Any, name: str) -> Ground:
    """Build the ground; its interfaces stand in two subnets."""
    admin = Admin.of(world.sandbox, ACCOUNT, REGION)
    ec2 = admin.client("ec2")
    vpc = create_vpc(admin, name, "10.42.1.0/24")
    dedicated = create_subnet(admin, vpc.id, "10.42.2.0/24", f"{name}-dedicated")
    group = create_group(admin, vpc.id, f"{name}-agent", (443, "10.42.0.0/16"))

    def eni(subnet: str, address: str) -> str:
        made = ec2.create_network_interface(SubnetId=subnet, Groups=[group], PrivateIpAddress=address)
        return str(made["NetworkInterface"]["NetworkInterfaceId"])

    first, second = eni(vpc.public_subnet, "10.42.1.10"), eni(dedicated, "10.42.2.10")
    peer = eni(vpc.public_subnet, "10.42.1.20")
    instance = ec2.run_instances(
        ImageId="ami-12c6146b",
        MinCount=1,
        MaxCount=1,
        NetworkInterfaces=[
            {"DeviceIndex": n, "NetworkInterfaceId": e} for n, e in enumerate((first, second))
        ],
    )["Instances"][0]["InstanceId"]
    return Ground(
        world,
        admin,
        vpc.id,
        vpc.public_subnet,
        dedicated,
        vpc.flow_log_group_arn,
        vpc.canary_arn,
        instance,
        first,
        second,
        peer,
        group,
    )


class Steps(ManyTargets):
    """One measure on everything it applies to."""

    def __init__(
        self, world: Any, measure_name: str, *, name: str = "agent", **groups: list[JsonObject]
    ) -> None:
        typed = {
            group: tuple(KINDS[group][each["kind"]].model_validate(each) for each in resources)
            for group, resources in groups.items()
        }
        # As a worker sees it: after a trip through JSON, without the provider's own classes.
        made = world.workload(**typed).model_copy(update={"id": name})
        self.workload = Workload.model_validate_json(made.model_dump_json())
        self.context = world.context(self.workload)
        self.measure = measure(measure_name)(self.context)
        declared = self.measure.applies_to(self.workload)
        self.targets = [found for each in declared for found in self.measure.discover(each)]

    def proved(self, changes: list[Change]) -> list[Finding]:
        """Observe until everything holds, or the time is over."""
        findings: list[Finding] = []
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline:
            findings = self.verify(changes)
            if all(each.holds for each in findings):
                return findings
        pytest.fail(f"not proved: {[each.observed for each in findings]}")

    def revert(self, changes: list[Change]) -> list[Finding]:
        return [self.measure.revert(each) for each in changes]


def quarantine(ground: Ground, *network: JsonObject, watch: bool = True) -> Steps:
    declared = list(network) or [{"kind": "ec2-instance", "ref": ground.instance}]
    resources = [*declared, *(ground.watch() if watch else [])]
    return Steps(ground.world, "aws.quarantine-security-group", network=resources)
