"""Customer managed keys: what is lacking for them is known before the first change."""

from __future__ import annotations

import json
from typing import Any

import pytest

from firebreak.errors import PermanentCloudError
from firebreak.measure import measure
from providers.aws.permissions import missing
from providers.aws.resources import DynamoDbTable, S3Object, S3Prefix, SqsQueue
from tests.providers.aws.conftest import REGION, WORKLOAD, allow, policy
from tests.providers.aws.freezing import Step, make_bucket, make_table, table_step
from tests.providers.driving import holds

FREEZE, READ, RECEIVE = "aws.lock-objects", "aws.capture-memory-store", "aws.capture-channel-messages"


@pytest.fixture
def key(world: Any) -> str:
    return str(world.admin("kms").create_key()["KeyMetadata"]["Arn"])


def sealed_bucket(world: Any, name: str, key: str) -> Any:
    s3 = make_bucket(world, name, lock=True)
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    s3.put_bucket_encryption(
        Bucket=name,
        ServerSideEncryptionConfiguration={"Rules": [{"ApplyServerSideEncryptionByDefault": default}]},
    )
    s3.put_object(Bucket=name, Key="prompts/p.txt", Body=b"be good")
    return s3


def prompt_step(world: Any, bucket: str) -> Step:
    prompt = S3Object(kind="s3-object", ref=f"arn:aws:s3:::{bucket}/prompts/p.txt", role="prompt")
    return Step(world, FREEZE, artifacts=(prompt,))


@pytest.fixture
def step(world: Any, fresh: Any, key: str) -> Step:
    """The freeze of an object under the customer's key, with the rights that the printed policy gives."""
    bucket = fresh("sealed")
    sealed_bucket(world, bucket, key)
    return prompt_step(world, bucket)


def without_keys(world: Any, step: Step) -> None:
    """Take every right on keys from the responder of a step, as before they were asked for."""
    iam, role = world.admin("iam"), step.access["role_arn"].rpartition("/")[2]
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        document = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        rest = [each for each in document["Statement"] if not each["Action"][0].startswith("kms:")]
        if rest:
            text = json.dumps({**document, "Statement": rest})
            iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=text)
        else:
            iam.delete_role_policy(RoleName=role, PolicyName=name)


def lacking(step: Step) -> tuple[str, ...]:
    context = step.measure.context
    return missing(context.access, [(type(step.measure), step.target)])


def test_objects_under_a_customers_key_are_frozen_with_the_printed_policy(step: Step) -> None:
    assert lacking(step) == ()
    before = step.snapshot()
    change = step.apply()
    assert holds(step.verify(change))
    assert step.revert(change).holds
    assert step.snapshot() == before


def test_a_responder_without_the_key_is_refused_before_the_first_change(
    world: Any, key: str, step: Step
) -> None:
    without_keys(world, step)
    described = allow("kms:DescribeKey", on=key)
    role = step.access["role_arn"].rpartition("/")[2]
    assert "what tells the key" in lacking(step)[0]
    world.admin("iam").put_role_policy(RoleName=role, PolicyName="see", PolicyDocument=policy(described))
    assert lacking(step) == (f"kms:Decrypt on {key}", f"kms:GenerateDataKey on {key}")
    with pytest.raises(PermanentCloudError, match="kms:Decrypt"):
        step.snapshot()


def test_a_key_policy_that_says_no_is_seen_by_reading(world: Any, key: str, step: Step) -> None:
    mine = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{WORKLOAD}:root"}, "Resource": "*"}
    no = {"Effect": "Deny", "Principal": {"AWS": step.access["role_arn"]}, "Resource": "*"}
    text = policy({**mine, "Action": "kms:*"}, {**no, "Action": "kms:Decrypt"})
    world.admin("kms").put_key_policy(KeyId=key, PolicyName="default", Policy=text)
    assert lacking(step) == ()  # the simulator takes no key policy for a role
    with pytest.raises(PermanentCloudError, match="key policy"):
        step.snapshot()


def test_a_key_of_aws_asks_for_nothing(world: Any, fresh: Any) -> None:
    bucket = fresh("sealed")
    managed = world.admin("kms").describe_key(KeyId="alias/aws/s3")["KeyMetadata"]["Arn"]
    sealed_bucket(world, bucket, managed)
    step = prompt_step(world, bucket)
    without_keys(world, step)
    role = step.access["role_arn"].rpartition("/")[2]
    seen = policy(allow("kms:DescribeKey", on=managed))
    world.admin("iam").put_role_policy(RoleName=role, PolicyName="see", PolicyDocument=seen)
    assert lacking(step) == ()
    assert holds(step.verify(step.apply()))


def test_tables_queues_and_folders_under_a_customers_key_ask_for_it(world: Any, fresh: Any, key: str) -> None:
    table, queue, bucket = fresh("memory"), fresh("tasks"), fresh("sealed")
    encrypted = {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key}
    make_table(world, table, SSESpecification=encrypted)
    sealed_bucket(world, bucket, key)
    world.admin("sqs").create_queue(QueueName=queue, Attributes={"KmsMasterKeyId": key})
    arns = (
        DynamoDbTable(kind="dynamodb-table", ref=f"arn:aws:dynamodb:{REGION}:{WORKLOAD}:table/{table}"),
        S3Prefix(kind="s3-prefix", ref=f"arn:aws:s3:::{bucket}/prompts/"),
    )
    messages = SqsQueue(kind="sqs-queue", ref=f"arn:aws:sqs:{REGION}:{WORKLOAD}:{queue}")
    workload = world.workload(stores=arns, channels=(messages,))
    names = ("aws.freeze-memory-table", READ, RECEIVE)
    needs = [(measure(name), each) for name in names for each in measure(name).applies_to(workload)]
    bare = world.exactly(workload)
    role = bare.access["role_arn"].rpartition("/")[2]
    rest = {"Effect": "Allow", "NotAction": ["kms:Decrypt", "kms:GenerateDataKey"], "Resource": "*"}
    world.admin("iam").put_role_policy(RoleName=role, PolicyName="rest", PolicyDocument=policy(rest))
    for need in needs:
        assert missing(world.context(bare).access, [need]) == (f"kms:Decrypt on {key}",), need
    allowed = world.exactly(workload, *names)
    assert missing(world.context(allowed).access, needs) == ()


def test_a_table_under_a_customers_key_is_frozen_with_the_printed_policy(
    world: Any, fresh: Any, key: str
) -> None:
    name = fresh("memory")
    make_table(world, name, SSESpecification={"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key})
    step = table_step(world, name)
    change = step.apply()
    findings = step.verify(change)
    assert holds(findings), findings
    assert step.revert(change).holds
