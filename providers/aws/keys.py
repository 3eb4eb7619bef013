"""Customer managed keys: S3, SQS and DynamoDB use them with the rights of whoever calls.

Sources: S3 user guide, "Using server-side encryption with AWS KMS keys"; SQS developer guide, "Key
management"; DynamoDB developer guide, "How DynamoDB uses AWS KMS". The policy of an AWS managed key admits
whoever the service admits (KMS developer guide, "AWS managed keys"). Reading log groups and taking snapshots
of encrypted volumes is not among them: CloudWatch Logs and EBS use the key in their own right.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from firebreak.measure import Permission, on_any
from firebreak.model import JsonObject, Target
from providers.aws.answers import error_code, translated
from providers.aws.session import AwsAccess, partition

if TYPE_CHECKING:
    from types_boto3_kms import KMSClient
    from types_boto3_sqs import SQSClient

PREFIX = "kms:"
DESCRIBE = "kms:DescribeKey"
_DECRYPT = "kms:Decrypt"
_DATA_KEY = "kms:GenerateDataKey"
_NO_KEY = frozenset(
    {
        "ServerSideEncryptionConfigurationNotFoundError",  # buckets from before every bucket had a default
        # There is no such resource: the snapshot says so, and better.
        "NoSuchBucket",
        "ResourceNotFoundException",
        "AWS.SimpleQueueService.NonExistentQueue",
        "QueueDoesNotExist",
    }
)

READ_KEYS: tuple[Permission, ...] = on_any(DESCRIBE, _DECRYPT)
"""What reading takes where the customer's own key encrypts."""
WRITE_KEYS: tuple[Permission, ...] = on_any(DESCRIBE, _DECRYPT, _DATA_KEY)
"""What writing an object beside takes."""


def service_of(target: Target) -> str:
    """The service that uses the key in the caller's name, empty where none does."""
    service = target.ref.split(":")[2] if target.ref.startswith("arn:") else ""
    return service if service in _NAMED else ""


def customer_key(access: AwsAccess, target: Target) -> str:
    """Return the ARN of the customer's key that a target is encrypted with, empty for one of AWS."""
    with translated(target.ref):
        named = _named(access, target)
    if not named:
        return ""
    kms: KMSClient = access.client("kms")
    with translated(named):
        key = kms.describe_key(KeyId=named)["KeyMetadata"]
    return key["Arn"] if key.get("KeyManager") == "CUSTOMER" else ""


def via(target: Target) -> str:
    """The value of ``kms:ViaService`` when the target's service uses a key (KMS developer guide)."""
    return f"{service_of(target)}.{target.region}.amazonaws.com"


def any_key(target: Target) -> str:
    """The ARN pattern of all keys of the target's account."""
    return f"arn:{partition(target.region)}:kms:{target.region}:{target.account}:key/*"


def statements(uses: dict[Target, set[str]]) -> list[JsonObject]:
    """Allow the use of the account's keys, through the services that hold the targets and no other way."""
    found: dict[tuple[str, str], set[str]] = {}
    for target, actions in uses.items():
        found.setdefault((any_key(target), via(target)), set()).update(actions - {DESCRIBE})
    if not found:
        return []
    return [
        {"Effect": "Allow", "Action": [DESCRIBE], "Resource": sorted({resource for resource, _ in found})},
        *(
            {
                "Effect": "Allow",
                "Action": sorted(actions),
                "Resource": [resource],
                "Condition": {"StringEquals": {"kms:ViaService": service}},
            }
            for (resource, service), actions in sorted(found.items())
        ),
    ]


def _named(access: AwsAccess, target: Target) -> str:
    try:
        return _NAMED[service_of(target)](access, target)
    except ClientError as error:
        if error_code(error) in _NO_KEY:
            return ""
        raise


def _of_bucket(access: AwsAccess, target: Target) -> str:
    bucket = target.ref.partition(":::")[2].partition("/")[0]
    answer = access.client("s3").get_bucket_encryption(Bucket=bucket)
    rules = answer["ServerSideEncryptionConfiguration"]["Rules"]
    defaults = [each.get("ApplyServerSideEncryptionByDefault", {}) for each in rules]
    return next((each["KMSMasterKeyID"] for each in defaults if each.get("KMSMasterKeyID")), "")


def _of_queue(access: AwsAccess, target: Target) -> str:
    sqs: SQSClient = access.client("sqs")
    owner, name = target.ref.split(":")[4:6]
    url = sqs.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=owner)["QueueUrl"]
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["KmsMasterKeyId"])
    return str(answer.get("Attributes", {}).get("KmsMasterKeyId", ""))


def _of_table(access: AwsAccess, target: Target) -> str:
    table = access.client("dynamodb").describe_table(TableName=target.ref.rpartition("/")[2])["Table"]
    return table.get("SSEDescription", {}).get("KMSMasterKeyArn", "")


_NAMED: dict[str, Callable[[AwsAccess, Target], str]] = {
    "s3": _of_bucket,
    "sqs": _of_queue,
    "dynamodb": _of_table,
}
