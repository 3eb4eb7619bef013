"""Preserve what agents were telling each other: messages waiting in queues."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from firebreak.capture import Page
from firebreak.declarations import of_kind, targets_of
from firebreak.measure import found, now, on_target
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, Target, Workload
from providers.aws.answers import translated
from providers.aws.forensics.capture import AwsCapture
from providers.aws.keys import READ_KEYS
from providers.aws.resources import SqsQueue

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient
    from types_boto3_sqs.literals import QueueAttributeNameType

_HIDDEN_SECONDS = 60
"""How long a message that was read stays hidden from others; it is never deleted."""
_EMPTY_ANSWERS = 2
"""Long polls in a row without a new message that end the capture, when the queue's own count agrees."""
_LATE_SECONDS = 5
"""How much later than its time a hidden message may come back, and how long showing may take."""
_UNAWAITED_SECONDS = 45
"""How long a pre-capture reads at most, of its 60 s (docs/runbook.md)."""
_BATCH = 10  # SQS API reference, ReceiveMessage and ChangeMessageVisibilityBatch
_LARGEST = 120_000
"""Messages a standard queue can have in flight (SQS guide, "Message quotas"); bounds the ids in memory."""
_COUNTS: tuple[QueueAttributeNameType, ...] = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)
"""Together everything that is in a queue; exact for FIFO queues only (SQS guide, "Resources required to
process Amazon SQS messages")."""


class CaptureChannelMessages(
    AwsCapture, cloud=Cloud.AWS, phase=Phase.FORENSIC_CAPTURE, name="capture-channel-messages"
):
    """Read the messages waiting in a queue without deleting any.

    Reading hides a message until the capture ends and raises its receive count, so a dead-letter rule may
    move it. It holds only when as many messages were read as the queue counts, those included that somebody
    else hides and those that are delayed. A FIFO queue shows only the first messages of a group while they
    are hidden: of more, the rest is not read and the finding says so.
    """

    permissions = (
        *on_target(
            "sqs:GetQueueUrl", "sqs:GetQueueAttributes", "sqs:ReceiveMessage", "sqs:ChangeMessageVisibility"
        ),
        *READ_KEYS,
    )
    preserve_first = True
    adopts = True
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
                AttributeNames=[*_COUNTS, "RedrivePolicy"],
            )
        return {str(name): value for name, value in answer.get("Attributes", {}).items()}

    def pages(self, target: Target, position: JsonObject) -> Iterator[Page]:
        """Receive until all that the queue counts has been read, then show every message again.

        What an earlier attempt or a capture beside this one hides is waited for, within the step's time.
        """
        seen, handles = self._seen(target), deque[str](maxlen=_LARGEST)
        counted = max(sum(self._counts(target).values()), int(position.get("counted", 0)))
        end = self.context.progress.until or now() + timedelta(seconds=_UNAWAITED_SECONDS)
        empty, quiet_since = 0, now()
        while len(seen) < _LARGEST:
            received = self._receive(target)
            handles += [each["ReceiptHandle"] for each in received]
            new = [each for each in received if each["MessageId"] not in seen]
            empty, quiet_since = (0, now()) if new else (empty + 1, quiet_since)
            seen.update(each["MessageId"] for each in new)
            yield Page([_without_handle(each) for each in new], {"counted": counted})
            dry = empty >= _EMPTY_ANSWERS and not self._more(target, len(seen), counted, quiet_since)
            if dry or now() > end:
                break
        self._show(target, list(handles), end + timedelta(seconds=_LATE_SECONDS))

    def notes(self, target: Target, position: JsonObject) -> JsonObject:
        """What reading has changed, and what there was to read."""
        return {
            "effect": "receive counts raised; none deleted; hidden while they were read",
            "messages_counted": position.get("counted", 0),
        }

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """Prove the copies, and that the queue holds and held no more messages than were read."""
        return (*super().verify(target, change), self._all_read(target, change))

    def _all_read(self, target: Target, change: Change) -> Finding:
        read, before = change.after["records"], change.after.get("messages_counted", 0)
        present = self._counts(target)
        counted = max(before, sum(present.values()))
        return found(
            Method.CONFIGURATION,
            f"{read} of {counted} messages read",
            holds=read >= counted,
            inconclusive=read < counted,
            counted_when_it_began=before,
            counted_now=present,
        )

    def _more(self, target: Target, read: int, counted: int, quiet_since: datetime) -> bool:
        """Whether more may come: the queue counts more, and what is hidden had no time to come back."""
        if self.context.progress.until is None or now() > quiet_since + timedelta(
            seconds=_HIDDEN_SECONDS + _LATE_SECONDS
        ):
            return False
        return read < max(counted, sum(self._counts(target).values()))

    def _counts(self, target: Target) -> dict[str, int]:
        values = self.snapshot(target)
        return {name: int(values.get(name, 0)) for name in _COUNTS}

    def _seen(self, target: Target) -> set[str]:
        """The ids in the parts of earlier attempts, read back from the store."""
        read = self.context.vault.read
        stored = self.parts(target).exhibits()
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

    def _show(self, target: Target, handles: list[str], end: datetime) -> None:
        """End the hiding early, of the latest first; what is left, or has expired by then, needs nothing."""
        latest = handles[::-1]
        for start in range(0, len(latest), _BATCH):
            entries: list[Any] = [
                {"Id": str(number), "ReceiptHandle": handle, "VisibilityTimeout": 0}
                for number, handle in enumerate(latest[start : start + _BATCH])
            ]
            with translated(target.ref):
                self._client().change_message_visibility_batch(QueueUrl=self._url(target), Entries=entries)
            if now() > end:
                return

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
