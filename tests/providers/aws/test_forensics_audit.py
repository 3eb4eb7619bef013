"""The audit log of AWS: what the workload's identities did, wherever it was recorded."""

from __future__ import annotations

import json
from typing import Any

import pytest

from providers.aws.forensics import audit
from providers.aws.resources import IamRole, IamUser
from tests.providers.aws.conftest import REGION, allow, policy
from tests.providers.aws.conftest import WORKLOAD as ACCOUNT
from tests.providers.capturing import Step
from tests.providers.driving import holds


def test_the_audit_log_follows_sessions(world: Any, fresh: Any) -> None:
    name = fresh("agent-role")
    iam, sts = world.admin("iam"), world.admin("sts")
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": "sts:AssumeRole",
                "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
            }
        ],
    }
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    iam.put_role_policy(
        RoleName=name,
        PolicyName="p",
        PolicyDocument=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"}],
            }
        ),
    )
    session = f"{name}-session"
    keys = sts.assume_role(RoleArn=role, RoleSessionName=session)["Credentials"]
    world.client_with(keys, "s3").list_buckets()
    step = Step(world, "aws.capture-audit-log", identities=(IamRole(kind="iam-role", ref=role),))
    change = step.apply()
    records = step.records(change)
    assert {"CreateRole", "PutRolePolicy", "AssumeRole", "ListBuckets"} <= {r["EventName"] for r in records}
    assert len({each["EventId"] for each in records}) == len(records)
    assert ["Username", session] in change.after["searches"]
    assert json.loads(records[0]["CloudTrailEvent"])["eventID"] == records[0]["EventId"]
    assert holds(step.verify(change))


def test_the_audit_log_has_what_global_services_record_elsewhere(world: Any, fresh: Any) -> None:
    """An assumption at the global STS endpoint and calls to IAM are in us-east-1, the rest here."""
    name, iam = fresh("agent-role"), world.admin("iam")
    trusted = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": ACCOUNT}}
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy(trusted))["Role"]["Arn"]
    iam.put_role_policy(
        RoleName=name, PolicyName="p", PolicyDocument=policy(allow("s3:ListAllMyBuckets", "iam:CreateUser"))
    )
    sts, session = world.admin("sts", region="us-east-1"), f"{name}-session"
    keys = sts.assume_role(RoleArn=role, RoleSessionName=session)["Credentials"]
    world.client_with(keys, "s3").list_buckets()
    world.client_with(keys, "iam").create_user(UserName=fresh("backdoor"))
    step = Step(world, "aws.capture-audit-log", identities=(IamRole(kind="iam-role", ref=role),))
    change = step.apply()
    regions = {
        each["EventName"]: json.loads(each["CloudTrailEvent"])["awsRegion"] for each in step.records(change)
    }
    assert regions["ListBuckets"] == REGION
    assert regions["AssumeRole"] == regions["CreateUser"] == regions["PutRolePolicy"] == "us-east-1"
    assert change.after["regions_searched"] == [REGION, "us-east-1"]
    assert change.exhibits[0].source.split() == [
        f"arn:aws:cloudtrail:{each}:{ACCOUNT}:eventhistory" for each in (REGION, "us-east-1")
    ]
    assert holds(step.verify(change))


@pytest.mark.parametrize(
    ("region", "searched"),
    [
        ("us-east-1", ["us-east-1"]),
        ("us-gov-east-1", ["us-gov-east-1", "us-gov-west-1"]),
        ("cn-northwest-1", ["cn-northwest-1", "cn-north-1"]),
    ],
)
def test_each_partition_has_one_region_for_its_global_events(region: str, searched: list[str]) -> None:
    assert audit.regions(region) == searched


def test_the_audit_log_of_a_user(world: Any, fresh: Any) -> None:
    name, iam = fresh("agent-user"), world.admin("iam")
    arn = iam.create_user(UserName=name)["User"]["Arn"]
    step = Step(world, "aws.capture-audit-log", identities=(IamUser(kind="iam-user", ref=arn),))
    change = step.apply()
    assert "CreateUser" in {each["EventName"] for each in step.records(change)}
