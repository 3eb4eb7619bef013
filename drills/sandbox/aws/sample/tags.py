"""Tag what belongs to the sample agent with its id, as its owners would."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drills.sandbox.aws.sample.agent import AGENT_ROLE, WORKLOAD_ID

if TYPE_CHECKING:
    from drills.sandbox.aws.sample.artifacts import Artifacts
    from drills.sandbox.aws.sample.clients import Admin
    from drills.sandbox.aws.sample.network import Host, Vpc

TAG = "ai-workload"
_PAIRS = [{"Key": TAG, "Value": WORKLOAD_ID}]
_SMALL_PAIRS = [{"key": TAG, "value": WORKLOAD_ID}]
_MAPPING = {TAG: WORKLOAD_ID}


def tag_agent(admin: Admin, vpc: Vpc, host: Host, artifacts: Artifacts) -> None:
    """Tag every resource that the inventory's entry of the agent names and that can be tagged."""
    admin.client("iam").tag_role(RoleName=AGENT_ROLE, Tags=_PAIRS)
    admin.client("ec2").create_tags(Resources=[host.instance_id, host.dedicated_subnet], Tags=_PAIRS)
    admin.client("network-firewall").tag_resource(ResourceArn=host.firewall_policy_arn, Tags=_PAIRS)
    admin.client("lambda").tag_resource(Resource=vpc.canary_arn, Tags=_MAPPING)
    admin.client("sqs").tag_queue(QueueUrl=artifacts.queue_url, Tags=_MAPPING)
    admin.client("sns").tag_resource(ResourceArn=artifacts.topic_arn, Tags=_PAIRS)
    _tag_artifacts(admin, artifacts)
    for arn in artifacts.log_group_arns:
        admin.client("logs").tag_resource(resourceArn=arn, tags=_MAPPING)


def _tag_artifacts(admin: Admin, artifacts: Artifacts) -> None:
    admin.client("s3").put_bucket_tagging(Bucket=artifacts.bucket, Tagging={"TagSet": _PAIRS})
    admin.client("ecr").tag_resource(resourceArn=artifacts.repository_arn, tags=_PAIRS)
    admin.client("dynamodb").tag_resource(ResourceArn=artifacts.table_arn, Tags=_PAIRS)
    pipeline = admin.arn("codepipeline", artifacts.pipeline)
    admin.client("codepipeline").tag_resource(resourceArn=pipeline, tags=_SMALL_PAIRS)
    # A version of a model cannot be tagged, its group can (SageMaker API reference, AddTags).
    group = artifacts.model_package_arn.rpartition("/")[0].replace(":model-package/", ":model-package-group/")
    admin.client("sagemaker").add_tags(ResourceArn=group, Tags=_PAIRS)
