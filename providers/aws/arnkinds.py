"""Say which part of a workload an ARN is: its group and kind in the inventory, or what to look up first."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PREFIX = r"^arn:aws(?:-[a-z]+)*:"


@dataclass(frozen=True)
class Part:
    """A resource in the inventory's words."""

    group: str
    kind: str
    ref: str


@dataclass(frozen=True)
class Lead:
    """A resource that is no part itself, and leads to parts once it is looked at."""

    what: str
    name: str


# ARN formats: service authorization reference, "Resource types defined by ..." of each service.
_PARTS = (
    (r"iam::\d+:role/.+", "identities", "iam-role"),
    (r"iam::\d+:user/.+", "identities", "iam-user"),
    (r"ec2:[^:]+:\d+:instance/(?P<ref>i-\w+)", "network", "ec2-instance"),
    (r"ec2:[^:]+:\d+:network-interface/(?P<ref>eni-\w+)", "network", "network-interface"),
    (r"ec2:[^:]+:\d+:subnet/(?P<ref>subnet-\w+)", "network", "subnet"),
    (r"network-firewall:[^:]+:\d+:firewall-policy/.+", "network", "firewall-policy"),
    (r"sqs:.+", "channels", "sqs-queue"),
    (r"sns:[^:]+:\d+:[^:]+", "channels", "sns-topic"),
    (r"sagemaker:[^:]+:\d+:model-package/.+", "artifacts", "model-package"),
    (r"dynamodb:[^:]+:\d+:table/[^/]+", "stores", "dynamodb-table"),
    (r"logs:[^:]+:\d+:log-group:[^:]+(?::\*)?", "evidence_sources", "log-group"),
)
_LEADS = (
    (r"ecr:[^:]+:\d+:repository/(?P<name>.+)", "repository"),
    (r"s3:::(?P<name>[^/]+)", "bucket"),
    (r"codepipeline:[^:]+:\d+:(?P<name>[^:/]+)", "pipeline"),
    (r"sagemaker:[^:]+:\d+:model-package-group/(?P<name>.+)", "models"),
    (r"lambda:[^:]+:\d+:function:(?P<name>[^:]+)", "function"),
    (r"network-firewall:[^:]+:\d+:firewall/(?P<name>.+)", "firewall"),
)
_PART_PATTERNS = tuple((re.compile(f"{_PREFIX}{text}$"), group, kind) for text, group, kind in _PARTS)
_LEAD_PATTERNS = tuple((re.compile(f"{_PREFIX}{text}$"), what) for text, what in _LEADS)


def read(arn: str) -> Part | Lead | None:
    """Read an ARN; None where the inventory has no word for such a resource."""
    for pattern, group, kind in _PART_PATTERNS:
        match = pattern.match(arn)
        if match:
            return Part(group, kind, match.groupdict().get("ref") or arn.removesuffix(":*"))
    for pattern, what in _LEAD_PATTERNS:
        match = pattern.match(arn)
        if match:
            return Lead(what, match["name"])
    return None
