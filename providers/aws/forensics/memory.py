"""Preserve what the agent remembered: tables by scan, folders by copy."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from firebreak.capture import Page
from firebreak.declarations import of_kind, targets_of
from firebreak.measure import on_target
from firebreak.model import Cloud, JsonObject, Phase, Resource, Target, Workload
from providers.aws.answers import translated
from providers.aws.artifacts.hashing import split_s3_arn
from providers.aws.forensics.capture import AwsCapture
from providers.aws.forensics.copies import copied_page
from providers.aws.keys import READ_KEYS
from providers.aws.resources import DynamoDbTable, S3Object, S3Prefix

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient


class CaptureMemoryStore(
    AwsCapture, cloud=Cloud.AWS, phase=Phase.FORENSIC_CAPTURE, name="capture-memory-store"
):
    """Preserve agent memory: every item of a table, every object of a folder."""

    permissions = (
        *on_target("dynamodb:DescribeTable", "dynamodb:Scan"),
        *on_target("s3:GetEncryptionConfiguration", "s3:ListBucket", "s3:GetObject"),
        *READ_KEYS,
    )
    preserve_first = True
    kind = "agent memory"
    acquired_by = "dynamodb:Scan or s3:GetObject"

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """Every declared store, and every artifact that is memory."""
        stores: list[Resource] = [
            *of_kind(workload.stores, DynamoDbTable),
            *of_kind(workload.stores, S3Prefix),
            *(each for each in of_kind(workload.artifacts, S3Object) if each.role == "memory"),
        ]
        return targets_of(workload, stores)

    @classmethod
    def arns(cls, target: Target) -> tuple[str, ...]:
        """The table, or the bucket and its objects."""
        if target.kind == "dynamodb-table":
            return (target.ref,)
        return (target.ref.partition("/")[0], f"{target.ref}*")

    def pages(self, target: Target, position: JsonObject) -> Iterator[Page]:
        """Scan or copy, whichever the store is."""
        if target.kind == "dynamodb-table":
            return self._items(target, position)
        return self._objects(target, position)

    def _items(self, target: Target, position: JsonObject) -> Iterator[Page]:
        """Read the table page by page (DynamoDB API reference, Scan: up to 1 MB each)."""
        last = position.get("last")
        if position and not last:
            return
        while True:
            client: DynamoDBClient = self.access.client("dynamodb")
            start: dict[str, Any] = {"ExclusiveStartKey": _from_json(last)} if last else {}
            with translated(target.ref):
                answer = client.scan(TableName=target.ref.rpartition("/")[2], ConsistentRead=True, **start)
            last = _to_json(answer.get("LastEvaluatedKey", {}))
            yield Page(list(answer["Items"]), {"last": last})
            if not last:
                return

    def _objects(self, target: Target, position: JsonObject) -> Iterator[Page]:
        bucket, folder = split_s3_arn(target.ref)
        place = {"index": 0, "after": "", "number": 0, **position}
        while place["index"] == 0:
            exact = target.kind == "s3-object"
            page = copied_page(self.context, bucket, folder, place, kind=self.kind, exact=exact)
            yield page
            place = page.position


def _to_json(key: Any) -> JsonObject:
    """A key as progress can carry it: binary values as base64, as in DynamoDB's own JSON."""
    return {
        name: {kind: b64encode(value).decode() if kind == "B" else value for kind, value in typed.items()}
        for name, typed in key.items()
    }


def _from_json(key: Any) -> JsonObject:
    return {
        name: {kind: b64decode(value) if kind == "B" else value for kind, value in typed.items()}
        for name, typed in key.items()
    }
