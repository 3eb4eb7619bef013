from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from drills.sandbox.aws.client import AccessKey, SandboxClient

ACCOUNT = "222222222222"
OTHER = "333333333333"
REGION = "eu-central-1"
DENIED = {"AccessDenied", "AccessDeniedException"}
INVALID, CONFLICT = "ValidationException", "ConflictException"
MODEL_WRITES = [
    "sagemaker:CreateModelPackage",
    "sagemaker:DeleteModelPackage",
    "sagemaker:DeleteModelPackageGroup",
    "sagemaker:UpdateModelPackage",
]
MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json"})

World = Any
Connect = Callable[..., Any]
Refused = Callable[..., str]


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


class TestResourcePolicies:
    def test_bucket_policy_denies_an_administrator_only_under_its_condition(
        self,
        world: World,
        admin: AccessKey,
        refused: Refused,
    ) -> None:
        s3 = world.connect("s3", admin)
        s3.create_bucket(Bucket="guarded", CreateBucketConfiguration={"LocationConstraint": REGION})
        arn = world.role()
        agent = world.connect("s3", world.session(arn))
        deny = world.policy(
            "Deny",
            "s3:*",
            ["arn:aws:s3:::guarded", "arn:aws:s3:::guarded/*"],
            Principal="*",
            Condition={"ArnEquals": {"aws:PrincipalArn": arn}},
        )
        agent.put_object(Bucket="guarded", Key="x", Body=b"1")
        s3.put_bucket_policy(Bucket="guarded", Policy=deny)
        assert refused(agent.put_object, Bucket="guarded", Key="x", Body=b"2") == "AccessDenied"
        assert refused(agent.list_objects_v2, Bucket="guarded") == "AccessDenied"
        assert s3.get_object(Bucket="guarded", Key="x")["Body"].read() == b"1"

    def test_bucket_of_another_account_needs_both_policies(
        self,
        world: World,
        sandbox: SandboxClient,
        connect: Connect,
        refused: Refused,
    ) -> None:
        far = connect("s3", sandbox.bootstrap(OTHER))
        far.create_bucket(Bucket="evidence", CreateBucketConfiguration={"LocationConstraint": REGION})
        arn = world.role()
        agent = connect("s3", world.session(arn))
        assert refused(agent.put_object, Bucket="evidence", Key="x", Body=b"1") == "AccessDenied"
        allow = world.policy("Allow", "s3:PutObject", "arn:aws:s3:::evidence/*", Principal={"AWS": arn})
        far.put_bucket_policy(Bucket="evidence", Policy=allow)
        agent.put_object(Bucket="evidence", Key="x", Body=b"1")
        assert refused(agent.get_object, Bucket="evidence", Key="x") == "AccessDenied"
        assert far.get_object(Bucket="evidence", Key="x")["Body"].read() == b"1"

    def test_queue_policy(self, world: World, admin: AccessKey, refused: Refused) -> None:
        sqs = world.connect("sqs", admin)
        url = sqs.create_queue(QueueName="channel")["QueueUrl"]
        arn = world.role()
        agent = world.connect("sqs", world.session(arn))
        agent.send_message(QueueUrl=url, MessageBody="alive")
        deny = world.policy("Deny", "sqs:*", "*", Principal={"AWS": arn})
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": deny})
        assert refused(agent.send_message, QueueUrl=url, MessageBody="x") in DENIED
        entries = [{"Id": "1", "MessageBody": "x"}]
        assert refused(agent.send_message_batch, QueueUrl=url, Entries=entries) in DENIED
        assert sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"] == "alive"

    def test_topic_policy(self, world: World, admin: AccessKey, refused: Refused) -> None:
        sns = world.connect("sns", admin)
        topic = sns.create_topic(Name="channel")["TopicArn"]
        arn = world.role()
        agent = world.connect("sns", world.session(arn))
        agent.publish(TopicArn=topic, Message="alive")
        deny = world.policy("Deny", "sns:Publish", topic, Principal="*")
        sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=deny)
        assert refused(agent.publish, TopicArn=topic, Message="x") == "AuthorizationError"

    def test_table_policy(self, world: World, admin: AccessKey, refused: Refused) -> None:
        dynamodb = world.connect("dynamodb", admin)
        table = dynamodb.create_table(
            TableName="memory",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )["TableDescription"]["TableArn"]
        agent = world.connect("dynamodb", world.session(world.role()))
        item = {"id": {"S": "1"}}
        agent.put_item(TableName="memory", Item=item)
        writes = ["dynamodb:PutItem", "dynamodb:DeleteItem", "dynamodb:UpdateItem", "dynamodb:BatchWriteItem"]
        deny = world.policy("Deny", writes, table, Principal="*")
        dynamodb.put_resource_policy(ResourceArn=table, Policy=deny)
        assert refused(agent.put_item, TableName="memory", Item=item) == "AccessDeniedException"
        batch = {"memory": [{"PutRequest": {"Item": item}}]}
        assert refused(agent.batch_write_item, RequestItems=batch) == "AccessDeniedException"
        assert agent.get_item(TableName="memory", Key=item)["Item"] == item

    def test_repository_policy(self, world: World, admin: AccessKey, refused: Refused) -> None:
        ecr = world.connect("ecr", admin)
        ecr.create_repository(repositoryName="agent")
        agent = world.connect("ecr", world.session(world.role()))
        agent.put_image(repositoryName="agent", imageManifest=MANIFEST, imageTag="v1")
        deny = json.loads(world.policy("Deny", ["ecr:PutImage", "ecr:BatchDeleteImage"], Principal="*"))
        del deny["Statement"][0]["Resource"]
        ecr.set_repository_policy(repositoryName="agent", policyText=json.dumps(deny))
        image = {"repositoryName": "agent", "imageManifest": MANIFEST, "imageTag": "v2"}
        assert refused(agent.put_image, **image) == "AccessDeniedException"
        deleted = {"repositoryName": "agent", "imageIds": [{"imageTag": "v1"}]}
        assert refused(agent.batch_delete_image, **deleted) == "AccessDeniedException"
        assert agent.describe_images(repositoryName="agent")["imageDetails"]

    @pytest.mark.parametrize("operator", ["ArnEquals", "ArnNotLike"])
    def test_model_package_group_policy(
        self, world: World, admin: AccessKey, refused: Refused, operator: str
    ) -> None:
        sagemaker = world.connect("sagemaker", admin)
        agent_arn, free_arn = world.role(), world.role("free")
        agent = world.connect("sagemaker", world.session(agent_arn))
        free = world.connect("sagemaker", world.session(free_arn))
        group = agent.create_model_package_group(ModelPackageGroupName="models")["ModelPackageGroupArn"]
        new = {"ModelPackageGroupName": "models", "ModelApprovalStatus": "PendingManualApproval"}
        package = agent.create_model_package(**new)["ModelPackageArn"]
        approve = {"ModelPackageArn": package, "ModelApprovalStatus": "Approved"}
        agent.update_model_package(**approve)
        named = agent_arn if operator == "ArnEquals" else free_arn
        deny = world.policy(
            "Deny",
            MODEL_WRITES,
            [group, f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model-package/models/*"],
            Principal="*",
            Condition={operator: {"aws:PrincipalArn": [named]}},
        )
        sagemaker.put_model_package_group_policy(ModelPackageGroupName="models", ResourcePolicy=deny)
        assert refused(agent.update_model_package, **approve) in DENIED
        assert refused(agent.create_model_package, **new) in DENIED
        assert refused(agent.delete_model_package, ModelPackageName=package) in DENIED
        assert refused(agent.delete_model_package_group, ModelPackageGroupName="models") in DENIED
        assert agent.describe_model_package(ModelPackageName=package)["ModelApprovalStatus"] == "Approved"
        assert agent.list_model_packages(ModelPackageGroupName="models")["ModelPackageSummaryList"]
        free.update_model_package(**approve)
        assert refused(free.delete_model_package_group, ModelPackageGroupName="models") == CONFLICT
        free.delete_model_package(ModelPackageName=package)
        free.delete_model_package_group(ModelPackageGroupName="models")

    def test_model_package_group_policy_is_kept_and_removed(
        self, world: World, admin: AccessKey, refused: Refused
    ) -> None:
        sagemaker = world.connect("sagemaker", admin)
        sagemaker.create_model_package_group(ModelPackageGroupName="models")
        group = {"ModelPackageGroupName": "models"}
        assert refused(sagemaker.get_model_package_group_policy, **group) == INVALID
        deny = world.policy("Deny", "sagemaker:UpdateModelPackage", "*", Principal="*")
        sagemaker.put_model_package_group_policy(**group, ResourcePolicy=deny)
        assert sagemaker.get_model_package_group_policy(**group)["ResourcePolicy"] == deny
        assert refused(sagemaker.put_model_package_group_policy, **group, ResourcePolicy="no") == INVALID
        sagemaker.delete_model_package_group_policy(**group)
        assert refused(sagemaker.delete_model_package_group_policy, **group) == INVALID
        absent = {"ModelPackageGroupName": "nowhere", "ResourcePolicy": deny}
        assert refused(sagemaker.put_model_package_group_policy, **absent) == INVALID

    def test_model_package_without_a_group_is_under_no_group_policy(
        self, world: World, admin: AccessKey, refused: Refused
    ) -> None:
        sagemaker = world.connect("sagemaker", admin)
        sagemaker.create_model_package_group(ModelPackageGroupName="models")
        deny = world.policy("Deny", "sagemaker:*", "*", Principal="*")
        sagemaker.put_model_package_group_policy(ModelPackageGroupName="models", ResourcePolicy=deny)
        alone = sagemaker.create_model_package(ModelPackageName="models-alone")["ModelPackageArn"]
        sagemaker.update_model_package(ModelPackageArn=alone, ModelApprovalStatus="Rejected")
        assert refused(sagemaker.delete_model_package_group, ModelPackageGroupName="models") in DENIED

    def test_key_policy(self, world: World, admin: AccessKey, refused: Refused) -> None:
        kms = world.connect("kms", admin)
        key = kms.create_key()["KeyMetadata"]["KeyId"]
        arn = world.role()
        agent = world.connect("kms", world.session(arn))
        sealed = agent.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
        statements = [
            {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "kms:*", "Resource": "*"},
            {"Effect": "Deny", "Principal": {"AWS": arn}, "Action": "kms:Decrypt", "Resource": "*"},
        ]
        kms.put_key_policy(KeyId=key, PolicyName="default", Policy=document(*statements))
        assert refused(agent.decrypt, CiphertextBlob=sealed) == "AccessDeniedException"
        assert kms.decrypt(CiphertextBlob=sealed)["Plaintext"] == b"x"
        kms.put_key_policy(KeyId=key, PolicyName="default", Policy=document(statements[1]))
        assert refused(kms.encrypt, KeyId=key, Plaintext=b"x") == "AccessDeniedException"

    def test_secret_policy_and_resource_arn(self, world: World, admin: AccessKey, refused: Refused) -> None:
        manager = world.connect("secretsmanager", admin)
        secret = manager.create_secret(Name="token", SecretString="x")["ARN"]
        role = world.role(allow=None)
        allow = world.policy("Allow", "secretsmanager:GetSecretValue", secret)
        world.iam.put_role_policy(RoleName="agent", PolicyName="one", PolicyDocument=allow)
        agent = world.connect("secretsmanager", world.session(role))
        assert agent.get_secret_value(SecretId="token")["SecretString"] == "x"
        deny = world.policy("Deny", "secretsmanager:*", "*", Principal={"AWS": role})
        manager.put_resource_policy(SecretId="token", ResourcePolicy=deny)
        assert refused(agent.get_secret_value, SecretId="token") == "AccessDeniedException"


def test_key_of_another_account_signs_when_both_policies_allow(
    world: World,
    sandbox: SandboxClient,
    connect: Connect,
    refused: Refused,
) -> None:
    far = connect("kms", sandbox.bootstrap(OTHER))
    key = far.create_key(KeyUsage="SIGN_VERIFY", KeySpec="ECC_NIST_P256")["KeyMetadata"]["Arn"]
    arn = world.role()
    agent = connect("kms", world.session(arn))
    sign = {"KeyId": key, "Message": b"m", "SigningAlgorithm": "ECDSA_SHA_256"}
    assert refused(agent.sign, **sign) == "AccessDeniedException"
    allow = {"Effect": "Allow", "Principal": {"AWS": arn}, "Action": "kms:Sign", "Resource": "*"}
    own = {"Effect": "Allow", "Principal": {"AWS": OTHER}, "Action": "kms:*", "Resource": "*"}
    far.put_key_policy(KeyId=key, PolicyName="default", Policy=document(own, allow))
    assert agent.sign(**sign)["KeyId"] == key
