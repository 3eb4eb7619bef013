"""Queues and topics of AWS: cut for everybody but the responder, by a statement beside the owner's policy."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from firebreak.model import JsonObject, Method
from firebreak.session import owner_mark
from tests.providers.aws.conftest import World, allow, policy
from tests.providers.aws.netground import Steps


@pytest.fixture
def channels(world: World, fresh: Callable[[str], str]) -> tuple[str, str]:
    """The ARNs of a queue and of a topic."""
    sqs = world.admin("sqs")
    queue = sqs.create_queue(QueueName=fresh("bus"))["QueueUrl"]
    answer = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    topic = world.admin("sns").create_topic(Name=fresh("bus"))["TopicArn"]
    return answer["Attributes"]["QueueArn"], topic


def cut(
    world: World, *channels: JsonObject, identities: list[JsonObject] | None = None, name: str = "agent"
) -> Steps:
    groups = {"channels": list(channels), "identities": identities or []}
    return Steps(world, "aws.cut-queue-channels", name=name, **groups)


def agent(world: World, name: str) -> JsonObject:
    iam = world.admin("iam")
    trusted = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": world.responder}}
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy(trusted))["Role"]
    document = policy(allow("sqs:*", "sns:*"))
    iam.put_role_policy(RoleName=name, PolicyName="agent", PolicyDocument=document)
    return {"kind": "iam-role", "ref": role["Arn"]}


def url_of(world: World, queue: str) -> str:
    return str(world.admin("sqs").get_queue_url(QueueName=queue.rsplit(":", 1)[1])["QueueUrl"])


def policy_of(world: World, queue: str) -> str:
    answer = world.admin("sqs").get_queue_attributes(QueueUrl=url_of(world, queue), AttributeNames=["Policy"])
    return str(answer.get("Attributes", {}).get("Policy", ""))


def test_channels_are_cut_for_all_but_the_responder(
    world: World, channels: tuple[str, str], fresh: Callable[[str], str]
) -> None:
    queue, topic = channels
    steps = cut(
        world,
        {"kind": "sqs-queue", "ref": queue},
        {"kind": "sns-topic", "ref": topic},
        identities=[agent(world, fresh("agent"))],
    )
    sqs, sns, url = world.admin("sqs"), world.admin("sns"), url_of(world, queue)
    before = sns.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"]
    states = steps.snapshot()
    changes = steps.apply(states)
    findings = steps.verify(changes)
    assert [each.method for each in findings] == [Method.EFFECTIVE_POLICY, Method.LIVE_PROBE] * 2
    assert all(each.holds for each in findings), [each.observed for each in findings]
    calls: tuple[Callable[[], Any], ...] = (
        lambda: sqs.send_message(QueueUrl=url, MessageBody="on"),
        lambda: sns.publish(TopicArn=topic, Message="on"),
    )
    for call in calls:
        with pytest.raises(Exception, match="explicit deny"):
            call()
    steps.context.access.client("sqs").receive_message(QueueUrl=url)
    assert not any(each.changed for each in steps.apply(states))
    assert all(each.holds for each in steps.revert(changes))
    assert all(each.holds for each in steps.revert(changes))
    sqs.send_message(QueueUrl=url, MessageBody="on")
    assert not policy_of(world, queue)
    after = sns.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"]
    assert json.loads(after) == json.loads(before)


def test_two_workloads_on_one_channel_are_released_on_their_own(
    world: World, channels: tuple[str, str]
) -> None:
    one, other = (
        cut(world, {"kind": "sqs-queue", "ref": channels[0]}, name=name) for name in ("one", "other")
    )
    first = one.apply(one.snapshot())
    second = other.apply(other.snapshot())
    assert one.verify(first)[0].holds
    assert other.verify(second)[0].holds
    assert one.revert(first)[0].holds
    assert not one.verify(first)[0].holds
    assert other.verify(second)[0].holds
    assert other.revert(second)[0].holds
    assert not policy_of(world, channels[0])


def test_a_queues_own_policy_stays_beside_the_cut(world: World, channels: tuple[str, str]) -> None:
    queue = channels[0]
    theirs = {
        "Version": "2012-10-17",
        "Id": "owner",
        "Statement": [
            {"Sid": "a", "Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": queue}
        ],
    }
    attributes = {"Policy": json.dumps(theirs)}
    world.admin("sqs").set_queue_attributes(QueueUrl=url_of(world, queue), Attributes=attributes)
    steps = cut(world, {"kind": "sqs-queue", "ref": queue})
    changes = steps.apply(steps.snapshot())
    assert [each["Sid"] for each in changes[0].after["policy"]["Statement"]] == [
        f"FirebreakCut{owner_mark(steps.context.run)}",
        "a",
    ]
    findings = steps.verify(changes)
    assert [each.holds for each in findings] == [True]
    assert steps.revert(changes)[0].holds
    assert not steps.verify(changes)[0].holds
