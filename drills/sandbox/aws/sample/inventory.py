"""Describe the seeded workloads in the inventory's own words, and write the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drills.sandbox.aws.sample.accounts import RESPONDER_EXTERNAL_ID
from drills.sandbox.aws.sample.agent import AGENT_ROLE, NAME, WORKLOAD_ID
from drills.sandbox.aws.sample.artifacts import IMAGE_TAG, OBJECTS, STAGES
from drills.sandbox.aws.sample.network import CANARY_PORT

if TYPE_CHECKING:
    from drills.sandbox.aws.sample.accounts import Accounts
    from drills.sandbox.aws.sample.artifacts import Artifacts
    from drills.sandbox.aws.sample.clients import Admin
    from drills.sandbox.aws.sample.network import Host, Vpc

Json = dict[str, Any]


def access_of(accounts: Accounts) -> Json:
    """Return the members that say where a workload lies and how the responder reaches it."""
    return {
        "cloud": "aws",
        "account": accounts.workload.account,
        "region": accounts.workload.region,
        "sandbox": True,
        "access": {"role_arn": accounts.responder_role_arn, "external_id": RESPONDER_EXTERNAL_ID},
    }


def describe_agent(accounts: Accounts, vpc: Vpc, host: Host, artifacts: Artifacts) -> Json:
    """Return the inventory entry of the sample agent."""
    admin = accounts.workload
    return {
        "id": WORKLOAD_ID,
        "kind": "rag_pipeline",
        "description": "Answers customers from the knowledge base; talks to the planner agent",
        "owner": "support-platform",
        "risk_tier": "L5",
        **access_of(accounts),
        "identities": [_identity(admin, artifacts)],
        "network": _network(vpc, host),
        "channels": [
            {"kind": "sqs-queue", "ref": artifacts.queue_arn},
            {"kind": "sns-topic", "ref": artifacts.topic_arn},
        ],
        "artifacts": _artifacts(artifacts),
        "stores": [{"kind": "dynamodb-table", "ref": artifacts.table_arn}],
        "pipelines": [
            {
                "kind": "codepipeline-stage",
                "ref": admin.arn("codepipeline", artifacts.pipeline),
                "stage": stage,
            }
            for stage in STAGES[1:]
        ],
        "evidence_sources": [
            *({"kind": "log-group", "ref": arn} for arn in artifacts.log_group_arns),
            {"kind": "cloudtrail", "ref": "account"},
            {"kind": "detective", "ref": "account"},
            {
                "kind": "security-hub-finding",
                "ref": artifacts.finding_id,
                "product_arn": artifacts.product_arn,
            },
        ],
    }


def _identity(admin: Admin, artifacts: Artifacts) -> Json:
    return {
        "kind": "iam-role",
        "ref": admin.role_arn(AGENT_ROLE),
        "probes": [
            {
                "service": "s3",
                "operation": "ListObjectsV2",
                "parameters": {"Bucket": artifacts.bucket, "MaxKeys": 1},
            },
            {
                "service": "dynamodb",
                "operation": "DescribeTable",
                "parameters": {"TableName": f"{NAME}-memory"},
            },
        ],
    }


def _network(vpc: Vpc, host: Host) -> list[Json]:
    return [
        {"kind": "ec2-instance", "ref": host.instance_id},
        {"kind": "subnet", "ref": host.dedicated_subnet, "dedicated": True},
        {"kind": "firewall-policy", "ref": host.firewall_policy_arn},
        *describe_watch(vpc),
    ]


def describe_watch(vpc: Vpc) -> list[Json]:
    """Return the entries of the flow logs and the canary that prove isolation."""
    return [
        {"kind": "flow-log", "ref": vpc.flow_log_group_arn},
        {"kind": "canary", "ref": vpc.canary_arn, "port": CANARY_PORT},
    ]


def _artifacts(artifacts: Artifacts) -> list[Json]:
    objects = [
        {
            "kind": "s3-object",
            "ref": f"arn:aws:s3:::{artifacts.bucket}/{key}",
            "role": OBJECTS[key][0],
            "approved_sha256": digest,
        }
        for key, digest in artifacts.object_hashes.items()
    ]
    image = {"kind": "ecr-repository", "ref": artifacts.repository_arn, "tag": IMAGE_TAG}
    return [
        *objects,
        image | {"approved_digest": artifacts.image_digest},
        {"kind": "model-package", "ref": artifacts.model_package_arn},
    ]
