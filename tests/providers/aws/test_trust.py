"""Trust policies of AWS roles: whom else they admit, and what a block of them may not lose."""

from __future__ import annotations

import json
from typing import Any

import pytest

from firebreak.errors import PermanentCloudError
from tests.providers.aws.conftest import REGION
from tests.providers.aws.identities import Step, make_role, name_of, trust


def test_blast_radius_names_declared_and_discovered_users(world: Any, fresh: Any) -> None:
    role = make_role(world, fresh("wide"), shared_with=["billing"])
    arn = world.admin("lambda").create_function(
        FunctionName=fresh("function"),
        Runtime="python3.12",
        Role=role["ref"],
        Handler="a.b",
        Code={"ZipFile": b"PK\x05\x06" + bytes(18)},
    )["FunctionArn"]
    step = Step(world, "aws.deny-all", role)
    assert step.measure.blast_radius(step.target) == ("billing", arn)
    own = Step(world, "aws.deny-all", {**role, "shared_with": [], "used_by": [arn]})
    assert own.measure.blast_radius(own.target) == ()


OIDC = "arn:aws:iam::222222222222:oidc-provider/oidc.eks.eu-central-1.amazonaws.com/id/A"
ACCOUNT = "arn:aws:iam::999999999999:root"


@pytest.mark.parametrize(
    ("admitted", "used_by", "named"),
    [
        ([{"Service": ["ec2.amazonaws.com", "lambda.amazonaws.com"]}], [], ()),
        ([{"Service": "ecs-tasks.amazonaws.com"}], [], ()),
        (
            [{"Service": "ec2.amazonaws.com"}, {"Service": "ecs-tasks.amazonaws.com"}],
            [],
            ("ecs-tasks.amazonaws.com",),
        ),
        ([{"Service": "ec2.amazonaws.com"}, {"Federated": OIDC}], [], (OIDC,)),
        ([{"Service": "ecs-tasks.amazonaws.com"}, {"Federated": OIDC}], ["ecs-tasks.amazonaws.com"], (OIDC,)),
        ([{"Service": "ec2.amazonaws.com"}, {"AWS": ACCOUNT}], [], (ACCOUNT,)),
        ([{"Service": "ec2.amazonaws.com"}, "*"], [], ("*",)),
    ],
)
def test_blast_radius_names_whom_else_the_trust_policy_admits(
    world: Any, fresh: Any, admitted: list[Any], used_by: list[str], named: tuple[str, ...]
) -> None:
    role, iam = make_role(world, fresh("mixed"), used_by=used_by), world.admin("iam")
    known = iam.get_role(RoleName=name_of(role))["Role"]["AssumeRolePolicyDocument"]["Statement"]
    more = [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": each} for each in admitted]
    iam.update_assume_role_policy(
        RoleName=name_of(role),
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [*known, *more]}),
    )
    step = Step(world, "aws.block-assume-role", role)
    assert step.measure.blast_radius(step.target) == named
    (note,) = step.snapshot().values["notes"]
    assert f"known only of EC2 and Lambda in {REGION}" in note
    assert all(each in note for each in named)


def test_a_shared_role_whose_trust_has_no_room_is_refused_before_the_first_change(
    world: Any, fresh: Any
) -> None:
    names = [f"agent-{number:02d}-{'x' * 50}-*" for number in range(35)]
    step = Step(world, "aws.block-assume-role", make_role(world, fresh("shared"), session_names=names))
    with pytest.raises(PermanentCloudError, match="IAM takes 2048"):
        step.snapshot()


@pytest.mark.parametrize("names", [[], ["agent-*"]])
def test_a_trust_policy_that_names_a_deleted_principal_is_blocked_and_released_without_it(
    world: Any, fresh: Any, names: list[str]
) -> None:
    iam, role = world.admin("iam"), make_role(world, fresh("agent"), session_names=names)
    other = iam.create_user(UserName=fresh("other"))["User"]
    named = trust(world.responder, other["Arn"])
    iam.update_assume_role_policy(RoleName=name_of(role), PolicyDocument=json.dumps(named))
    iam.delete_user(UserName=other["UserName"])
    step = Step(world, "aws.block-assume-role", role)
    state = step.snapshot()
    assert "AIDA" in json.dumps(state.values["trust"])
    change = step.apply(state)
    assert change.changed
    assert step.holds(change)
    assert not step.apply(state).changed
    for finding in (step.measure.revert(change), step.measure.revert(change)):
        assert finding.holds
        assert finding.observed == "trust policy restored without the principals that exist no longer"
        assert finding.detail["trust"]["Statement"][0]["Principal"] == {"AWS": [world.responder]}


def test_what_iam_does_not_take_back_is_left_out_where_the_role_is_the_workloads_own(
    world: Any, fresh: Any
) -> None:
    iam, role = world.admin("iam"), make_role(world, fresh("agent"))
    statement = {**trust(world.responder)["Statement"][0], "Sid": "x" * 1_800}
    full = json.dumps({"Version": "2012-10-17", "Statement": [statement]}, separators=(",", ":"))
    iam.update_assume_role_policy(RoleName=name_of(role), PolicyDocument=full)
    step = Step(world, "aws.block-assume-role", role)
    change = step.apply(step.snapshot())
    assert len(change.after["trust"]["Statement"]) == 1
    assert step.holds(change)
    assert step.measure.revert(change).observed == "trust policy restored"
    after = iam.get_role(RoleName=name_of(role))["Role"]["AssumeRolePolicyDocument"]
    assert after == json.loads(full)
