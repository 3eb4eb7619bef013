"""Phase 1 on AWS, against the sandbox: each identity measure is proved, reverted, and never proved early."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from firebreak.errors import ContainmentError, Irreversible, PermanentCloudError
from firebreak.model import JsonObject, Target
from firebreak.probing import Control, Kind, judge
from providers.aws.documents import document
from providers.aws.probes import classify
from tests.providers.aws.conftest import REGION, allow, policy
from tests.providers.aws.identities import PROBE, Step, make_role, name_of


@pytest.fixture
def role(world: Any, fresh: Any) -> JsonObject:
    return make_role(world, fresh("agent"))


@pytest.fixture
def user(world: Any, fresh: Any) -> Iterator[JsonObject]:
    name, iam = fresh("agent-user"), world.admin("iam")
    created = iam.create_user(UserName=name)["User"]
    iam.put_user_policy(UserName=name, PolicyName="agent", PolicyDocument=policy(allow("s3:*", "dynamodb:*")))
    first, second = (iam.create_access_key(UserName=name)["AccessKey"] for _ in range(2))
    secret = json.dumps(
        {"access_key_id": first["AccessKeyId"], "secret_access_key": first["SecretAccessKey"]}
    )
    arn = world.admin("secretsmanager").create_secret(Name=name, SecretString=secret)["ARN"]
    yield {
        "kind": "iam-user",
        "ref": created["Arn"],
        "probe_secret": arn,
        "probes": [PROBE],
    }
    assert second["AccessKeyId"]


def session_as(world: Any, role: JsonObject, name: str, service: str) -> Any:
    sts = world.admin("sts")
    issued = sts.assume_role(RoleArn=role["ref"], RoleSessionName=name)["Credentials"]
    return world.client_with(issued, service)


def refused(call: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call()
    return str(caught.value.response["Error"]["Code"])


def test_deny_all_stops_a_live_session_and_is_reverted_exactly(world: Any, role: JsonObject) -> None:
    step, agent = Step(world, "aws.deny-all", role), session_as(world, role, "agent", "s3")
    agent.list_buckets()
    state = step.snapshot()
    change = step.apply(state)
    assert change.changed
    assert refused(agent.list_buckets) == "AccessDenied"
    assert step.holds(change)
    assert not step.apply(state).changed
    assert step.measure.revert(change).holds
    assert step.measure.revert(change).holds
    agent.list_buckets()
    assert world.admin("iam").list_role_policies(RoleName=name_of(role))["PolicyNames"] == ["agent"]
    assert not step.holds(change)


def test_nothing_is_proved_before_the_change(world: Any, role: JsonObject) -> None:
    for name in ("aws.deny-all", "aws.revoke-sessions", "aws.block-assume-role"):
        step = Step(world, name, role)
        state = step.snapshot()
        pretended = step.measure.done(step.target, state, changed=True, cut_off="2026-01-01T00:00:00Z")
        findings = step.verify(pretended)
        assert [each.holds for each in findings] == [False, False], name


def test_a_policy_of_our_name_with_other_content_is_replaced_and_given_back(
    world: Any, role: JsonObject
) -> None:
    iam, theirs = world.admin("iam"), policy(allow("s3:GetObject"))
    iam.put_role_policy(RoleName=name_of(role), PolicyName="FirebreakDenyAll-agent", PolicyDocument=theirs)
    step = Step(world, "aws.deny-all", role)
    change = step.apply(step.snapshot())
    assert change.changed
    assert step.holds(change)
    assert step.measure.revert(change).holds
    actual = iam.get_role_policy(RoleName=name_of(role), PolicyName="FirebreakDenyAll-agent")[
        "PolicyDocument"
    ]
    assert actual == json.loads(theirs)


def test_a_boundary_does_not_weaken_the_deny_and_survives_release(world: Any, fresh: Any) -> None:
    iam, role = world.admin("iam"), make_role(world, fresh("bounded"))
    boundary = iam.create_policy(PolicyName=fresh("cap"), PolicyDocument=policy(allow("s3:*")))["Policy"][
        "Arn"
    ]
    iam.put_role_permissions_boundary(RoleName=name_of(role), PermissionsBoundary=boundary)
    step = Step(world, "aws.deny-all", role)
    state = step.snapshot()
    assert state.values["boundary"] == boundary
    # The second probe never worked behind the boundary, so only the first one counts.
    assert state.values["control"]["works"] == ["s3:ListBuckets"]
    change = step.apply(state)
    assert step.holds(change)
    assert step.measure.revert(change).holds
    kept = iam.get_role(RoleName=name_of(role))["Role"]["PermissionsBoundary"]["PermissionsBoundaryArn"]
    assert kept == boundary


def test_a_shared_role_loses_only_the_workloads_sessions(world: Any, fresh: Any) -> None:
    role = make_role(world, fresh("shared"), session_names=["agent-*"], shared_with=["billing"])
    ours, theirs = (session_as(world, role, name, "s3") for name in ("agent-7", "billing-1"))
    deny, block = Step(world, "aws.deny-all", role), Step(world, "aws.block-assume-role", role)
    assert deny.measure.blast_radius(deny.target) == ()
    states = deny.snapshot(), block.snapshot()
    changes = deny.apply(states[0]), block.apply(states[1])
    assert refused(ours.list_buckets) == "AccessDenied"
    theirs.list_buckets()
    assert deny.holds(changes[0])
    assert block.holds(changes[1])
    session_as(world, role, "billing-2", "s3").list_buckets()
    assert refused(lambda: session_as(world, role, "agent-8", "s3")) == "AccessDenied"


def test_two_workloads_on_one_role_are_contained_and_released_on_their_own(world: Any, fresh: Any) -> None:
    role = make_role(world, fresh("shared"))
    one, other = ({**role, "session_names": [f"{name}-*"]} for name in ("one", "other"))
    before = world.admin("iam").get_role(RoleName=name_of(role))["Role"]["AssumeRolePolicyDocument"]
    for measure_name in ("aws.deny-all", "aws.block-assume-role"):
        first = Step(world, measure_name, one, name="one")
        second = Step(world, measure_name, other, name="other")
        changes = first.apply(first.snapshot()), second.apply(second.snapshot())
        assert first.holds(changes[0])
        assert second.holds(changes[1])
        assert first.measure.revert(changes[0]).holds
        assert second.holds(changes[1])
        assert not first.holds(changes[0])
        assert second.measure.revert(changes[1]).holds
    after = world.admin("iam").get_role(RoleName=name_of(role))["Role"]["AssumeRolePolicyDocument"]
    assert after == before
    assert world.admin("iam").list_role_policies(RoleName=name_of(role))["PolicyNames"] == ["agent"]


def test_fresh_sessions_are_refused_until_release(world: Any, role: JsonObject) -> None:
    iam, step = world.admin("iam"), Step(world, "aws.block-assume-role", role)
    before = iam.get_role(RoleName=name_of(role))["Role"]["AssumeRolePolicyDocument"]
    state = step.snapshot()
    change = step.apply(state)
    assert change.changed
    assert step.holds(change)
    assert not step.apply(state).changed
    assert refused(lambda: session_as(world, role, "again", "s3")) == "AccessDenied"
    assert step.measure.revert(change).holds
    assert iam.get_role(RoleName=name_of(role))["Role"]["AssumeRolePolicyDocument"] == before
    session_as(world, role, "again", "s3").list_buckets()


def test_a_role_the_responder_cannot_assume_is_contained_but_not_proved(world: Any, fresh: Any) -> None:
    iam, name = world.admin("iam"), fresh("closed")
    closed = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}}
    document = json.dumps({"Version": "2012-10-17", "Statement": closed})
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    role = {"kind": "iam-role", "ref": arn, "probes": [PROBE]}
    for measure_name in ("aws.deny-all", "aws.block-assume-role"):
        step = Step(world, measure_name, role)
        change = step.apply(step.snapshot())
        probe, policy = step.verify(change)
        assert probe.inconclusive
        assert "could not assume" in probe.observed
        assert policy.holds
        assert step.measure.revert(change).holds


def test_revoke_stops_old_sessions_and_stays(world: Any, role: JsonObject) -> None:
    step, agent = Step(world, "aws.revoke-sessions", role), session_as(world, role, "agent", "s3")
    state = step.snapshot()
    change = step.apply(state)
    assert step.holds(change)
    retried = step.apply(state)
    assert not retried.changed
    assert retried.after["cut_off"] == change.after["cut_off"]
    assert refused(agent.list_buckets) == "AccessDenied"
    with pytest.raises(Irreversible, match="must never work again"):
        step.measure.revert(change)
    assert refused(agent.list_buckets) == "AccessDenied"


def test_the_cut_off_moves_forward_for_a_later_incident_only(world: Any, role: JsonObject) -> None:
    iam = world.admin("iam")
    old = json.dumps(document("revoke-older-sessions", cut_off="2020-01-01T00:00:00Z"))
    iam.put_role_policy(
        RoleName=name_of(role), PolicyName="FirebreakRevokeOlderSessions-agent", PolicyDocument=old
    )
    step = Step(world, "aws.revoke-sessions", role)
    change = step.apply(step.snapshot())
    assert change.changed
    assert change.after["cut_off"] > "2026-01-01"


def test_user_keys_die_and_come_back_as_they_were(world: Any, user: JsonObject) -> None:
    iam, name = world.admin("iam"), name_of(user)
    keys = [each["AccessKeyId"] for each in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]]
    secret = json.loads(
        world.admin("secretsmanager").get_secret_value(SecretId=user["probe_secret"])["SecretString"]
    )
    idle = next(key for key in keys if key != secret["access_key_id"])
    iam.update_access_key(UserName=name, AccessKeyId=idle, Status="Inactive")
    step = Step(world, "aws.disable-access-keys", user)
    state = step.snapshot()
    change = step.apply(state)
    assert change.after["switched_off"] == [secret["access_key_id"]]
    assert step.holds(change)
    assert not step.apply(state).changed
    assert secret["secret_access_key"] not in change.model_dump_json()
    assert step.measure.revert(change).holds
    statuses = {
        each["AccessKeyId"]: each["Status"]
        for each in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]
    }
    assert statuses == {idle: "Inactive", secret["access_key_id"]: "Active"}


def test_a_console_password_needs_the_deny(world: Any, user: JsonObject) -> None:
    world.admin("iam").create_login_profile(UserName=name_of(user), Password="correct-Horse-battery-9")
    keys, deny = Step(world, "aws.disable-access-keys", user), Step(world, "aws.deny-all", user)
    deny_state, change = deny.snapshot(), keys.apply(keys.snapshot())
    assert [each.holds for each in keys.verify(change)] == [True, True, False]
    denied = deny.apply(deny_state)
    assert keys.holds(change)
    assert deny.holds(denied)


def test_a_user_without_probe_secret_is_not_proved(world: Any, user: JsonObject) -> None:
    step = Step(world, "aws.deny-all", {**user, "probe_secret": ""})
    probe, policy = step.verify(step.apply(step.snapshot()))
    assert probe.inconclusive
    assert "no probe_secret" in probe.observed
    assert policy.holds


def test_a_lost_probe_session_is_inconclusive(world: Any, role: JsonObject) -> None:
    step = Step(world, "aws.deny-all", role)
    change = step.apply(step.snapshot())
    step.context.vault.forget(f"sealed/{step.context.run.incident_id}/")
    probe, _ = step.verify(change)
    assert probe.inconclusive
    assert "gone" in probe.observed


def test_probe_session_is_kept_out_of_every_record(world: Any, role: JsonObject) -> None:
    step = Step(world, "aws.deny-all", role)
    state = step.snapshot()
    change = step.apply(state)
    findings = step.verify(change)
    text = state.model_dump_json() + change.model_dump_json() + "".join(f.model_dump_json() for f in findings)
    assert "ASIA" not in text
    assert "session_token" not in text


@pytest.mark.parametrize("name", ["aws.deny-all", "aws.block-assume-role", "aws.revoke-sessions"])
def test_unusable_roles_are_refused_before_the_first_change(world: Any, fresh: Any, name: str) -> None:
    missing = {
        "kind": "iam-role",
        "ref": f"arn:aws:iam::{world.responder.split(':')[4]}:role/{fresh('none')}",
    }
    with pytest.raises(PermanentCloudError, match="NoSuchEntity"):
        Step(world, name, missing).snapshot()
    linked = world.admin("iam").create_service_linked_role(
        AWSServiceName="ecs.amazonaws.com", CustomSuffix=fresh("x")
    )["Role"]["Arn"]
    with pytest.raises(PermanentCloudError, match="service-linked"):
        Step(world, name, {"kind": "iam-role", "ref": linked}).snapshot()


@pytest.mark.parametrize("name", ["aws.deny-all", "aws.revoke-sessions"])
def test_a_user_without_room_for_the_denies_is_refused_before_the_first_change(
    world: Any, user: JsonObject, name: str
) -> None:
    iam, bucket = world.admin("iam"), "arn:aws:s3:::" + "x" * 1_600
    full = {"Effect": "Allow", "Action": "s3:*", "Resource": bucket}
    document = json.dumps({"Version": "2012-10-17", "Statement": full})
    iam.put_user_policy(UserName=name_of(user), PolicyName="full", PolicyDocument=document)
    with pytest.raises(PermanentCloudError, match="of the 2048 characters") as caught:
        Step(world, name, user).snapshot()
    assert "managed" in caught.value.remedy
    iam.delete_user_policy(UserName=name_of(user), PolicyName="full")
    for each in ("aws.deny-all", "aws.revoke-sessions"):  # what stands already is not counted twice
        step = Step(world, each, user)
        step.apply(step.snapshot())
    assert Step(world, name, user).snapshot().values["policy"]


def test_a_deleted_role_is_no_role_without_a_policy(world: Any, fresh: Any) -> None:
    iam, role = world.admin("iam"), make_role(world, fresh("agent"))
    step = Step(world, "aws.deny-all", role)
    change = step.apply(step.snapshot())
    for each in iam.list_role_policies(RoleName=name_of(role))["PolicyNames"]:
        iam.delete_role_policy(RoleName=name_of(role), PolicyName=each)
    iam.delete_role(RoleName=name_of(role))
    with pytest.raises(PermanentCloudError, match="NoSuchEntity"):
        step.measure.revert(change)


def test_policy_propagation_is_awaited_not_assumed(world: Any, role: JsonObject) -> None:
    step = Step(world, "aws.deny-all", role)
    state = step.snapshot()
    world.sandbox.configure(iam_propagation_seconds=3600)
    try:
        probe, policy = step.verify(step.apply(state))
    finally:
        world.sandbox.configure(iam_propagation_seconds=0)
    assert policy.holds
    assert not probe.holds
    assert not probe.inconclusive


def answer(code: str, status: int) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "Operation")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("AccessDenied", Kind.DENIED),
        ("AccessDeniedException", Kind.DENIED),
        ("UnauthorizedOperation", Kind.DENIED),
        ("ExpiredToken", Kind.DEAD),
        ("InvalidClientTokenId", Kind.DEAD),
        ("SignatureDoesNotMatch", Kind.UNKNOWN),
        ("Throttling", Kind.UNKNOWN),
        ("InternalError", Kind.UNKNOWN),
        ("403", Kind.UNKNOWN),
    ],
)
def test_only_the_code_decides_what_a_refusal_means(code: str, kind: Kind) -> None:
    classified = classify("s3:ListBuckets", answer(code, 403))
    assert classified.kind is kind
    finding = judge([classified], Control(("s3:ListBuckets",)), "session")
    assert finding.holds is (kind is not Kind.UNKNOWN)
    assert finding.inconclusive is (kind is Kind.UNKNOWN)


def test_one_allowed_call_outweighs_every_refusal() -> None:
    denied = classify("s3:ListBuckets", answer("AccessDenied", 403))
    allowed = denied.__class__("dynamodb:ListTables", Kind.ALLOWED, "", 200)
    unknown = classify("sqs:ListQueues", answer("Throttling", 400))
    finding = judge([denied, allowed, unknown], Control((denied.call, allowed.call, unknown.call)), "session")
    assert not finding.holds
    assert not finding.inconclusive


def test_throttled_reads_are_transient(world: Any, role: JsonObject) -> None:
    step = Step(world, "aws.deny-all", role)
    world.sandbox.inject("throttle", service="iam", operation="GetRole", times=-1)
    try:
        with pytest.raises(ContainmentError) as caught:
            step.snapshot()
    finally:
        world.sandbox.clear_faults()
    assert caught.value.retryable


def test_targets_carry_the_workloads_place(world: Any, role: JsonObject) -> None:
    step = Step(world, "aws.deny-all", role)
    assert step.target == Target(
        kind="iam-role", ref=role["ref"], account=world.responder.split(":")[4], region=REGION
    )
