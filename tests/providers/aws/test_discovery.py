"""What is tagged is proposed in the inventory's words, by reading alone."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from firebreak.cli.proposal import as_yaml
from firebreak.errors import GuardError, PermanentCloudError, UsageError
from firebreak.inventory import load
from firebreak.model import Workload
from firebreak.provider import Proposal, Search
from providers.aws import arnkinds
from providers.aws.permissions import documents
from providers.aws.provider import PROVIDER
from tests.providers.aws.conftest import EXTERNAL_ID, REGION, WORKLOAD, World, policy, role


@dataclass
class Account:
    """The workload account under a tag of the test's own, and a role that may do no more than discover."""

    world: World
    tag: str
    reader: str

    def pairs(self, value: str) -> list[dict[str, str]]:
        return [{"Key": self.tag, "Value": value}]

    def client(self, service: str) -> Any:
        return self.world.admin(service)

    def search(self, value: str = "", **changes: Any) -> Search:
        access = {"role_arn": self.reader, "external_id": EXTERNAL_ID}
        fields = {"account": WORKLOAD, "region": REGION, "access": access, "tag": self.tag, "value": value}
        return Search.model_validate(fields | changes)

    def discover(self, value: str = "") -> Proposal:
        """Discover, and see that nothing but reading was done, and nothing was refused."""
        since = self.world.sandbox.calls().next
        proposal = PROVIDER.discover(self.search(value), self.world.settings)
        calls = self.world.sandbox.calls(since).calls
        assert [c["operation"] for c in calls if c["mutating"]] == []
        assert [c["operation"] for c in calls if c["error_code"]] == []
        assert {"GetResources", "ListRoleTags"} <= {c["operation"] for c in calls}
        return proposal

    def subnet(self) -> tuple[str, str]:
        ec2 = self.client("ec2")
        vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
        return vpc, ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.1.0/24")["Subnet"]["SubnetId"]

    def queue(self, name: str, value: str) -> str:
        self.client("sqs").create_queue(QueueName=name, tags={self.tag: value})
        return f"arn:aws:sqs:{REGION}:{WORKLOAD}:{name}"


@pytest.fixture
def account(world: World, fresh: Callable[[str], str]) -> Iterator[Account]:
    name = fresh("reader")
    iam = world.admin("iam")
    reader = role(iam, name)
    for number, document in enumerate(documents([], [], world.settings)["discovery"]["policies"]):
        iam.put_role_policy(RoleName=name, PolicyName=f"p{number}", PolicyDocument=json.dumps(document))
    yield Account(world, fresh("tag"), reader)
    world.sandbox.clear_faults()


def refs(workload: Workload) -> set[tuple[str, str]]:
    return {(part.kind, part.ref) for part in workload.resources()}


def only(proposal: Proposal) -> Workload:
    assert len(proposal.workloads) == 1
    return proposal.workloads[0]


def test_resources_are_grouped_by_the_value_of_their_tag(account: Account, fresh: Any) -> None:
    first, second = (account.queue(fresh("q"), name) for name in ("planner", "writer"))
    found = {each.id: refs(each) for each in account.discover().workloads}
    assert ("sqs-queue", first) in found["planner"]
    assert ("sqs-queue", second) in found["writer"]
    assert ("sqs-queue", second) not in found["planner"]
    assert [each.id for each in account.discover("writer").workloads] == ["writer"]


def test_more_than_one_page_is_read(account: Account, fresh: Any) -> None:
    stem = fresh("many")
    queues = {account.queue(f"{stem}-{n}", "hive") for n in range(120)}
    assert {part.ref for part in only(account.discover()).channels} == queues


def test_roles_and_users_are_found_by_their_own_tags(account: Account, fresh: Any) -> None:
    iam, name = account.client("iam"), fresh("agent")
    arn = role(iam, name)
    iam.tag_role(RoleName=name, Tags=account.pairs("agent"))
    user = iam.create_user(UserName=name, Tags=account.pairs("agent"))["User"]["Arn"]
    iam.create_user(UserName=fresh("other"), Tags=account.pairs("x")[:0])
    proposal = account.discover()
    assert {("iam-role", arn), ("iam-user", user)} <= refs(only(proposal))
    notes = " ".join(proposal.notes["agent"])
    assert f"declare probes for {arn}" in notes
    assert f"declare probe_secret and probes for {user}" in notes


def test_an_instance_leads_to_its_role_and_to_the_flow_logs_around_it(account: Account, fresh: Any) -> None:
    ec2, iam, name = account.client("ec2"), account.client("iam"), fresh("host")
    vpc, subnet = account.subnet()
    group = f"/flow/{name}"
    account.client("logs").create_log_group(logGroupName=group, tags={account.tag: "agent"})
    flows = {"ResourceType": "VPC", "ResourceIds": [vpc], "MaxAggregationInterval": 60}
    delivery = role(iam, f"{name}-delivery")
    ec2.create_flow_logs(**flows, TrafficType="ALL", LogGroupName=group, DeliverLogsPermissionArn=delivery)
    ec2.create_flow_logs(
        **flows, TrafficType="ACCEPT", LogGroupName=f"{group}/accepted", DeliverLogsPermissionArn=delivery
    )
    role_arn, instance, interface = role(iam, name), *running(account, name, subnet)
    ec2.create_tags(Resources=[instance, interface], Tags=account.pairs("agent"))
    proposal = account.discover()
    workload = only(proposal)
    assert [(part.ref, part.model_dump()["used_by"]) for part in workload.identities] == [
        (role_arn, (instance,))
    ]
    flow_log = f"arn:aws:logs:{REGION}:{WORKLOAD}:log-group:{group}"
    assert {(part.kind, part.ref) for part in workload.network} == {
        ("ec2-instance", instance),
        ("flow-log", flow_log),
    }
    assert [part.kind for part in workload.evidence_sources] == ["cloudtrail"]
    assert any("accepted traffic only" in text for text in proposal.left_out)


def running(account: Account, name: str, subnet: str) -> tuple[str, str]:
    """An instance in that subnet with a profile for the role of that name; its id and its interface's."""
    ec2, iam = account.client("ec2"), account.client("iam")
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    made = ec2.run_instances(
        ImageId=image, MinCount=1, MaxCount=1, SubnetId=subnet, IamInstanceProfile={"Name": name}
    )["Instances"][0]
    return made["InstanceId"], made["NetworkInterfaces"][0]["NetworkInterfaceId"]


def test_a_terminated_instance_is_left_out(account: Account, fresh: Any) -> None:
    ec2, name = account.client("ec2"), fresh("host")
    role(account.client("iam"), name)
    instance, _ = running(account, name, account.subnet()[1])
    ec2.create_tags(Resources=[instance], Tags=account.pairs("agent"))
    ec2.terminate_instances(InstanceIds=[instance])
    proposal = account.discover()
    assert only(proposal).network == only(proposal).identities == ()
    assert f"agent: {instance}: terminated" in proposal.left_out


def test_a_loose_interface_is_a_part_and_leads_to_flow_logs_in_a_bucket(account: Account, fresh: Any) -> None:
    ec2, bucket = account.client("ec2"), fresh("flows")
    account.client("s3").create_bucket(
        Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    _, subnet = account.subnet()
    interface = ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"]
    ec2.create_flow_logs(
        ResourceType="Subnet",
        ResourceIds=[subnet],
        TrafficType="REJECT",
        LogDestinationType="s3",
        LogDestination=f"arn:aws:s3:::{bucket}/vpc/",
    )
    ec2.create_tags(Resources=[interface, subnet], Tags=account.pairs("agent"))
    proposal = account.discover()
    assert {(part.kind, part.ref) for part in only(proposal).network} == {
        ("network-interface", interface),
        ("subnet", subnet),
        ("flow-log", f"arn:aws:s3:::{bucket}/vpc/"),
    }
    assert any("dedicated" in note for note in proposal.notes["agent"])


def test_a_function_is_the_canary_or_leads_to_its_role(account: Account, fresh: Any) -> None:
    name = fresh("fn")
    execution = lambda_role(account, name)
    tool, probe, marked = (
        function(account, each, execution, tags)
        for each, tags in (
            (f"{name}-tool", {}),
            (f"{name}-Canary", {}),
            (f"{name}-reach", {"ai-workload-role": "canary"}),
        )
    )
    proposal = account.discover()
    workload = only(proposal)
    assert [(part.ref, part.model_dump()["used_by"]) for part in workload.identities] == [
        (execution, (tool,))
    ]
    assert {part.ref for part in workload.network} == {probe, marked}
    assert any(text.startswith(f"agent: {tool}: ") for text in proposal.left_out)


def lambda_role(account: Account, name: str) -> str:
    statement = {
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Principal": {"Service": "lambda.amazonaws.com"},
    }
    made = account.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=policy(statement))
    return str(made["Role"]["Arn"])


def function(account: Account, name: str, execution: str, tags: dict[str, str]) -> str:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("x.py", "")
    made = account.client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.12",
        Role=execution,
        Handler="x.y",
        Code={"ZipFile": packed.getvalue()},
        Tags={account.tag: "agent", **tags},
    )
    return str(made["FunctionArn"])


def test_an_untagged_image_and_an_empty_model_group_are_said(account: Account, fresh: Any) -> None:
    name = fresh("repo")
    account.client("ecr").create_repository(repositoryName=name, tags=account.pairs("agent"))
    group = account.client("sagemaker").create_model_package_group(
        ModelPackageGroupName=name, Tags=account.pairs("agent")
    )["ModelPackageGroupArn"]
    proposal = account.discover()
    assert [part.kind for part in only(proposal).artifacts] == ["ecr-repository"]
    assert any("no tagged image" in note for note in proposal.notes["agent"])
    assert f"agent: {group}: no approved version" in proposal.left_out


def test_what_the_inventory_has_no_kind_for_is_listed(account: Account) -> None:
    ec2 = account.client("ec2")
    volume = ec2.create_volume(AvailabilityZone=f"{REGION}a", Size=1)["VolumeId"]
    ec2.create_tags(Resources=[volume], Tags=account.pairs("agent"))
    proposal = account.discover()
    assert any(volume in text and "no kind" in text for text in proposal.left_out)
    notes = " ".join(proposal.notes["agent"])
    assert all(f"no {group} found" in notes for group in ("identities", "network", "artifacts"))


def test_values_that_are_no_id_become_one_and_stay_apart(
    account: Account, fresh: Any, tmp_path: Path
) -> None:
    values = {
        value: account.queue(fresh("q"), value) for value in ("Sales Bot", "sales.bot", "@" * 70, "x" * 99)
    }
    proposal = account.discover()
    assert {each.channels[0].ref for each in proposal.workloads} == set(values.values())
    assert {each.id for each in proposal.workloads} == {"sales-bot", "sales-bot-n2", "unnamed", "x" * 63}
    assert "the tag says 'Sales Bot'" in " ".join(proposal.notes["sales-bot"])
    path = tmp_path / "proposed.yaml"
    path.write_text(as_yaml(proposal), encoding="utf-8")
    assert list(load(path).workloads.values()) == sorted(proposal.workloads, key=lambda each: each.id)


def test_two_workloads_on_one_role_are_told_of_each_other(account: Account, fresh: Any) -> None:
    name = fresh("shared")
    shared = lambda_role(account, name)
    function(account, f"{name}-a", shared, {account.tag: "a"})
    function(account, f"{name}-b", shared, {account.tag: "b"})
    proposal = account.discover()
    assert f"{shared} is also the role of b: scope it with session_names" in proposal.notes["a"]
    assert f"{shared} is also the role of a: scope it with session_names" in proposal.notes["b"]


def test_firebreaks_own_role_is_never_proposed(account: Account) -> None:
    account.client("iam").tag_role(RoleName=account.reader.rpartition("/")[2], Tags=account.pairs("agent"))
    proposal = account.discover()
    assert only(proposal).identities == ()
    assert proposal.left_out == (f"agent: {account.reader}: Firebreak itself runs as it",)


def test_what_cannot_be_looked_at_makes_the_proposal_incomplete(account: Account, fresh: Any) -> None:
    account.client("ecr").create_repository(repositoryName=fresh("repo"), tags=account.pairs("agent"))
    queue = account.queue(fresh("q"), "agent")
    account.world.sandbox.inject("denied", service="ecr", operation="DescribeImages")
    proposal = PROVIDER.discover(account.search(), account.world.settings)
    assert {part.ref for part in only(proposal).channels} == {queue}
    (note,) = [each for each in proposal.notes["agent"] if each.startswith("INCOMPLETE")]
    assert "may not DescribeImages" in note


@pytest.mark.parametrize("operation", ["GetResources", "ListRoles", "ListRoleTags"])
def test_without_the_tags_there_is_no_proposal(account: Account, operation: str) -> None:
    account.world.sandbox.inject("denied", operation=operation, times=-1)
    with pytest.raises(PermanentCloudError, match=f"may not {operation}"):
        PROVIDER.discover(account.search(), account.world.settings)


def test_a_role_of_another_account_and_a_place_that_is_none_are_refused(account: Account) -> None:
    with pytest.raises(UsageError, match="no-such-1"):
        PROVIDER.discover(account.search(region="no-such-1"), account.world.settings)
    with pytest.raises(UsageError, match=r"access\.role_arn is in account"):
        PROVIDER.discover(account.search(account="444444444444"), account.world.settings)
    with pytest.raises(GuardError, match="wrong account"):
        PROVIDER.discover(account.search(access={}), account.world.settings)


@pytest.mark.parametrize(
    ("arn", "meant"),
    [
        ("arn:aws:dynamodb:eu-west-1:222222222222:table/t/stream/2026", None),
        ("arn:aws:sns:eu-west-1:222222222222:t:5f8d", None),
        ("arn:aws:s3:::b", arnkinds.Lead("bucket", "b")),
        ("arn:aws-us-gov:sqs:us-gov-west-1:222222222222:q", "sqs-queue"),
        ("arn:aws:logs:eu-west-1:222222222222:log-group:/a/b:*", "log-group"),
        ("arn:aws:bedrock:eu-west-1:222222222222:agent/A", None),
    ],
)
def test_an_arn_is_read_for_what_it_is(arn: str, meant: Any) -> None:
    found = arnkinds.read(arn)
    assert (found.kind if isinstance(found, arnkinds.Part) else found) == meant
    assert not isinstance(found, arnkinds.Part) or not found.ref.endswith(":*")
