"""Identities of AWS to contain, and one measure on one of them."""

from __future__ import annotations

import json
from typing import Any

from firebreak.measure import measure
from firebreak.model import JsonObject
from providers.aws.resources import IamRole, IamUser
from tests.providers.aws.conftest import allow, policy
from tests.providers.driving import OneIdentity

PROBE = {"service": "s3", "operation": "ListBuckets"}
OTHER_PROBE = {"service": "dynamodb", "operation": "list_tables"}


class Step(OneIdentity):
    """One measure on one identity."""

    def __init__(self, world: Any, measure_name: str, resource: JsonObject, *, name: str = "agent") -> None:
        kind = IamRole if resource["kind"] == "iam-role" else IamUser
        workload = world.workload(identities=(kind.model_validate(resource),))
        workload = workload.model_copy(update={"id": name})
        self.context = world.context(workload)
        self.measure = measure(measure_name)(self.context)
        (declared,) = self.measure.applies_to(workload)
        (self.target,) = self.measure.discover(declared)


def trust(*principals: str) -> JsonObject:
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": list(principals)}}
    return {"Version": "2012-10-17", "Statement": [statement]}


def make_role(world: Any, name: str, **more: Any) -> JsonObject:
    iam = world.admin("iam")
    # The second principal stands for any other way in, so that the trust policy is not trivial.
    document = trust(world.responder, f"arn:aws:iam::{world.responder.split(':')[4]}:root")
    created = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(document))["Role"]
    iam.put_role_policy(RoleName=name, PolicyName="agent", PolicyDocument=policy(allow("s3:*", "dynamodb:*")))
    return {"kind": "iam-role", "ref": created["Arn"], "probes": [PROBE, OTHER_PROBE], **more}


def name_of(resource: JsonObject) -> str:
    return str(resource["ref"]).rsplit("/", 1)[-1]
