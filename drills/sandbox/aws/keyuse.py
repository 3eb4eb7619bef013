"""Name the KMS actions that a service asks for in the caller's name, on the customer's key of a resource.

Sources: S3 user guide, "Using server-side encryption with AWS KMS keys"; SQS developer guide, "Key
management"; DynamoDB developer guide, "How DynamoDB uses AWS KMS". The policy of an AWS managed key admits
whoever the service admits, so nothing is asked for it (KMS developer guide, "AWS managed keys").
"""

from __future__ import annotations

from typing import Any

from moto.backends import get_backend

from drills.sandbox.aws.owners import bucket_account, kms_key_arn
from drills.sandbox.aws.state import PARTITION
from drills.sandbox.aws.wire import ApiCall

_READ, _WRITE = "kms:Decrypt", "kms:GenerateDataKey"
_S3_READS = frozenset({"GetObject"})
_S3_WRITES = frozenset({"PutObject"})
_SQS = {"ReceiveMessage": (_READ,), "SendMessage": (_READ, _WRITE), "SendMessageBatch": (_READ, _WRITE)}
_TABLE_DATA = frozenset({"GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "Scan"})


def key_needs(call: ApiCall, account: str) -> list[tuple[str, str]]:
    """Return every KMS action that this call needs beside its own, with the key's ARN."""
    reader = {"s3": _s3, "sqs": _sqs, "dynamodb": _dynamodb}.get(call.model)
    actions, key = reader(call, account) if reader else ((), "")
    if not actions or not key:
        return []
    arn = kms_key_arn(account, call.region, key)
    return [] if _managed_by_aws(arn) else [(action, arn) for action in actions]


def aws_managed(key: Any) -> bool:
    """Tell whether a key is one that AWS made for a service."""
    return any(alias.startswith("alias/aws/") for alias in key.aliases)


def _managed_by_aws(arn: str) -> bool:
    _, _, _, region, account, name = arn.split(":", 5)
    key: Any = get_backend("kms")[account][region].keys.get(name.removeprefix("key/"))
    return key is not None and aws_managed(key)


def _s3(call: ApiCall, _account: str) -> tuple[tuple[str, ...], str]:
    name = call.params.get("Bucket", "")
    owner = bucket_account(name)
    if owner is None or call.operation not in _S3_READS | _S3_WRITES:
        return (), ""
    backend: Any = get_backend("s3")[owner][PARTITION]
    if call.operation in _S3_WRITES:
        asked = call.header("x-amz-server-side-encryption-aws-kms-key-id")
        return (_WRITE,), asked or _default_key(backend.buckets[name].encryption)
    found = backend.get_object(name, call.params["Key"], call.params.get("VersionId"))
    return (_READ,), getattr(found, "kms_key_id", None) or ""


def _default_key(encryption: Any) -> str:
    rule = encryption["Rule"]["ApplyServerSideEncryptionByDefault"] if encryption else {}
    return str(rule.get("KMSMasterKeyID") or "")


def _sqs(call: ApiCall, account: str) -> tuple[tuple[str, ...], str]:
    url = str(call.params.get("QueueUrl", ""))
    queue: Any = get_backend("sqs")[account][call.region].queues.get(url.rpartition("/")[2])
    return _SQS.get(call.operation, ()), getattr(queue, "kms_master_key_id", None) or ""


def _dynamodb(call: ApiCall, account: str) -> tuple[tuple[str, ...], str]:
    name = str(call.params.get("TableName", "")).rpartition("/")[2]
    table: Any = get_backend("dynamodb")[account][call.region].tables.get(name)
    encrypted = table is not None and table.sse_specification and call.operation in _TABLE_DATA
    return ((_READ,), table.sse_specification["KMSMasterKeyId"]) if encrypted else ((), "")
