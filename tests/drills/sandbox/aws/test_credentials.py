from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from drills.sandbox.aws.client import AccessKey, SandboxClient

ACCOUNT = "222222222222"

World = Any
Connect = Callable[..., Any]
Refused = Callable[..., str]


def trust(principal: Any, effect: str = "Allow", **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Principal": principal, "Action": "sts:AssumeRole", **more}


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


@pytest.mark.parametrize(
    ("service", "operation", "code"),
    [
        ("s3", "list_buckets", "InvalidAccessKeyId"),
        ("iam", "list_users", "InvalidClientTokenId"),
        ("sts", "get_caller_identity", "InvalidClientTokenId"),
        ("ec2", "describe_instances", "AuthFailure"),
        ("dynamodb", "list_tables", "UnrecognizedClientException"),
        ("lambda", "list_functions", "UnrecognizedClientException"),
    ],
)
def test_a_dead_access_key_is_refused(
    world: World,
    refused: Refused,
    service: str,
    operation: str,
    code: str,
) -> None:
    user = world.user()
    probe = getattr(world.connect(service, user), operation)
    probe()
    change = {"UserName": "operator", "AccessKeyId": user.access_key_id}
    world.iam.update_access_key(**change, Status="Inactive")
    assert refused(probe) == code
    world.iam.update_access_key(**change, Status="Active")
    probe()
    world.iam.delete_access_key(**change)
    assert refused(probe) == code


def test_a_wrong_secret_is_refused(world: World, connect: Connect, refused: Refused) -> None:
    user = world.user()
    forged = AccessKey(ACCOUNT, user.access_key_id, "x" * 40)
    assert refused(connect("s3", forged).list_buckets) == "SignatureDoesNotMatch"
    assert refused(connect("iam", forged).list_users) == "SignatureDoesNotMatch"
    assert refused(connect("lambda", forged).list_functions) == "InvalidSignatureException"


def test_an_expired_session_is_refused(world: World, sandbox: SandboxClient, refused: Refused) -> None:
    session = world.session(world.role())
    assert sandbox.expire_session(session["AccessKeyId"])
    assert refused(world.connect("s3", session).list_buckets) == "ExpiredToken"
    assert refused(world.connect("dynamodb", session).list_tables) == "ExpiredTokenException"
    assert refused(world.connect("sts", session).get_caller_identity) == "ExpiredToken"


def test_a_session_of_a_deleted_or_recreated_role_is_refused(world: World, refused: Refused) -> None:
    s3 = world.connect("s3", world.session(world.role()))
    s3.list_buckets()
    world.iam.delete_role_policy(RoleName="agent", PolicyName="allow")
    world.iam.delete_role(RoleName="agent")
    assert refused(s3.list_buckets) == "AccessDenied"
    world.role()
    assert refused(s3.list_buckets) == "AccessDenied"


def test_get_session_token_works_and_dies_with_the_users_rights(world: World, refused: Refused) -> None:
    user = world.user()
    credentials = world.connect("sts", user).get_session_token()["Credentials"]
    s3 = world.connect("s3", credentials)
    s3.list_buckets()
    world.iam.put_user_policy(UserName="operator", PolicyName="deny", PolicyDocument=world.policy("Deny"))
    assert refused(s3.list_buckets) == "AccessDenied"


def test_role_chaining_is_limited_to_one_hour(world: World, refused: Refused) -> None:
    arn = world.role()
    sts = world.connect("sts", world.session(arn))
    assert (
        refused(sts.assume_role, RoleArn=arn, RoleSessionName="probe", DurationSeconds=7200)
        == "ValidationError"
    )


def test_a_session_lasts_at_most_as_long_as_the_role_allows(world: World, refused: Refused) -> None:
    arn = world.role()
    ask = {"RoleArn": arn, "RoleSessionName": "probe", "DurationSeconds": 7200}
    assert refused(world.sts.assume_role, **ask) == "ValidationError"
    world.iam.update_role(RoleName="agent", MaxSessionDuration=7200)
    world.sts.assume_role(**ask)


def test_propagation_delays_the_evaluator_and_not_the_reader(
    world: World,
    sandbox: SandboxClient,
    refused: Refused,
) -> None:
    s3 = world.connect("s3", world.session(world.role()))
    sandbox.configure(iam_propagation_seconds=1.0)
    changed_at = time.monotonic()
    world.iam.put_role_policy(RoleName="agent", PolicyName="deny", PolicyDocument=world.policy("Deny"))
    assert "deny" in world.iam.list_role_policies(RoleName="agent")["PolicyNames"]
    s3.list_buckets()
    deadline = changed_at + 10
    while _works(s3.list_buckets):
        assert time.monotonic() < deadline
    assert time.monotonic() - changed_at >= 1.0
    assert refused(s3.list_buckets) == "AccessDenied"


def test_propagation_delays_trust_and_keys(world: World, sandbox: SandboxClient) -> None:
    arn, user = world.role(), world.user()
    sandbox.configure(iam_propagation_seconds=1.0)
    world.iam.update_assume_role_policy(RoleName="agent", PolicyDocument=document(trust("*", "Deny")))
    world.iam.update_access_key(UserName="operator", AccessKeyId=user.access_key_id, Status="Inactive")
    sts = world.connect("sts", user)
    assert _works(sts.assume_role, RoleArn=arn, RoleSessionName="probe")
    deadline = time.monotonic() + 10
    while _works(sts.get_caller_identity) or _works(
        world.sts.assume_role, RoleArn=arn, RoleSessionName="probe"
    ):
        assert time.monotonic() < deadline


def _works(function: Callable[..., Any], **arguments: Any) -> bool:
    try:
        function(**arguments)
    except ClientError:
        return False
    return True
