"""Flow log records: layout, aggregation, delivery, and their way into the account."""

from __future__ import annotations

import gzip
import time
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from drills.sandbox.aws.client import SandboxError
from drills.sandbox.aws.flowlogs import DEFAULT_FORMAT, FlowLog, FlowLogs, Record
from drills.sandbox.aws.packets import Interface
from drills.sandbox.aws.sample.clients import Admin
from drills.sandbox.aws.sample.network import create_group, create_subnet, create_vpc
from drills.sandbox.packets import TCP, Observation, Packet

if TYPE_CHECKING:
    from collections.abc import Callable

    from drills.sandbox.aws.client import SandboxClient

ENI = Interface(
    id="eni-0123456789abcdef0",
    account_id="222222222222",
    region="eu-central-1",
    vpc_id="vpc-1",
    subnet_id="subnet-1",
    address=ip_address("10.0.1.10"),
    addresses=frozenset({ip_address("10.0.1.10")}),
)
LOG = FlowLog("fl-1", ENI.account_id, ENI.region, "ALL", "cloud-watch-logs", "/flows", "", DEFAULT_FORMAT)
OUT = Packet(TCP, ip_address("10.0.1.10"), 40_000, ip_address("198.51.100.10"), 443)
DEADLINE_SECONDS = 20


@dataclass
class Archive:
    """Destinations in memory."""

    logs: list[FlowLog] = field(default_factory=lambda: [LOG])
    interfaces: list[Interface] = field(default_factory=lambda: [ENI])
    records: list[Record] = field(default_factory=list)

    def flow_logs(self, interface: Interface) -> list[FlowLog]:
        return self.logs if interface in self.interfaces else []

    def logged_interfaces(self) -> list[Interface]:
        return self.interfaces

    def deliver(self, flow_log: FlowLog, interface: Interface, records: list[Record], at: float) -> None:
        self.records += records

    def lines(self) -> list[str]:
        return [record.line for record in self.records]


def seen(at: float, *, accepted: bool = True, packet: Packet = OUT, size: int = 60) -> Observation[Interface]:
    return Observation(ENI, packet, size, accepted, at)


@pytest.fixture
def archive() -> Archive:
    return Archive()


def flow_logs(archive: Archive, aggregation: float = 60, delivery: float = 0) -> FlowLogs:
    return FlowLogs(archive, aggregation, delivery)


def test_record_has_the_version_2_fields_in_order(archive: Archive) -> None:
    logs = flow_logs(archive)
    logs.observe(seen(1_000_020.7))
    logs.observe(seen(1_000_022.2, size=552))
    assert logs.advance(1_000_080) == 1
    head = "2 222222222222 eni-0123456789abcdef0 10.0.1.10 198.51.100.10 40000 443 6 2 612 "
    assert archive.lines() == [f"{head}1000020 1000022 ACCEPT OK"]


def test_accept_and_reject_of_one_five_tuple_are_two_records(archive: Archive) -> None:
    logs = flow_logs(archive)
    logs.observe(seen(1_000_020))
    logs.observe(seen(1_000_021, accepted=False))
    logs.observe(seen(1_000_021, packet=OUT.reply()))
    logs.advance(1_000_080)
    assert sorted(line.split()[12] for line in archive.lines()) == ["ACCEPT", "ACCEPT", "REJECT"]
    assert {line.split()[3] for line in archive.lines()} == {"10.0.1.10", "198.51.100.10"}


def test_open_window_is_not_published_and_delivery_waits(archive: Archive) -> None:
    logs = flow_logs(archive, delivery=30)
    logs.observe(seen(1_000_020))
    logs.advance(1_000_079.9)
    logs.advance(1_000_100)
    assert archive.lines() == []
    logs.advance(1_000_110)
    logs.advance(1_000_200)
    assert len(archive.lines()) == 1


def test_packets_of_two_windows_are_two_records_with_their_own_start(archive: Archive) -> None:
    logs = flow_logs(archive)
    logs.observe(seen(1_000_070))
    logs.observe(seen(1_000_081))
    logs.advance(1_000_200)
    assert [line.split()[10] for line in archive.lines()] == ["1000070", "1000081"]


@pytest.mark.parametrize(("traffic", "expected"), [("ALL", 2), ("ACCEPT", 1), ("REJECT", 1)])
def test_traffic_type_filters(archive: Archive, traffic: str, expected: int) -> None:
    archive.logs = [replace(LOG, traffic_type=traffic)]
    logs = flow_logs(archive)
    logs.observe(seen(1_000_020))
    logs.observe(seen(1_000_020, accepted=False))
    logs.advance(1_000_080)
    assert len(archive.lines()) == expected


def test_custom_format_renders_unknown_fields_as_a_dash(archive: Archive) -> None:
    archive.logs = [replace(LOG, format="${vpc-id} ${action} ${tcp-flags}")]
    logs = flow_logs(archive)
    logs.observe(seen(1_000_020))
    logs.advance(1_000_080)
    assert archive.lines() == ["vpc-1 ACCEPT -"]


def test_idle_interface_gets_nodata_and_a_busy_one_does_not(archive: Archive) -> None:
    logs = flow_logs(archive)
    logs.advance(1_000_000)
    logs.observe(seen(1_000_020))
    logs.advance(1_000_061)
    logs.advance(1_000_122)
    assert [line.rsplit(" ", 1)[1] for line in archive.lines()] == ["OK", "NODATA"]
    assert archive.lines()[1] == (
        "2 222222222222 eni-0123456789abcdef0 - - - - - - - 1000061 1000122 - NODATA"
    )


def test_reset_forgets_open_windows(archive: Archive) -> None:
    logs = flow_logs(archive)
    logs.observe(seen(1_000_020))
    logs.reset()
    assert logs.advance(1_000_080) == 0


# Through the running sandbox


@pytest.fixture
def admin(sandbox: SandboxClient) -> Admin:
    sandbox.configure(flow_aggregation_seconds=0.5)
    return Admin.of(sandbox, "222222222222", "eu-central-1")


def eventually(observe: Callable[[], list[Any]]) -> list[Any]:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        found = observe()
        if found:
            return found
        time.sleep(0.1)
    return observe()


def interface(admin: Admin, subnet: str, group: str, address: str) -> str:
    answer = admin.client("ec2").create_network_interface(
        SubnetId=subnet, Groups=[group], PrivateIpAddress=address
    )
    return str(answer["NetworkInterface"]["NetworkInterfaceId"])


def connect(sandbox: SandboxClient, source: str, destination: str, port: int = 443) -> dict[str, Any]:
    return sandbox.request(
        "POST", "/net/connect", {"source": source, "destination": destination, "port": port}
    )


def test_records_arrive_in_the_log_group_of_the_vpc(sandbox: SandboxClient, admin: Admin) -> None:
    vpc = create_vpc(admin, "flows", "10.42.1.0/24")
    group = create_group(admin, vpc.id, "web", (443, "10.42.0.0/16"))
    first = interface(admin, vpc.public_subnet, group, "10.42.1.10")
    second = interface(admin, vpc.public_subnet, group, "10.42.1.11")
    assert connect(sandbox, first, "10.42.1.11")["allowed"]
    refused = connect(sandbox, first, "10.42.1.11", 22)
    assert refused["reason"] == "security-group-ingress"

    def rejects() -> list[str]:
        events = admin.client("logs").filter_log_events(logGroupName="/vpc/flows/flow-logs")["events"]
        return [event["message"] for event in events if " REJECT " in event["message"]]

    record = eventually(rejects)[0].split()
    assert record[:4] == ["2", "222222222222", second, "10.42.1.10"]
    assert record[4:8] == ["10.42.1.11", str(refused["source_port"]), "22", "6"]
    streams = admin.client("logs").describe_log_streams(logGroupName="/vpc/flows/flow-logs")["logStreams"]
    assert {item["logStreamName"] for item in streams} == {f"{first}-all", f"{second}-all"}


def test_records_arrive_as_compressed_files_under_the_s3_prefix(sandbox: SandboxClient, admin: Admin) -> None:
    ec2, s3 = admin.client("ec2"), admin.client("s3")
    s3.create_bucket(
        Bucket="flows-222222222222", CreateBucketConfiguration={"LocationConstraint": admin.region}
    )
    vpc_id = ec2.create_vpc(CidrBlock="10.42.0.0/16")["Vpc"]["VpcId"]
    subnet = create_subnet(admin, vpc_id, "10.42.1.0/24", "flows")
    eni = interface(admin, subnet, create_group(admin, vpc_id, "web"), "10.42.1.10")
    created = ec2.create_flow_logs(
        ResourceType="NetworkInterface",
        ResourceIds=[eni],
        TrafficType="ALL",
        LogDestinationType="s3",
        LogDestination="arn:aws:s3:::flows-222222222222/flows",
        MaxAggregationInterval=60,
    )
    assert created["Unsuccessful"] == []
    with pytest.raises(ClientError, match="FlowLogAlreadyExists"):
        ec2.create_flow_logs(
            ResourceType="NetworkInterface",
            ResourceIds=[eni],
            TrafficType="ALL",
            LogDestinationType="s3",
            LogDestination="arn:aws:s3:::flows-222222222222/flows",
            MaxAggregationInterval=60,
        )
    connect(sandbox, eni, "198.51.100.10")
    listed = eventually(lambda: s3.list_objects_v2(Bucket="flows-222222222222").get("Contents", []))
    key = listed[0]["Key"]
    assert key.startswith("flows/AWSLogs/222222222222/vpcflowlogs/eu-central-1/20")
    text = gzip.decompress(s3.get_object(Bucket="flows-222222222222", Key=key)["Body"].read()).decode()
    header, first = text.splitlines()[:2]
    assert header == DEFAULT_FORMAT.replace("${", "").replace("}", "")
    assert first.split()[2:5] == [eni, "10.42.1.10", "198.51.100.10"]


def test_two_step_swap_through_the_api_cuts_an_open_connection(sandbox: SandboxClient, admin: Admin) -> None:
    """The swap happens between two packets: the simulator must not need a packet to notice the open group."""
    vpc = create_vpc(admin, "swap", "10.42.1.0/24")
    ec2 = admin.client("ec2")
    eni = interface(admin, vpc.public_subnet, create_group(admin, vpc.id, "agent"), "10.42.1.10")
    address = ec2.allocate_address(Domain="vpc")
    ec2.associate_address(AllocationId=address["AllocationId"], NetworkInterfaceId=eni)
    assert not ip_address(address["PublicIp"]).is_loopback
    connections = [connect(sandbox, eni, "198.51.100.10")["connection_id"] for _ in range(2)]
    closed = create_group(admin, vpc.id, "closed")
    ec2.revoke_security_group_egress(
        GroupId=closed,
        IpPermissions=[{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}],
    )
    ec2.modify_network_interface_attribute(NetworkInterfaceId=eni, Groups=[closed])
    assert sandbox.request("POST", "/net/send", {"connection_id": connections[0]})["delivered"]
    opened = create_group(admin, vpc.id, "opened")
    ec2.authorize_security_group_ingress(
        GroupId=opened, IpPermissions=[{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    )
    ec2.modify_network_interface_attribute(NetworkInterfaceId=eni, Groups=[opened])
    ec2.modify_network_interface_attribute(NetworkInterfaceId=eni, Groups=[closed])
    sent = sandbox.request("POST", "/net/send", {"connection_id": connections[1]})
    assert (sent["delivered"], sent["reason"]) == (False, "security-group-egress")


def test_unknown_interfaces_and_connections_are_named(sandbox: SandboxClient) -> None:
    with pytest.raises(SandboxError, match=r"404.*eni-0"):
        connect(sandbox, "eni-0", "198.51.100.10")
    with pytest.raises(SandboxError, match="no such connection"):
        sandbox.request("POST", "/net/send", {"connection_id": "flow-gone"})
