from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

ACCOUNT = "222222222222"
REGION = "eu-central-1"

World = Any
Refused = Callable[..., str]


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


class TestSimulator:
    def decisions(self, iam: Any, arn: str, **more: Any) -> dict[tuple[str, str], str]:
        pages = iam.get_paginator("simulate_principal_policy").paginate(PolicySourceArn=arn, **more)
        results = [result for page in pages for result in page["EvaluationResults"]]
        return {(each["EvalActionName"], each["EvalResourceName"]): each["EvalDecision"] for each in results}

    def test_it_tells_allowed_from_both_kinds_of_denied(self, world: World) -> None:
        arn = world.role(allow=["s3:*", "sqs:SendMessage"])
        deny = world.policy("Deny", "s3:DeleteBucket")
        world.iam.put_role_policy(RoleName="agent", PolicyName="deny", PolicyDocument=deny)
        actions = ["s3:ListAllMyBuckets", "s3:DeleteBucket", "iam:ListUsers"]
        assert self.decisions(world.iam, arn, ActionNames=actions) == {
            ("s3:ListAllMyBuckets", "*"): "allowed",
            ("s3:DeleteBucket", "*"): "explicitDeny",
            ("iam:ListUsers", "*"): "implicitDeny",
        }

    def test_it_honours_resources_conditions_and_boundary(self, world: World) -> None:
        arn = world.role(allow=None)
        statement = {
            "Effect": "Allow",
            "Action": "s3:GetObject",
            "Resource": "arn:aws:s3:::models/*",
            "Condition": {"StringEquals": {"aws:RequestedRegion": REGION}},
        }
        world.iam.put_role_policy(RoleName="agent", PolicyName="p", PolicyDocument=document(statement))
        asked = {
            "ActionNames": ["s3:GetObject"],
            "ResourceArns": ["arn:aws:s3:::models/a", "arn:aws:s3:::other/a"],
        }
        region = {
            "ContextKeyName": "aws:RequestedRegion",
            "ContextKeyType": "string",
            "ContextKeyValues": [REGION],
        }
        models, other = ("s3:GetObject", "arn:aws:s3:::models/a"), ("s3:GetObject", "arn:aws:s3:::other/a")
        with_region = self.decisions(world.iam, arn, **asked, ContextEntries=[region])
        assert with_region == {models: "allowed", other: "implicitDeny"}
        assert set(self.decisions(world.iam, arn, **asked).values()) == {"implicitDeny"}
        cap = world.iam.create_policy(PolicyName="cap", PolicyDocument=world.policy("Allow", "sqs:*"))[
            "Policy"
        ]["Arn"]
        world.iam.put_role_permissions_boundary(RoleName="agent", PermissionsBoundary=cap)
        assert set(self.decisions(world.iam, arn, **asked, ContextEntries=[region]).values()) == {
            "implicitDeny"
        }

    def test_it_pages(self, world: World) -> None:
        arn = world.role()
        actions = [f"s3:Action{number}" for number in range(120)]
        first = world.iam.simulate_principal_policy(PolicySourceArn=arn, ActionNames=actions)
        assert (len(first["EvaluationResults"]), first["IsTruncated"]) == (100, True)
        assert len(self.decisions(world.iam, arn, ActionNames=actions)) == 120

    def test_it_knows_only_users_and_roles_that_exist(self, world: World, refused: Refused) -> None:
        ask = {"ActionNames": ["s3:GetObject"], "PolicySourceArn": f"arn:aws:iam::{ACCOUNT}:role/nobody"}
        assert refused(world.iam.simulate_principal_policy, **ask) == "NoSuchEntity"
        session = f"arn:aws:sts::{ACCOUNT}:assumed-role/agent/probe"
        assert (
            refused(world.iam.simulate_principal_policy, **{**ask, "PolicySourceArn": session})
            == "InvalidInput"
        )

    def test_custom_policies(self, world: World) -> None:
        ask = {
            "PolicyInputList": [world.policy("Allow", "s3:*")],
            "ActionNames": ["s3:GetObject", "iam:GetUser"],
        }
        results = world.iam.simulate_custom_policy(**ask)["EvaluationResults"]
        assert [result["EvalDecision"] for result in results] == ["allowed", "implicitDeny"]
