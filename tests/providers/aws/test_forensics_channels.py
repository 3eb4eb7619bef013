"""Messages of AWS queues: read and left where they are; what was not read is not claimed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from firebreak import capture
from firebreak.measure import now
from providers.aws.forensics import channels
from providers.aws.resources import SqsQueue
from tests.providers.aws.conftest import REGION
from tests.providers.aws.conftest import WORKLOAD as ACCOUNT
from tests.providers.capturing import Step, WorkerKilledError
from tests.providers.driving import holds


def queue(world: Any, name: str, messages: int) -> tuple[Any, str, SqsQueue]:
    sqs = world.admin("sqs")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    for number in range(messages):
        sqs.send_message(
            QueueUrl=url,
            MessageBody=f"message {number}",
            MessageAttributes={"from": {"DataType": "String", "StringValue": "planner"}},
        )
    return sqs, url, SqsQueue(kind="sqs-queue", ref=f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}")


def test_messages_are_read_and_stay(world: Any, fresh: Any) -> None:
    sqs, url, declared = queue(world, fresh("inbox"), 25)
    step = Step(world, "aws.capture-channel-messages", channels=(declared,))
    change = step.apply()
    records = step.records(change)
    assert {each["Body"] for each in records} == {f"message {n}" for n in range(25)}
    assert records[0]["MessageAttributes"]["from"]["StringValue"] == "planner"
    assert "SentTimestamp" in records[0]["Attributes"]
    assert all("ReceiptHandle" not in each for each in records)
    assert holds(step.verify(change))
    visible = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    assert visible["Attributes"]["ApproximateNumberOfMessages"] == "25"
    again = Step(world, "aws.capture-channel-messages", channels=(declared,))
    assert again.apply().after["records"] == 25  # as phase 4 does after the early capture


def messages(world: Any, declared: SqsQueue, seconds: float | None) -> Step:
    """A capture with that much time, or one that nobody waits for."""
    step = Step(world, "aws.capture-channel-messages", channels=(declared,))
    step.until = None if seconds is None else now() + timedelta(seconds=seconds)
    return step


@pytest.mark.parametrize(
    "heartbeat", [True, False], ids=["worker killed", "activity failed, step tried again"]
)
def test_an_interrupted_message_capture_loses_nothing(
    world: Any, fresh: Any, monkeypatch: pytest.MonkeyPatch, heartbeat: bool
) -> None:
    """Parts of three answers; what was read and not stored comes back when its hiding ends.

    A step that is tried again knows nothing of the failed activity but what lies in the store.
    """
    monkeypatch.setattr(capture, "PART_BYTES", 12_000)
    monkeypatch.setattr(channels, "_HIDDEN_SECONDS", 2)
    _, _, declared = queue(world, fresh("inbox"), 45)
    step = messages(world, declared, 30)

    def kill(progress: dict[str, Any]) -> None:
        if progress["number"] == 1:
            raise WorkerKilledError

    with pytest.raises(WorkerKilledError):
        step.attempt(kill).apply(step.target, step.state)
    if not heartbeat:
        step.last = {}
    change = step.apply()
    bodies = [each["Body"] for each in step.records(change)]
    assert sorted(bodies) == sorted(f"message {n}" for n in range(45))
    assert len({each.evidence_id for each in change.exhibits}) == len(change.exhibits) > 1
    assert holds(step.verify(change))
    again = step.apply()  # killed after the end, before the answer was recorded
    assert (again.exhibits, again.after["messages_counted"]) == (change.exhibits, 45)


def test_messages_that_one_batch_has_hidden_are_waited_for(
    world: Any, fresh: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "_HIDDEN_SECONDS", 2)
    _, _, declared = queue(world, fresh("inbox"), 10)
    step = messages(world, declared, 30)

    def kill(_: dict[str, Any]) -> None:
        raise WorkerKilledError

    with pytest.raises(WorkerKilledError):
        step.attempt(kill).apply(step.target, step.state)
    step.last = {}
    change = step.apply()
    assert len({each["MessageId"] for each in step.records(change)}) == 10
    assert holds(step.verify(change))


@pytest.mark.parametrize(
    ("hidden", "delayed", "seconds"),
    [(5, 0, 1.0), (0, 5, 1.0), (5, 0, None)],
    ids=["hidden by a receiver", "delayed", "pre-capture"],
)
def test_messages_that_were_not_read_prove_nothing(
    world: Any, fresh: Any, hidden: int, delayed: int, seconds: float | None
) -> None:
    sqs, url, declared = queue(world, fresh("inbox"), 7 + hidden)
    for _ in range(hidden):
        sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=1, VisibilityTimeout=600)
    for _ in range(delayed):
        sqs.send_message(QueueUrl=url, MessageBody="later", DelaySeconds=600)
    step = messages(world, declared, seconds)
    change = step.apply()
    assert len(step.records(change)) == 7
    *copies, read = step.verify(change)
    assert holds(tuple(copies))
    assert (read.holds, read.inconclusive) == (False, True)
    assert read.observed == "7 of 12 messages read"


def test_messages_that_vanished_while_they_were_read_prove_nothing(world: Any, fresh: Any) -> None:
    sqs, url, declared = queue(world, fresh("inbox"), 12)
    step = messages(world, declared, 1)
    gone = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=2, VisibilityTimeout=600)["Messages"]

    def take(_: dict[str, Any]) -> None:
        while gone:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=gone.pop()["ReceiptHandle"])

    change = step.attempt(take).apply(step.target, step.state)
    assert step.verify(change)[-1].observed == "10 of 12 messages read"
