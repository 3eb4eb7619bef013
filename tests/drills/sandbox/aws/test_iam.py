from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from drills.sandbox.aws.client import AccessKey, SandboxClient

ACCOUNT = "222222222222"
OTHER = "333333333333"
REGION = "eu-central-1"
DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"}

World = Any
Connect = Callable[..., Any]
Refused = Callable[..., str]
Policy = Callable[..., str]


def trust(principal: Any, effect: str = "Allow", **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Principal": principal, "Action": "sts:AssumeRole", **more}


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


TRUST_ACCOUNT = document(trust({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}))


PROBES: list[tuple[str, str, dict[str, Any], str]] = [
    ("s3", "list_buckets", {}, "AccessDenied"),
    ("ec2", "describe_instances", {}, "UnauthorizedOperation"),
    ("iam", "list_users", {}, "AccessDenied"),
    ("dynamodb", "list_tables", {}, "AccessDeniedException"),
    ("sqs", "list_queues", {}, "AccessDeniedException"),
    ("kms", "list_keys", {}, "AccessDeniedException"),
    ("logs", "describe_log_groups", {}, "AccessDeniedException"),
    ("ecr", "describe_repositories", {}, "AccessDeniedException"),
    ("sagemaker", "list_models", {}, "AccessDeniedException"),
    ("secretsmanager", "list_secrets", {}, "AccessDeniedException"),
    ("lambda", "list_functions", {}, "AccessDeniedException"),
    ("bedrock", "list_custom_models", {}, "AccessDeniedException"),
    ("eks", "list_clusters", {}, "AccessDeniedException"),
    ("sns", "list_topics", {}, "AuthorizationError"),
    ("codepipeline", "list_pipelines", {}, "AccessDeniedException"),
    ("stepfunctions", "list_state_machines", {}, "AccessDeniedException"),
]


@pytest.mark.parametrize(("service", "operation", "arguments", "code"), PROBES)
def test_deny_all_turns_a_working_session_into_a_refused_one(
    world: World,
    refused: Refused,
    service: str,
    operation: str,
    arguments: dict[str, Any],
    code: str,
) -> None:
    session = world.session(world.role())
    probe = getattr(world.connect(service, session), operation)
    probe(**arguments)
    world.iam.put_role_policy(RoleName="agent", PolicyName="deny", PolicyDocument=world.policy("Deny"))
    assert refused(probe, **arguments) == code
    assert world.connect("sts", session).get_caller_identity()["Account"] == ACCOUNT


def test_refusal_names_principal_action_and_explicit_deny(world: World) -> None:
    s3 = world.connect("s3", world.session(world.role()))
    world.iam.put_role_policy(RoleName="agent", PolicyName="deny", PolicyDocument=world.policy("Deny"))
    with pytest.raises(ClientError) as caught:
        s3.list_buckets()
    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert (
        "assumed-role/agent/probe is not authorized to perform: s3:ListAllMyBuckets"
        in response["Error"]["Message"]
    )
    assert "explicit deny in an identity-based policy" in response["Error"]["Message"]


def test_nothing_is_allowed_without_a_policy(world: World, refused: Refused) -> None:
    assert refused(world.connect("s3", world.session(world.role(allow=None))).list_buckets) == "AccessDenied"


def test_actions_and_resources_are_matched(world: World, refused: Refused) -> None:
    for name in ("one", "two"):
        world.connect("s3", world.session(world.role(f"maker-{name}"))).create_bucket(
            Bucket=f"bucket-{name}",
            CreateBucketConfiguration={"LocationConstraint": REGION},
        )
    user = world.user(allow=None)
    world.iam.put_user_policy(
        UserName="operator",
        PolicyName="one",
        PolicyDocument=world.policy("Allow", ["s3:Put*", "s3:GetObject"], "arn:aws:s3:::bucket-one/models/*"),
    )
    s3 = world.connect("s3", user)
    s3.put_object(Bucket="bucket-one", Key="models/a", Body=b"a")
    assert s3.get_object(Bucket="bucket-one", Key="models/a")["Body"].read() == b"a"
    assert refused(s3.put_object, Bucket="bucket-one", Key="other/a", Body=b"a") == "AccessDenied"
    assert refused(s3.put_object, Bucket="bucket-two", Key="models/a", Body=b"a") == "AccessDenied"
    assert refused(s3.delete_object, Bucket="bucket-one", Key="models/a") == "AccessDenied"


def test_not_action_and_not_resource(world: World, refused: Refused) -> None:
    user = world.user(allow=None)
    statement = {"Effect": "Allow", "NotAction": "iam:*", "NotResource": "arn:aws:s3:::secret/*"}
    world.iam.put_user_policy(UserName="operator", PolicyName="p", PolicyDocument=document(statement))
    world.connect("s3", user).list_buckets()
    assert refused(world.connect("iam", user).list_users) == "AccessDenied"
    assert refused(world.connect("s3", user).get_object, Bucket="secret", Key="x") == "AccessDenied"


CONDITIONS: list[tuple[dict[str, Any], bool]] = [
    ({"StringEquals": {"aws:RequestedRegion": REGION}}, True),
    ({"StringEquals": {"aws:RequestedRegion": "us-east-1"}}, False),
    ({"StringNotEquals": {"aws:RequestedRegion": REGION}}, False),
    ({"StringLike": {"aws:RequestedRegion": "eu-*"}}, True),
    ({"StringLikeIfExists": {"aws:Nonexistent": "eu-*"}}, True),
    ({"StringLike": {"aws:Nonexistent": "eu-*"}}, False),
    ({"StringNotLike": {"aws:Nonexistent": "eu-*"}}, True),
    ({"Null": {"aws:TokenIssueTime": "false"}}, True),
    ({"Null": {"aws:TokenIssueTime": "true"}}, False),
    ({"ArnLike": {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:role/age*"}}, True),
    ({"ArnEquals": {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:role/other"}}, False),
    ({"ArnNotLike": {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:role/other"}}, True),
    ({"StringLike": {"aws:userid": "AROA*:probe"}}, True),
    ({"StringEquals": {"aws:PrincipalAccount": ACCOUNT}}, True),
    ({"Bool": {"aws:SecureTransport": "true"}}, True),
    ({"Bool": {"aws:SecureTransport": "false"}}, False),
    ({"NumericGreaterThan": {"aws:EpochTime": "1000"}}, True),
    ({"DateGreaterThan": {"aws:CurrentTime": "2000-01-01T00:00:00Z"}}, True),
    ({"DateLessThan": {"aws:CurrentTime": "2000-01-01T00:00:00Z"}}, False),
    ({"DateLessThan": {"aws:TokenIssueTime": "2000-01-01T00:00:00Z"}}, False),
    ({"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, True),
    ({"ForAnyValue:StringEquals": {"aws:TagKeys": "x"}}, False),
    ({"ForAllValues:StringEquals": {"aws:TagKeys": "x"}}, True),
    ({"StringEquals": {"aws:RequestedRegion": REGION, "aws:PrincipalAccount": OTHER}}, False),
]


@pytest.mark.parametrize(("condition", "met"), CONDITIONS, ids=lambda value: json.dumps(value)[:60])
def test_a_conditional_deny_strikes_only_when_its_condition_is_met(
    world: World,
    refused: Refused,
    condition: dict[str, Any],
    met: bool,
) -> None:
    s3 = world.connect("s3", world.session(world.role()))
    deny = world.policy("Deny", Condition=condition)
    world.iam.put_role_policy(RoleName="agent", PolicyName="deny", PolicyDocument=deny)
    if met:
        assert refused(s3.list_buckets) == "AccessDenied"
    else:
        s3.list_buckets()


def test_token_issue_time_revokes_old_sessions_and_spares_new_ones(world: World, refused: Refused) -> None:
    arn = world.role()
    old = world.connect("s3", world.session(arn))
    old.list_buckets()
    revoked_before = datetime.now(UTC).isoformat()
    deny = world.policy("Deny", Condition={"DateLessThan": {"aws:TokenIssueTime": revoked_before}})
    world.iam.put_role_policy(RoleName="agent", PolicyName="revoke", PolicyDocument=deny)
    assert refused(old.list_buckets) == "AccessDenied"
    world.connect("s3", world.session(arn)).list_buckets()


def test_attached_group_and_managed_policies_count(world: World, refused: Refused) -> None:
    user = world.user(allow=None)
    s3 = world.connect("s3", user)
    world.iam.create_group(GroupName="readers")
    world.iam.put_group_policy(
        GroupName="readers", PolicyName="p", PolicyDocument=world.policy("Allow", "s3:*")
    )
    assert refused(s3.list_buckets) == "AccessDenied"
    world.iam.add_user_to_group(GroupName="readers", UserName="operator")
    s3.list_buckets()
    world.iam.attach_user_policy(UserName="operator", PolicyArn="arn:aws:iam::aws:policy/AWSDenyAll")
    assert refused(s3.list_buckets) == "AccessDenied"
    world.iam.detach_user_policy(UserName="operator", PolicyArn="arn:aws:iam::aws:policy/AWSDenyAll")
    s3.list_buckets()


def test_the_default_version_of_a_managed_policy_counts(world: World, refused: Refused) -> None:
    user = world.user(allow=None)
    created = world.iam.create_policy(PolicyName="managed", PolicyDocument=world.policy("Allow", "s3:*"))
    arn = created["Policy"]["Arn"]
    world.iam.attach_user_policy(UserName="operator", PolicyArn=arn)
    world.connect("s3", user).list_buckets()
    world.iam.create_policy_version(PolicyArn=arn, PolicyDocument=world.policy("Deny"), SetAsDefault=True)
    assert refused(world.connect("s3", user).list_buckets) == "AccessDenied"


def test_a_permissions_boundary_caps_a_role_and_a_user(world: World, refused: Refused) -> None:
    boundary = world.iam.create_policy(PolicyName="cap", PolicyDocument=world.policy("Allow", "s3:*"))[
        "Policy"
    ]["Arn"]
    session = world.session(world.role())
    world.connect("iam", session).list_users()
    world.iam.put_role_permissions_boundary(RoleName="agent", PermissionsBoundary=boundary)
    world.connect("s3", session).list_buckets()
    assert refused(world.connect("iam", session).list_users) == "AccessDenied"
    user = world.user()
    world.iam.put_user_permissions_boundary(UserName="operator", PermissionsBoundary=boundary)
    shown = world.iam.get_user(UserName="operator")["User"]["PermissionsBoundary"]
    assert shown["PermissionsBoundaryArn"] == boundary
    world.connect("s3", user).list_buckets()
    assert refused(world.connect("iam", user).list_users) == "AccessDenied"
    world.iam.delete_user_permissions_boundary(UserName="operator")
    world.connect("iam", user).list_users()


def test_a_session_policy_caps_the_session(world: World, refused: Refused) -> None:
    session = world.session(world.role(), Policy=world.policy("Allow", "s3:*"))
    world.connect("s3", session).list_buckets()
    assert refused(world.connect("iam", session).list_users) == "AccessDenied"


TRUSTS: list[tuple[str, str, bool]] = [
    ("account", TRUST_ACCOUNT, True),
    ("account id", document(trust({"AWS": ACCOUNT})), True),
    ("the user", document(trust({"AWS": f"arn:aws:iam::{ACCOUNT}:user/operator"})), True),
    ("another user", document(trust({"AWS": f"arn:aws:iam::{ACCOUNT}:user/other"})), False),
    ("another account", document(trust({"AWS": f"arn:aws:iam::{OTHER}:root"})), False),
    ("service only", document(trust({"Service": "ec2.amazonaws.com"})), False),
    ("deny beside allow", document(trust({"AWS": ACCOUNT}), trust("*", "Deny")), False),
    (
        "deny unless someone else",
        document(
            trust({"AWS": ACCOUNT}),
            trust("*", "Deny", Condition={"ArnNotEquals": {"aws:PrincipalArn": "arn:aws:iam::1:role/x"}}),
        ),
        False,
    ),
    (
        "external id missing",
        document(trust({"AWS": ACCOUNT}, Condition={"StringEquals": {"sts:ExternalId": "secret"}})),
        False,
    ),
]


@pytest.mark.parametrize(
    ("trust_policy", "admits"), [case[1:] for case in TRUSTS], ids=[case[0] for case in TRUSTS]
)
def test_the_trust_policy_decides_who_assumes_the_role(
    world: World,
    refused: Refused,
    trust_policy: str,
    admits: bool,
) -> None:
    arn = world.role(trust_policy=trust_policy)
    sts = world.connect("sts", world.user())
    if admits:
        assert sts.assume_role(RoleArn=arn, RoleSessionName="probe")["AssumedRoleUser"]["Arn"].endswith(
            "agent/probe"
        )
    else:
        assert refused(sts.assume_role, RoleArn=arn, RoleSessionName="probe") == "AccessDenied"


def test_the_external_id_must_be_right(world: World, refused: Refused) -> None:
    condition = {"StringEquals": {"sts:ExternalId": "right"}}
    arn = world.role(trust_policy=document(trust({"AWS": ACCOUNT}, Condition=condition)))
    assert world.session(arn, ExternalId="right")
    assert (
        refused(world.sts.assume_role, RoleArn=arn, RoleSessionName="probe", ExternalId="wrong")
        == "AccessDenied"
    )


def test_an_unknown_role_is_refused_like_a_forbidden_one(world: World, refused: Refused) -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:role/nobody"
    assert refused(world.sts.assume_role, RoleArn=arn, RoleSessionName="probe") == "AccessDenied"


def test_assuming_a_role_of_another_account_needs_both_sides(
    world: World,
    far_world: World,
    connect: Connect,
    refused: Refused,
) -> None:
    arn = far_world.role(
        "evidence", trust_policy=document(trust({"AWS": f"arn:aws:iam::{ACCOUNT}:user/operator"}))
    )
    user = world.user(allow=None)
    sts = connect("sts", user)
    assert refused(sts.assume_role, RoleArn=arn, RoleSessionName="probe") == "AccessDenied"
    allow = world.policy("Allow", "sts:AssumeRole", arn)
    world.iam.put_user_policy(UserName="operator", PolicyName="assume", PolicyDocument=allow)
    credentials = sts.assume_role(RoleArn=arn, RoleSessionName="probe")["Credentials"]
    assert connect("sts", credentials).get_caller_identity()["Account"] == OTHER


def test_creating_with_tags_needs_the_right_to_tag(world: World, admin: AccessKey, refused: Refused) -> None:
    vpc = world.connect("ec2", admin).create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    ec2 = world.connect("ec2", world.user(allow="ec2:CreateSecurityGroup"))
    create = {"GroupName": "quarantine", "Description": "none", "VpcId": vpc}
    tags = [{"ResourceType": "security-group", "Tags": [{"Key": "a", "Value": "b"}]}]
    assert refused(ec2.create_security_group, **create, TagSpecifications=tags) == "UnauthorizedOperation"
    ec2.create_security_group(**create)
    condition = {"StringEquals": {"ec2:CreateAction": "CreateSecurityGroup"}}
    tag = world.policy("Allow", "ec2:CreateTags", "*", Condition=condition)
    world.iam.put_user_policy(UserName="operator", PolicyName="tag", PolicyDocument=tag)
    ec2.create_security_group(**{**create, "GroupName": "tagged"}, TagSpecifications=tags)


def test_creating_in_a_network_needs_the_new_resource_too(
    world: World,
    admin: AccessKey,
    refused: Refused,
) -> None:
    vpc = world.connect("ec2", admin).create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    user = world.user(allow=None)
    create = {"GroupName": "quarantine", "Description": "none", "VpcId": vpc}
    prefix = f"arn:aws:ec2:{REGION}:{ACCOUNT}"
    for resources, admits in (
        ([f"{prefix}:vpc/{vpc}"], False),
        ([f"{prefix}:security-group/*"], False),
        ([f"{prefix}:vpc/{vpc}", f"{prefix}:security-group/*"], True),
    ):
        allow = world.policy("Allow", "ec2:CreateSecurityGroup", resources)
        world.iam.put_user_policy(UserName="operator", PolicyName="create", PolicyDocument=allow)
        ec2 = world.connect("ec2", user)
        if admits:
            assert ec2.create_security_group(**create)["GroupId"]
        else:
            assert refused(ec2.create_security_group, **create) == "UnauthorizedOperation"


def test_service_linked_roles_cannot_be_changed(world: World, refused: Refused) -> None:
    role = world.iam.create_service_linked_role(AWSServiceName="autoscaling.amazonaws.com")["Role"]
    change = {"RoleName": role["RoleName"], "PolicyName": "deny", "PolicyDocument": world.policy("Deny")}
    assert refused(world.iam.put_role_policy, **change) == "UnmodifiableEntity"


def test_passing_a_role_needs_permission(world: World, admin: AccessKey, refused: Refused) -> None:
    vpc = world.connect("ec2", admin).create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    arn = world.role("logs")
    user = world.user(allow="ec2:*")
    create = {
        "ResourceIds": [vpc],
        "ResourceType": "VPC",
        "TrafficType": "ALL",
        "LogGroupName": "flow",
        "DeliverLogsPermissionArn": arn,
    }
    assert refused(world.connect("ec2", user).create_flow_logs, **create) == "UnauthorizedOperation"


def test_a_role_may_be_passed_to_the_named_service_only(
    world: World,
    admin: AccessKey,
    refused: Refused,
) -> None:
    vpc = world.connect("ec2", admin).create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    world.connect("logs", admin).create_log_group(logGroupName="flow")
    arn = world.role("logs")
    user = world.user(allow="ec2:*")
    create = {
        "ResourceIds": [vpc],
        "ResourceType": "VPC",
        "TrafficType": "ALL",
        "LogGroupName": "flow",
        "DeliverLogsPermissionArn": arn,
    }
    for service, admits in (("lambda.amazonaws.com", False), ("vpc-flow-logs.amazonaws.com", True)):
        condition = {"StringEquals": {"iam:PassedToService": service}}
        allow = world.policy("Allow", "iam:PassRole", arn, Condition=condition)
        world.iam.put_user_policy(UserName="operator", PolicyName="pass", PolicyDocument=allow)
        if admits:
            assert world.connect("ec2", user).create_flow_logs(**create)["FlowLogIds"]
        else:
            assert refused(world.connect("ec2", user).create_flow_logs, **create) == "UnauthorizedOperation"


def test_source_accounts_are_separate(world: World, sandbox: SandboxClient, connect: Connect) -> None:
    world.role("here")
    far = connect("iam", sandbox.bootstrap(OTHER))
    assert [role["RoleName"] for role in far.list_roles()["Roles"]] == []


def test_an_issue_time_in_the_future_denies_every_session(world: World, refused: Refused) -> None:
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    s3 = world.connect("s3", world.session(world.role()))
    deny = world.policy("Deny", Condition={"DateLessThan": {"aws:TokenIssueTime": later}})
    world.iam.put_role_policy(RoleName="agent", PolicyName="revoke", PolicyDocument=deny)
    assert refused(s3.list_buckets) == "AccessDenied"
