"""The AWS workload account as an administrator sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from botocore.exceptions import ClientError

from drills.sandbox.aws.client import SandboxClient
from drills.sandbox.aws.sample import WORKLOAD_ACCOUNT
from drills.sandbox.aws.sample.clients import Admin
from drills.sandbox.aws.state import DEFAULT_REGION
from tests.e2e.estate import Json, comparable

EPHEMERAL = frozenset(
    {
        "ResponseMetadata",
        "RoleLastUsed",  # when somebody last tried
        "LastModifiedTimestamp",
        "LastModified",
        "lastUpdate",
        "UpdatedAt",
        "UpdateToken",  # changes with every write, whatever is written
        "LastModifiedTime",
        "LastUpdateToContinuousBackupsDateTime",
        "LatestRestorableDateTime",
        "EarliestRestorableDateTime",
        "ItemCount",  # the agent's own work
        "TableSizeBytes",
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesNotVisible",
        "ApproximateNumberOfMessagesDelayed",
        "LastModifiedBy",
        "AssociationId",  # EC2 names every association anew
        "NetworkAclAssociationId",
        "ApprovalDescription",
        "RevisionId",
    }
)
"""Times, counters and tokens: the only fields that are not compared."""

DENIED = frozenset({"AccessDeniedException", "AuthorizationError"})


class Estate:
    """Reads everything that containment may touch."""

    def __init__(self, sandbox: SandboxClient) -> None:
        self.admin = Admin.of(sandbox, WORKLOAD_ACCOUNT, DEFAULT_REGION)

    def describe(self) -> dict[str, Json]:
        """One entry for each resource, named by kind and id."""
        parts: tuple[Callable[[], Iterator[tuple[str, Json]]], ...] = (
            self._roles,
            self._users,
            self._ec2,
            self._firewall,
            self._channels,
            self._buckets,
            self._registry,
            self._pipelines,
            self._tables,
            self._findings,
        )
        return {name: comparable(value, EPHEMERAL) for part in parts for name, value in part()}

    def _roles(self) -> Iterator[tuple[str, Json]]:
        iam = self.admin.client("iam")
        for role in iam.list_roles()["Roles"]:
            name = role["RoleName"]
            yield f"role {name}", iam.get_role(RoleName=name)["Role"]
            attached = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
            yield f"role {name} attached", attached
            for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
                found = iam.get_role_policy(RoleName=name, PolicyName=policy)
                yield f"role {name} policy {policy}", found["PolicyDocument"]

    def _users(self) -> Iterator[tuple[str, Json]]:
        iam = self.admin.client("iam")
        for user in iam.list_users()["Users"]:
            name = user["UserName"]
            keys = iam.list_access_keys(UserName=name)["AccessKeyMetadata"]
            yield (
                f"user {name} keys",
                [{key: each[key] for key in ("AccessKeyId", "Status")} for each in keys],
            )
            for policy in iam.list_user_policies(UserName=name)["PolicyNames"]:
                found = iam.get_user_policy(UserName=name, PolicyName=policy)
                yield f"user {name} policy {policy}", found["PolicyDocument"]

    def _ec2(self) -> Iterator[tuple[str, Json]]:
        ec2 = self.admin.client("ec2")
        instances = [each for r in ec2.describe_instances()["Reservations"] for each in r["Instances"]]
        # The emulator also lists the public snapshots of others.
        snapshots = ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
        listed = {
            "InstanceId": instances,
            "NetworkInterfaceId": ec2.describe_network_interfaces()["NetworkInterfaces"],
            "GroupId": ec2.describe_security_groups()["SecurityGroups"],
            "NetworkAclId": ec2.describe_network_acls()["NetworkAcls"],
            "AllocationId": ec2.describe_addresses()["Addresses"],
            "SnapshotId": [each for each in snapshots if each["OwnerId"] == WORKLOAD_ACCOUNT],
        }
        for field, resources in listed.items():
            for each in resources:
                yield f"ec2 {each[field]}", each

    def _firewall(self) -> Iterator[tuple[str, Json]]:
        firewall = self.admin.client("network-firewall")
        for each in firewall.list_firewall_policies()["FirewallPolicies"]:
            found = firewall.describe_firewall_policy(FirewallPolicyArn=each["Arn"])
            yield f"firewall policy {each['Arn']}", found
        for each in firewall.list_rule_groups()["RuleGroups"]:
            found = firewall.describe_rule_group(RuleGroupArn=each["Arn"])
            yield f"firewall rule group {each['Arn']}", found

    def _channels(self) -> Iterator[tuple[str, Json]]:
        sqs, sns = self.admin.client("sqs"), self.admin.client("sns")
        for url in sqs.list_queues()["QueueUrls"]:
            read = partial(sqs.get_queue_attributes, QueueUrl=url, AttributeNames=["All"])
            yield f"queue {url}", readable(read)
        for arn in (each["TopicArn"] for each in sns.list_topics()["Topics"]):
            yield f"topic {arn}", readable(partial(sns.get_topic_attributes, TopicArn=arn))

    def _buckets(self) -> Iterator[tuple[str, Json]]:
        s3 = self.admin.client("s3")
        for bucket in (each["Name"] for each in s3.list_buckets()["Buckets"]):
            yield f"bucket {bucket} versioning", s3.get_bucket_versioning(Bucket=bucket)
            yield f"bucket {bucket} lock", s3.get_object_lock_configuration(Bucket=bucket)
            policy = absent("NoSuchBucketPolicy", partial(s3.get_bucket_policy, Bucket=bucket))
            yield f"bucket {bucket} policy", policy
            listed = s3.list_object_versions(Bucket=bucket)
            yield f"bucket {bucket} delete markers", listed.get("DeleteMarkers", [])
            for each in listed.get("Versions", []):
                key, version = each["Key"], each["VersionId"]
                head = s3.head_object(Bucket=bucket, Key=key, VersionId=version)
                yield f"object {bucket}/{key} {version}", {**each, "hold": held(head), "etag": head["ETag"]}

    def _registry(self) -> Iterator[tuple[str, Json]]:
        ecr, sagemaker = self.admin.client("ecr"), self.admin.client("sagemaker")
        for each in ecr.describe_repositories()["repositories"]:
            name = each["repositoryName"]
            yield f"repository {name}", each
            read = partial(ecr.get_repository_policy, repositoryName=name)
            policy = absent("RepositoryPolicyNotFoundException", read)
            yield f"repository {name} policy", policy
            for image in ecr.describe_images(repositoryName=name)["imageDetails"]:
                yield f"image {name}@{image['imageDigest']}", image
        for each in sagemaker.list_model_packages(ModelPackageType="Both")["ModelPackageSummaryList"]:
            found = sagemaker.describe_model_package(ModelPackageName=each["ModelPackageArn"])
            yield f"model {each['ModelPackageArn']}", found

    def _pipelines(self) -> Iterator[tuple[str, Json]]:
        pipelines = self.admin.client("codepipeline")
        for each in pipelines.list_pipelines()["pipelines"]:
            for stage in pipelines.get_pipeline_state(name=each["name"])["stageStates"]:
                yield (
                    f"pipeline {each['name']} into {stage['stageName']}",
                    stage.get("inboundTransitionState", {}).get("enabled"),
                )

    def _tables(self) -> Iterator[tuple[str, Json]]:
        dynamodb = self.admin.client("dynamodb")
        for name in dynamodb.list_tables()["TableNames"]:
            table = dynamodb.describe_table(TableName=name)["Table"]
            yield f"table {name}", table
            yield f"table {name} backups", dynamodb.describe_continuous_backups(TableName=name)
            read = partial(dynamodb.get_resource_policy, ResourceArn=table["TableArn"])
            yield f"table {name} policy", absent("PolicyNotFoundException", read)

    def _findings(self) -> Iterator[tuple[str, Json]]:
        for each in self.admin.client("securityhub").get_findings()["Findings"]:
            yield f"finding {each['Id']}", each


def held(head: Json) -> str:
    """The legal hold as S3 shows it; none and OFF mean the same (S3 user guide, "Legal holds")."""
    return "ON" if head.get("ObjectLockLegalHoldStatus") == "ON" else "OFF"


def absent(code: str, call: Callable[[], Json]) -> Json:
    """The answer, or None where the resource has no such configuration."""
    try:
        return call()
    except ClientError as error:
        if error.response["Error"]["Code"] == code:
            return None
        raise


def readable(call: Callable[[], Json]) -> Json:
    """The answer, or that a containment keeps even administrators out."""
    try:
        return call()
    except ClientError as error:
        if error.response["Error"]["Code"] in DENIED:
            return "denied"
        raise
