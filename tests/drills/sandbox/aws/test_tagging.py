"""The Resource Groups Tagging API knows what AWS's knows, and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from drills.sandbox.aws.sample.clients import client_with

if TYPE_CHECKING:
    from collections.abc import Callable

    from drills.sandbox.aws.client import AccessKey, SandboxClient

PAIRS = [{"Key": "team", "Value": "blue"}]
FILTER = {"TagFilters": [{"Key": "team", "Values": ["blue"]}]}


@pytest.fixture
def client(connect: Callable[..., Any], admin: AccessKey) -> Callable[[str], Any]:
    return lambda service: connect(service, admin)


@pytest.fixture
def far_buckets(sandbox: SandboxClient, admin: AccessKey) -> Any:
    """S3 in another region."""
    return client_with(sandbox.url, "us-west-2", "s3", admin.boto3_arguments())


def arns(client: Callable[[str], Any], **wanted: Any) -> set[str]:
    found = client("resourcegroupstaggingapi").get_resources(**wanted)["ResourceTagMappingList"]
    return {each["ResourceARN"] for each in found}


def firewall_policy(client: Callable[[str], Any]) -> str:
    firewall = client("network-firewall")
    body = {"StatelessDefaultActions": ["aws:pass"], "StatelessFragmentDefaultActions": ["aws:pass"]}
    made = firewall.create_firewall_policy(FirewallPolicyName="p", FirewallPolicy=body)
    arn = str(made["FirewallPolicyResponse"]["FirewallPolicyArn"])
    firewall.tag_resource(ResourceArn=arn, Tags=[{"Key": "team", "Value": "red"}])
    firewall.tag_resource(ResourceArn=arn, Tags=PAIRS)
    return arn


def test_repositories_and_firewall_policies_are_returned_by_tag_and_type(
    client: Callable[[str], Any],
) -> None:
    policy = firewall_policy(client)
    repository = client("ecr").create_repository(repositoryName="tagged", tags=PAIRS)["repository"][
        "repositoryArn"
    ]
    client("ecr").create_repository(repositoryName="untagged")
    assert arns(client, **FILTER) == {policy, repository}
    assert arns(client, ResourceTypeFilters=["ecr"]) == {repository}
    assert arns(client, ResourceARNList=[policy]) == {policy}
    assert arns(client, TagFilters=[{"Key": "team", "Values": ["red"]}]) == set()


def test_only_the_buckets_of_the_region_are_returned(client: Callable[[str], Any], far_buckets: Any) -> None:
    places = (("here-bucket", "eu-central-1", client("s3")), ("far-bucket", "us-west-2", far_buckets))
    for name, region, s3 in places:
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": region})
        s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": PAIRS})
    assert arns(client, **FILTER) == {"arn:aws:s3:::here-bucket"}


def test_roles_are_not_returned(client: Callable[[str], Any], world: Any) -> None:
    world.role("tagged")
    client("iam").tag_role(RoleName="tagged", Tags=PAIRS)
    assert arns(client, **FILTER) == set()


def test_reading_tags_needs_its_permission(
    world: Any, connect: Callable[..., Any], refused: Callable[..., str]
) -> None:
    world.role("reader", allow="tag:GetResources")
    session = world.session("arn:aws:iam::222222222222:role/reader")
    assert connect("resourcegroupstaggingapi", session).get_resources()["ResourceTagMappingList"] == []
    world.role("other", allow="s3:*")
    other = world.session("arn:aws:iam::222222222222:role/other")
    assert refused(connect("resourcegroupstaggingapi", other).get_resources) == "AccessDeniedException"
