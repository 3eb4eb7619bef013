from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from drills.sandbox.aws.calls import is_mutating
from drills.sandbox.aws.client import AccessKey, SandboxClient

REGION = "eu-central-1"
Connect = Callable[..., Any]


@pytest.mark.parametrize(
    "operation",
    [
        "GetRole",
        "ListBuckets",
        "DescribeInstances",
        "HeadObject",
        "LookupEvents",
        "Query",
        "Scan",
        "FilterLogEvents",
        "SearchResources",
        "SimulatePrincipalPolicy",
        "BatchGetItem",
        "ReceiveMessage",
        "AssumeRole",
        "GetCallerIdentity",
        "Sign",
        "Verify",
        "Encrypt",
        "Decrypt",
        "Invoke",
        "StartQuery",
    ],
)
def test_looking_is_no_mutation(operation: str) -> None:
    assert not is_mutating(operation)


@pytest.mark.parametrize(
    "operation",
    [
        "PutRolePolicy",
        "DeleteObject",
        "ModifyNetworkInterfaceAttribute",
        "CreateSnapshots",
        "TagResource",
        "DisableStageTransition",
        "SetQueueAttributes",
        "UpdateAssumeRolePolicy",
        "PutObjectLegalHold",
        "SendMessage",
        "Publish",
        "BatchWriteItem",
        "BatchUpdateFindings",
        "StartPipelineExecution",
        "CopyObject",
        "RevokeSecurityGroupEgress",
    ],
)
def test_changing_is_a_mutation(operation: str) -> None:
    assert is_mutating(operation)


def test_calls_are_named_by_the_service_model(
    sandbox: SandboxClient, connect: Connect, admin: AccessKey
) -> None:
    start = sandbox.calls().next
    s3 = connect("s3", admin)
    s3.create_bucket(
        Bucket="vault",
        CreateBucketConfiguration={"LocationConstraint": REGION},
        ObjectLockEnabledForBucket=True,
    )
    s3.put_object(Bucket="vault", Key="x", Body=b"secret bytes")
    s3.put_object_legal_hold(Bucket="vault", Key="x", LegalHold={"Status": "ON"})
    s3.list_objects_v2(Bucket="vault")
    connect("sqs", admin).list_queues()
    connect("ec2", admin).describe_vpcs()
    connect("lambda", admin).list_functions()
    recorded = sandbox.calls(start).calls
    assert [(call["service"], call["operation"]) for call in recorded] == [
        ("s3", "CreateBucket"),
        ("s3", "PutObject"),
        ("s3", "PutObjectLegalHold"),
        ("s3", "ListObjectsV2"),
        ("sqs", "ListQueues"),
        ("ec2", "DescribeVpcs"),
        ("lambda", "ListFunctions"),
    ]
    assert [call["mutating"] for call in recorded] == [True, True, True, False, False, False, False]
    assert recorded[1]["resources"] == ["arn:aws:s3:::vault/x"]
    assert {call["principal_arn"] for call in recorded} == {
        f"arn:aws:iam::{admin.account}:user/sandbox-admin"
    }
    assert {call["access_key_id_suffix"] for call in recorded} == {admin.access_key_id[-4:]}
    assert {call["region"] for call in recorded} == {REGION}
    assert "secret bytes" not in json.dumps(recorded)


def test_secrets_are_not_recorded(sandbox: SandboxClient, connect: Connect, admin: AccessKey) -> None:
    connect("secretsmanager", admin).create_secret(Name="token", SecretString="hunter2-secret")
    connect("kms", admin).create_key()
    iam = connect("iam", admin)
    iam.create_user(UserName="agent")
    iam.create_login_profile(UserName="agent", Password="hunter2-Password!")
    text = json.dumps(sandbox.calls().calls)
    assert "hunter2" not in text
    assert admin.secret_access_key not in text
    assert admin.access_key_id not in text


def test_only_mutating_calls_of_one_principal(
    sandbox: SandboxClient, connect: Connect, admin: AccessKey
) -> None:
    other = sandbox.bootstrap("333333333333")
    for key in (admin, other):
        iam = connect("iam", key)
        iam.list_users()
        iam.create_user(UserName="agent")
    mutating = sandbox.calls(mutating=True).calls
    assert [call["account"] for call in mutating] == [admin.account, other.account]
    assert {call["operation"] for call in mutating} == {"CreateUser"}
    own = sandbox.calls(principal=other.account).calls
    assert [call["operation"] for call in own] == ["ListUsers", "CreateUser"]


def test_paging_by_sequence_number(sandbox: SandboxClient, connect: Connect, admin: AccessKey) -> None:
    iam = connect("iam", admin)
    iam.list_users()
    first = sandbox.calls()
    assert [call["seq"] for call in first.calls] == [1]
    assert sandbox.calls(first.next).calls == []
    iam.list_roles()
    second = sandbox.calls(first.next)
    assert [(call["seq"], call["operation"]) for call in second.calls] == [(2, "ListRoles")]
    assert second.next == 2


def test_calls_are_counted_by_service(sandbox: SandboxClient, connect: Connect, admin: AccessKey) -> None:
    connect("iam", admin).list_users()
    connect("iam", admin).list_roles()
    connect("sqs", admin).list_queues()
    assert sandbox.call_counts() == {"iam": 2, "sqs": 1}


def test_refused_calls_are_recorded_with_their_code(
    sandbox: SandboxClient,
    connect: Connect,
    admin: AccessKey,
    refused: Callable[..., str],
) -> None:
    iam = connect("iam", admin)
    refused(iam.get_role, RoleName="nobody")
    assert sandbox.calls().calls[-1]["error_code"] == "NoSuchEntity"
    forged = AccessKey(admin.account, "AKIAIOSFODNN7EXAMPLE", "x" * 40)
    refused(connect("dynamodb", forged).list_tables)
    recorded = sandbox.calls().calls[-1]
    assert (recorded["error_code"], recorded["principal_arn"]) == ("UnrecognizedClientException", "")
