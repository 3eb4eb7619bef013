"""Preserve what agents were telling each other: messages waiting in queues."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from firebreak.capture import Page, Parts
from firebreak.declarations import of_kind, targets_of
from firebreak.measure import now, on_target
from firebreak.model import Cloud, JsonObject, Phase, Target, Workload
from providers.aws.answers import translated
from providers.aws.forensics.capture import AwsCapture
from providers.aws.resources import SqsQueue

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient

_HIDDEN_SECONDS = 60
"""How long a message that was read stays hidden from others; it is never deleted."""
_EMPTY_ANSWERS = 2
"""Long polls in a row without a new message that end the capture (SQS guide, "Short and long polling")."""
_BATCH = 10  # SQS API reference, ReceiveMessage and ChangeMessageVisibilityBatch
_LARGEST = 120_000
"""Messages a standard queue can have in flight (SQS guide, "Message quotas"); bounds the ids in memory."""


class CaptureChannelMessages(
    AwsCapture, cloud=Cloud.AWS, phase=Phase.FORENSIC_CAPTURE, name="capture-channel-messages"
):
    """Read the messages waiting in a queue without deleting any.

    Reading hides a message until the capture ends and raises its receive count, so a dead-letter rule may
    move it. A FIFO queue shows only the first messages of a group while they are hidden.
    """

    permissions = on_target(
        "sqs:GetQueueUrl", "sqs:GetQueueAttributes", "sqs:ReceiveMessage", "sqs:ChangeMessageVisibility"
    )
    preserve_first = True
    kind = "inter-agent messages"
    acquired_by = "sqs:ReceiveMessage"

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """Every declared queue. A topic keeps no messages."""
        return targets_of(workload, of_kind(workload.channels, SqsQueue))

    def snapshot(self, target: Target) -> JsonObject:
        """Read how many messages wait, and the dead-letter rule."""
        with translated(target.ref):
            answer = self._client().get_queue_attributes(
                QueueUrl=self._url(target),
                AttributeNames=[
                    "ApproximateNumberOfMessages",
                    "ApproximateNumberOfMessagesNotVisible",
                    "RedrivePolicy",
                ],
            )
        return {str(name): value for name, value in answer.get("Attributes", {}).items()}

    def pages(self, target: Target, position: JsonObject) -> Iterator[Page]:
        """Receive until nothing new comes, then show every message again."""
        seen = self._seen()
        # What an earlier attempt had read and not stored is hidden still.
        patient_until = now().timestamp() + _HIDDEN_SECONDS if position or seen else 0.0
        empty, number, handles = 0, int(position.get("answers", 0)), deque[str](maxlen=_LARGEST)
        while (empty < _EMPTY_ANSWERS or now().timestamp() < patient_until) and len(seen) < _LARGEST:
            received = self._receive(target)
            handles += [each["ReceiptHandle"] for each in received]
            new = [each for each in received if each["MessageId"] not in seen]
            empty = 0 if new else empty + 1
            seen.update(each["MessageId"] for each in new)
            number += 1
            yield Page([_without_handle(each) for each in new], {"answers": number})
        self._show(target, list(handles))

    def notes(self, target: Target, position: JsonObject) -> JsonObject:
        """What reading has changed."""
        return {"effect": "receive counts raised; none deleted; hidden while they were read"}

    def _seen(self) -> set[str]:
        """The ids in the parts of an earlier attempt, read back from the store."""
        stored = Parts(self.context, self.kind, "", self.acquired_by).exhibits()
        read = self.context.vault.read
        lines = (line for each in stored for line in b"".join(read(each.stored)).splitlines())
        return {json.loads(line)["MessageId"] for line in lines}

    def _receive(self, target: Target) -> list[Any]:
        with translated(target.ref):
            answer = self._client().receive_message(
                QueueUrl=self._url(target),
                MaxNumberOfMessages=_BATCH,
                VisibilityTimeout=_HIDDEN_SECONDS,
                WaitTimeSeconds=1,
                MessageSystemAttributeNames=["All"],
                MessageAttributeNames=["All"],
            )
        return list(answer.get("Messages", []))

    def _show(self, target: Target, handles: list[str]) -> None:
        """End the hiding early; a handle that has expired by then needs nothing."""
        for start in range(0, len(handles), _BATCH):
            entries: list[Any] = [
                {"Id": str(number), "ReceiptHandle": handle, "VisibilityTimeout": 0}
                for number, handle in enumerate(handles[start : start + _BATCH])
            ]
            with translated(target.ref):
                self._client().change_message_visibility_batch(QueueUrl=self._url(target), Entries=entries)

    def _client(self) -> SQSClient:
        return self.access.client("sqs")

    def _url(self, target: Target) -> str:
        account, name = target.ref.split(":")[4:6]
        with translated(target.ref):
            answer = self._client().get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)
        return str(answer["QueueUrl"])


def _without_handle(message: Any) -> JsonObject:
    """A receipt handle lets its holder delete the message, so it is no part of the evidence."""
    return {name: value for name, value in message.items() if name != "ReceiptHandle"}
