"""A customer's key stands between a caller and what it encrypts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

REGION = "eu-central-1"
ACCOUNT = "222222222222"


@pytest.fixture
def reader(connect: Any, admin: Any) -> Any:
    """A user who may do everything but use a key, and its name."""
    iam = connect("iam", admin)
    iam.create_user(UserName="reader")
    allow_all_but(iam, "kms:*")
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    return {
        "AccessKeyId": key["AccessKeyId"],
        "SecretAccessKey": key["SecretAccessKey"],
        "SessionToken": None,
    }


def allow_all_but(iam: Any, *actions: str, **condition: Any) -> None:
    rest = {"Effect": "Allow", "NotAction": list(actions), "Resource": "*"}
    keys = [{"Effect": "Allow", "Action": list(actions), "Resource": "*", **condition}] if condition else []
    text = json.dumps({"Version": "2012-10-17", "Statement": [rest, *keys]})
    iam.put_user_policy(UserName="reader", PolicyName="p", PolicyDocument=text)


def allow_keys_through(iam: Any, service: str) -> None:
    via = {"StringEquals": {"kms:ViaService": f"{service}.{REGION}.amazonaws.com"}}
    allow_all_but(iam, "kms:*", Condition=via)


def new_key(connect: Any, admin: Any) -> str:
    return str(connect("kms", admin).create_key()["KeyMetadata"]["Arn"])


def encrypted_bucket(connect: Any, admin: Any, key: str) -> None:
    s3 = connect("s3", admin)
    s3.create_bucket(Bucket="sealed", CreateBucketConfiguration={"LocationConstraint": REGION})
    default = {"SSEAlgorithm": "aws:kms", **({"KMSMasterKeyID": key} if key else {})}
    s3.put_bucket_encryption(
        Bucket="sealed",
        ServerSideEncryptionConfiguration={"Rules": [{"ApplyServerSideEncryptionByDefault": default}]},
    )
    s3.put_object(Bucket="sealed", Key="prompt", Body=b"be good")


def denied(call: Any, action: str, **arguments: Any) -> None:
    with pytest.raises(ClientError, match=action):
        call(**arguments)


def test_objects_under_a_customers_key_ask_for_it(connect: Any, admin: Any, reader: Any) -> None:
    encrypted_bucket(connect, admin, new_key(connect, admin))
    s3, place = connect("s3", reader), {"Bucket": "sealed", "Key": "prompt"}
    s3.head_object(**place)
    denied(s3.get_object, "kms:Decrypt", **place)
    denied(s3.put_object, "kms:GenerateDataKey", **place, Body=b"x")
    allow_keys_through(connect("iam", admin), "sqs")
    denied(s3.get_object, "kms:Decrypt", **place)
    allow_keys_through(connect("iam", admin), "s3")
    assert s3.get_object(**place)["Body"].read() == b"be good"
    s3.put_object(**place, Body=b"x")


def test_a_key_policy_may_say_no(connect: Any, admin: Any, reader: Any) -> None:
    key = new_key(connect, admin)
    encrypted_bucket(connect, admin, key)
    allow_keys_through(connect("iam", admin), "s3")
    mine = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
    rule = {"Effect": "Allow", "Principal": mine, "Action": "kms:*", "Resource": "*"}
    no = {"Effect": "Deny", "Principal": "*", "Action": "kms:Decrypt", "Resource": "*"}
    text = json.dumps({"Version": "2012-10-17", "Statement": [rule, no]})
    connect("kms", admin).put_key_policy(KeyId=key, PolicyName="default", Policy=text)
    denied(connect("s3", reader).get_object, "explicit deny in a key policy", Bucket="sealed", Key="prompt")


def test_keys_that_aws_manages_ask_for_nothing(connect: Any, admin: Any, reader: Any) -> None:
    managed = connect("kms", admin).describe_key(KeyId="alias/aws/s3")["KeyMetadata"]
    assert managed["KeyManager"] == "AWS"
    encrypted_bucket(connect, admin, managed["Arn"])
    connect("s3", reader).get_object(Bucket="sealed", Key="prompt")


def test_queues_and_tables_under_a_customers_key_ask_for_it(connect: Any, admin: Any, reader: Any) -> None:
    key = new_key(connect, admin)
    sqs = connect("sqs", admin)
    url = sqs.create_queue(QueueName="sealed", Attributes={"KmsMasterKeyId": key})["QueueUrl"]
    denied(connect("sqs", reader).receive_message, "kms:Decrypt", QueueUrl=url)
    connect("dynamodb", admin).create_table(
        TableName="sealed",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        SSESpecification={"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key},
    )
    denied(connect("dynamodb", reader).scan, "kms:Decrypt", TableName="sealed")
    connect("dynamodb", reader).describe_table(TableName="sealed")
