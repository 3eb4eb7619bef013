"""AWS workloads that are hard to contain: each is contained, or refused with the reason before any change.

Roles, their sessions and boundaries, users and their keys, security groups and buckets are AWS's own.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from drills.sandbox.aws.sample.clients import client_with
from firebreak.model import Cloud, Verdict
from tests.e2e import aws
from tests.e2e.scene import Scene
from tests.e2e.scenes import scene_of
from tests.e2e.stack import Stack, assert_contained, named

SHARED_ROLE = "shared-agents-role"


@pytest.fixture(scope="module")
def scene(request: pytest.FixtureRequest) -> Scene:
    return scene_of(Cloud.AWS, request)


def error_of(client: Any, operation: str, **parameters: Any) -> str:
    """The error code of a call, or nothing when it succeeds."""
    try:
        getattr(client, operation)(**parameters)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def session(stack: Stack, role: str, name: str) -> Any:
    """S3 as a session of a role that was issued to the responder, the only one that its trust admits."""
    return client_with(stack.sample.endpoint, stack.sample.region, "s3", issued(stack, role, name))


def issued(stack: Stack, role: str, name: str) -> dict[str, str]:
    sample = stack.sample
    responder = assumed(
        stack,
        sample.orchestrator_credentials,
        sample.responder_role_arn,
        "test",
        ExternalId=sample.responder_external_id,
    )
    return assumed(stack, responder, aws.admin(stack).role_arn(role), name)


def assumed(stack: Stack, by: dict[str, str], arn: str, name: str, **more: str) -> dict[str, str]:
    sts = client_with(stack.sample.endpoint, stack.sample.region, "sts", by)
    issued = sts.assume_role(RoleArn=arn, RoleSessionName=name, **more)["Credentials"]
    return {
        "aws_access_key_id": issued["AccessKeyId"],
        "aws_secret_access_key": issued["SecretAccessKey"],
        "aws_session_token": issued["SessionToken"],
    }


def bucket(stack: Stack) -> str:
    return f"variants-{stack.sample.workload_account}"


def test_every_interface_of_an_instance_is_quarantined_and_each_was_proved(stack: Stack) -> None:
    instance = next(each["ref"] for each in stack.entry()["network"] if each["kind"] == "ec2-instance")
    ec2 = aws.admin(stack).client("ec2")
    own = [{"Name": "attachment.instance-id", "Values": [instance]}]
    interfaces = {
        each["NetworkInterfaceId"]: {group["GroupId"] for group in each["Groups"]}
        for each in ec2.describe_network_interfaces(Filters=own)["NetworkInterfaces"]
    }
    assert len(interfaces) == 2
    document = stack.contain()
    assert_contained(document)
    quarantined = named(document, "aws.quarantine-security-group")
    assert {measure.target for measure in quarantined} == set(interfaces)
    now = ec2.describe_network_interfaces(NetworkInterfaceIds=list(interfaces))["NetworkInterfaces"]
    groups = {group["GroupId"] for each in now for group in each["Groups"]}
    assert len(groups) == 1
    assert not groups & set().union(*interfaces.values())
    (group,) = ec2.describe_security_groups(GroupIds=list(groups))["SecurityGroups"]
    assert (group["IpPermissions"], group["IpPermissionsEgress"]) == ([], [])


def test_a_user_with_two_keys_and_a_console_password_is_contained(stack: Stack) -> None:
    iam = aws.admin(stack).client("iam")
    keys = iam.list_access_keys(UserName="user-agent")["AccessKeyMetadata"]
    assert [key["Status"] for key in keys] == ["Active", "Active"]
    document = stack.contain("user-agent")
    assert_contained(document)
    keys = iam.list_access_keys(UserName="user-agent")["AccessKeyMetadata"]
    assert [key["Status"] for key in keys] == ["Inactive", "Inactive"]
    (measure,) = named(document, "aws.disable-access-keys")
    observed = " | ".join(finding.observed for finding in measure.findings)
    assert "InvalidAccessKeyId" in observed
    assert "2 credentials, none active" in observed
    assert "a console password exists" in observed


def test_after_its_release_the_user_has_both_keys_again(stack: Stack) -> None:
    incident = stack.start("user-agent")  # still contained from the test before: a second incident
    assert_contained(stack.settled(incident))
    assert stack.release(incident.incident_id).verdict is Verdict.RELEASED
    keys = aws.admin(stack).client("iam").list_access_keys(UserName="user-agent")["AccessKeyMetadata"]
    assert [key["Status"] for key in keys] == ["Active", "Active"]


def test_a_role_with_a_permissions_boundary_is_contained_and_keeps_its_boundary(stack: Stack) -> None:
    boundary = (
        aws.admin(stack).client("iam").get_role(RoleName="bounded-agent")["Role"]["PermissionsBoundary"]
    )
    before = session(stack, "bounded-agent", "i-1")
    assert error_of(before, "list_objects_v2", Bucket=bucket(stack)) == ""
    document = stack.contain("bounded-agent")
    assert_contained(document)
    assert error_of(before, "list_objects_v2", Bucket=bucket(stack)) == "AccessDenied"
    assert (
        aws.admin(stack).client("iam").get_role(RoleName="bounded-agent")["Role"]["PermissionsBoundary"]
        == boundary
    )


def test_a_shared_role_is_denied_to_the_workloads_own_sessions_alone(stack: Stack) -> None:
    mine = session(stack, SHARED_ROLE, "shared-agent-one-a")
    others = session(stack, SHARED_ROLE, "shared-agent-two-a")
    for client in (mine, others):
        assert error_of(client, "list_objects_v2", Bucket=bucket(stack)) == ""
    document = stack.contain("shared-agent-one")
    assert_contained(document)
    assert error_of(mine, "list_objects_v2", Bucket=bucket(stack)) == "AccessDenied"
    assert error_of(others, "list_objects_v2", Bucket=bucket(stack)) == ""
    with pytest.raises(ClientError, match="AccessDenied"):
        issued(stack, SHARED_ROLE, "shared-agent-one-b")
    fresh = session(stack, SHARED_ROLE, "shared-agent-two-b")
    assert error_of(fresh, "list_objects_v2", Bucket=bucket(stack)) == ""


def test_the_other_workload_of_a_shared_role_is_contained_beside_the_first(stack: Stack) -> None:
    others = session(stack, SHARED_ROLE, "shared-agent-two-c")
    assert_contained(stack.contain("shared-agent-two"))
    assert error_of(others, "list_objects_v2", Bucket=bucket(stack)) == "AccessDenied"


def test_raising_the_cap_knowingly_contains_a_shared_role_as_a_whole(stack: Stack) -> None:
    role = "billing-agents-role"
    created = created_role(stack, role)
    (identity,) = stack.entry("bounded-agent")["identities"]
    shared = {**identity, "ref": created, "shared_with": ["billing-agent"]}
    with stack.edited("bounded-agent", identities=[shared], max_blast_radius=1):
        others = session(stack, role, "billing-agent")
        document = stack.contain("bounded-agent")
    assert_contained(document)
    assert error_of(others, "list_objects_v2", Bucket=bucket(stack)) == "AccessDenied"
    assert any("also affects billing-agent" in note for note in document.notes)


def created_role(stack: Stack, name: str) -> str:
    iam = aws.admin(stack).client("iam")
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": stack.sample.responder_role_arn},
                "Action": "sts:AssumeRole",
            }
        ],
    }
    allow = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"}],
    }
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]
    iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=json.dumps(allow))
    return str(role["Arn"])


def test_an_artifact_in_a_bucket_without_versions_and_locks_is_frozen_by_policy(stack: Stack) -> None:
    plain = f"variants-unversioned-{stack.sample.workload_account}"
    s3 = aws.admin(stack).client("s3")
    assert "Status" not in s3.get_bucket_versioning(Bucket=plain)
    document = stack.contain("unversioned-agent")
    assert_contained(document)
    (lock,) = named(document, "aws.lock-objects")
    assert any("frozen by bucket policy" in finding.observed for finding in lock.findings)
    assert (
        error_of(s3, "put_object", Bucket=plain, Key="unversioned-agent/prompt.txt", Body=b"x")
        == "AccessDenied"
    )
    assert error_of(s3, "delete_object", Bucket=plain, Key="unversioned-agent/prompt.txt") == "AccessDenied"
    assert "Status" not in s3.get_bucket_versioning(Bucket=plain)


def test_a_service_linked_role_is_refused_since_nobody_can_contain_it(stack: Stack) -> None:
    role = (
        aws.admin(stack)
        .client("iam")
        .create_service_linked_role(AWSServiceName="autoscaling.amazonaws.com")["Role"]
    )
    with stack.edited("offline-agent", identities=[{"kind": "iam-role", "ref": role["Arn"]}]):
        before = stack.seq()
        document = stack.contain("offline-agent")
        assert stack.effects(before) == []
    assert document.verdict is Verdict.REFUSED, document.awaiting
    assert "service-linked role" in " ".join(document.refusals)
