"""Name the IAM actions a call needs and the ARNs it needs them on.

Source: AWS service authorization reference, one page per service.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from drills.sandbox.aws.keyuse import key_needs
from drills.sandbox.aws.s3_actions import s3_needs
from drills.sandbox.aws.wire import ApiCall

Need = tuple[str, str]
"""An action and the ARN of the resource it is done to."""

_PREFIX_BY_MODEL = {
    "bedrock-agent": "bedrock",
    "bedrock-agent-runtime": "bedrock",
    "bedrock-agentcore-control": "bedrock-agentcore",
    "bedrock-runtime": "bedrock",
    "cloudwatch": "cloudwatch",
    "dynamodbstreams": "dynamodb",
    "resourcegroupstaggingapi": "tag",
    "sagemaker-runtime": "sagemaker",
    "sesv2": "ses",
    "stepfunctions": "states",
}
# Operations authorised under another name than their own.
_ACTION_BY_OPERATION = {
    ("lambda", "Invoke"): "lambda:InvokeFunction",
    ("sqs", "SendMessageBatch"): "sqs:SendMessage",
    ("sqs", "DeleteMessageBatch"): "sqs:DeleteMessage",
    ("sqs", "ChangeMessageVisibilityBatch"): "sqs:ChangeMessageVisibility",
    ("sns", "PublishBatch"): "sns:Publish",
    ("bedrock-runtime", "Converse"): "bedrock:InvokeModel",
    ("bedrock-runtime", "ConverseStream"): "bedrock:InvokeModelWithResponseStream",
    ("sagemaker-runtime", "InvokeEndpoint"): "sagemaker:InvokeEndpoint",
    ("logs", "DescribeLogGroups"): "logs:DescribeLogGroups",
}
# Roles handed to a service need iam:PassRole (IAM user guide, "Grant a user permissions to pass a role").
_PASSED_ROLES = {
    ("ec2", "CreateFlowLogs"): "DeliverLogsPermissionArn",
    ("lambda", "CreateFunction"): "Role",
    ("lambda", "UpdateFunctionConfiguration"): "Role",
    ("ecs", "RegisterTaskDefinition"): "taskRoleArn",
    ("sagemaker", "CreateModel"): "ExecutionRoleArn",
    ("cloudtrail", "CreateTrail"): "CloudWatchLogsRoleArn",
    ("stepfunctions", "CreateStateMachine"): "roleArn",
}
_EC2_TYPES = {
    "acl": "network-acl",
    "eipalloc": "elastic-ip",
    "eni": "network-interface",
    "fl": "vpc-flow-log",
    "i": "instance",
    "igw": "internet-gateway",
    "nat": "natgateway",
    "rtb": "route-table",
    "sg": "security-group",
    "snap": "snapshot",
    "subnet": "subnet",
    "vol": "volume",
    "vpc": "vpc",
    "vpce": "vpc-endpoint",
}
# What an operation creates must be allowed beside what it uses (service authorization reference, Amazon EC2).
_EC2_CREATED = {
    "CreateFlowLogs": "vpc-flow-log",
    "CreateNetworkAcl": "network-acl",
    "CreateNetworkInterface": "network-interface",
    "CreateSecurityGroup": "security-group",
    "CreateSnapshot": "snapshot",
    "CreateSnapshots": "snapshot",
    "RunInstances": "instance",
}
_EC2_ID = re.compile(r"^([a-z]+)-[0-9a-f]{8,17}$")

# Parameters that name a resource, first match wins; a value that is an ARN already is taken as it is.
_NAMED: Mapping[str, tuple[tuple[str, str], ...]] = {
    "cloudtrail": (("Name", "trail/{}"),),
    "codepipeline": (("pipelineName", "{}"), ("name", "{}")),
    "dynamodb": (("TableName", "table/{}"), ("ResourceArn", "{}"), ("BackupArn", "{}")),
    "ecr": (("repositoryName", "repository/{}"),),
    "lambda": (("FunctionName", "function:{}"),),
    "logs": (("logGroupName", "log-group:{}:*"), ("logGroupIdentifier", "{}:*")),
    "network-firewall": (("FirewallName", "firewall/{}"), ("FirewallPolicyName", "firewall-policy/{}")),
    "sagemaker": (
        ("ModelPackageName", "model-package/{}"),
        ("ModelPackageGroupName", "model-package-group/{}"),
        ("EndpointName", "endpoint/{}"),
        ("ModelName", "model/{}"),
        ("PipelineName", "pipeline/{}"),
    ),
    "sagemaker-runtime": (("EndpointName", "endpoint/{}"),),
    "events": (("Name", "rule/{}"), ("Rule", "rule/{}")),
    "ssm": (("Name", "parameter/{}"),),
}
_IAM_NAMED = (
    ("RoleName", "role"),
    ("UserName", "user"),
    ("GroupName", "group"),
    ("InstanceProfileName", "profile"),
)


def needs_of(call: ApiCall, account: str) -> list[Need]:
    """Return every action with its resource that this call needs."""
    return _own_needs(call, account) + key_needs(call, account)


def _own_needs(call: ApiCall, account: str) -> list[Need]:
    if call.model == "s3":
        return s3_needs(call.operation, call.params, call.headers)
    action = action_of(call)
    needs = [(action, arn) for arn in _resource_arns(call, account) or ["*"]]
    needs += _tagging(call, account)
    passed = call.params.get(_PASSED_ROLES.get((call.model, call.operation), ""))
    return [*needs, ("iam:PassRole", passed)] if passed else needs


def action_of(call: ApiCall) -> str:
    """Return the IAM action of an operation."""
    renamed = _ACTION_BY_OPERATION.get((call.model, call.operation))
    return renamed or f"{_PREFIX_BY_MODEL.get(call.model, call.signing_name)}:{call.operation}"


def _resource_arns(call: ApiCall, account: str) -> list[str]:
    resolver = _RESOLVERS.get(call.model, _by_parameter)
    return resolver(call, account)


def _arn(call: ApiCall, account: str, name: str) -> str:
    service = _PREFIX_BY_MODEL.get(call.model, call.signing_name)
    return name if name.startswith("arn:") else f"arn:aws:{service}:{call.region}:{account}:{name}"


def _by_parameter(call: ApiCall, account: str) -> list[str]:
    for parameter, template in _NAMED.get(call.model, ()):
        value = call.params.get(parameter)
        if isinstance(value, str) and value:
            name = value if value.startswith("arn:") else template.format(value)
            return [_arn(call, account, name)]
    return _arn_parameters(call)[:1]


def _arn_parameters(call: ApiCall) -> list[str]:
    return [
        value
        for name, value in call.params.items()
        if name.lower().endswith("arn") and isinstance(value, str) and value.startswith("arn:")
    ]


def _ec2(call: ApiCall, account: str) -> list[str]:
    if call.operation.startswith(("Describe", "Get")):
        return []  # most EC2 reads support no resource-level permissions
    matches = (_EC2_ID.match(value) for value in _strings(call.params))
    typed = [(_EC2_TYPES.get(match.group(1)), match.group(0)) for match in matches if match]
    used = {_ec2_arn(call, account, kind, identifier) for kind, identifier in typed if kind}
    created = _EC2_CREATED.get(call.operation)
    return sorted(used | ({_ec2_arn(call, account, created, "*")} if created else set()))


def _ec2_arn(call: ApiCall, account: str, kind: str, identifier: str) -> str:
    """Images and snapshots have no account in their ARN (service authorization reference, Amazon EC2)."""
    return _arn(call, "" if kind in {"image", "snapshot"} else account, f"{kind}/{identifier}")


def _tagging(call: ApiCall, account: str) -> list[Need]:
    """Tagging at creation needs its own permission (EC2 user guide, "Grant permission to tag resources")."""
    if call.model != "ec2":
        return []
    kinds = [tagged.get("ResourceType", "*") for tagged in call.params.get("TagSpecifications") or ()]
    return [("ec2:CreateTags", _ec2_arn(call, account, kind, "*")) for kind in kinds]


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def _iam(call: ApiCall, account: str) -> list[str]:
    from drills.sandbox.aws.identities import Entity, ledger  # noqa: PLC0415 - iam only, keeps this module pure

    for parameter, kind in _IAM_NAMED:
        name = call.params.get(parameter)
        if name:
            view = ledger.view(Entity(account, kind, name)) if kind in {"role", "user", "group"} else None
            return [view.arn if view else f"arn:aws:iam::{account}:{_iam_kind(kind)}/{name}"]
    return _arn_parameters(call)[:1]


def _iam_kind(kind: str) -> str:
    return "instance-profile" if kind == "profile" else kind


def _sts(call: ApiCall, _account: str) -> list[str]:
    return [call.params["RoleArn"]] if call.params.get("RoleArn") else []


def _sqs(call: ApiCall, account: str) -> list[str]:
    url = call.params.get("QueueUrl")
    if url:
        owner, _, name = url.rstrip("/").rpartition("/")
        return [f"arn:aws:sqs:{call.region}:{owner.rpartition('/')[2]}:{name}"]
    name = call.params.get("QueueName")
    return [_arn(call, call.params.get("QueueOwnerAWSAccountId") or account, name)] if name else []


def _sns(call: ApiCall, account: str) -> list[str]:
    arns = [arn for arn in (call.params.get("TopicArn"), call.params.get("ResourceArn")) if arn]
    if call.params.get("SubscriptionArn"):
        arns.append(call.params["SubscriptionArn"].rpartition(":")[0])
    return arns or ([_arn(call, account, call.params["Name"])] if call.params.get("Name") else [])


def _dynamodb(call: ApiCall, account: str) -> list[str]:
    batches = call.params.get("RequestItems")
    names = list(batches) if batches else _transaction_tables(call.params.get("TransactItems") or [])
    return sorted({_arn(call, account, _table(name)) for name in names}) or _by_parameter(call, account)


def _table(name: str) -> str:
    return name if name.startswith("arn:") else f"table/{name}"


def _transaction_tables(items: list[dict[str, Any]]) -> list[str]:
    return [action["TableName"] for item in items for action in item.values()]


def _kms(call: ApiCall, account: str) -> list[str]:
    from drills.sandbox.aws.owners import kms_key_arn  # noqa: PLC0415 - kms only, keeps this module pure

    key_id = call.params.get("KeyId") or _key_of_ciphertext(call.params.get("CiphertextBlob"))
    return [kms_key_arn(account, call.region, key_id)] if key_id else []


def _key_of_ciphertext(blob: bytes | None) -> str | None:
    """Return the key id moto prefixes its ciphertexts with (36 characters, moto/kms/utils.py)."""
    return blob[:36].decode(errors="replace") if blob else None


def _logs(call: ApiCall, account: str) -> list[str]:
    group, stream = call.params.get("logGroupName"), call.params.get("logStreamName")
    if group and stream:
        return [_arn(call, account, f"log-group:{group}:log-stream:{stream}")]
    return _by_parameter(call, account)


def _secretsmanager(call: ApiCall, account: str) -> list[str]:
    from drills.sandbox.aws.owners import secret_arn  # noqa: PLC0415 - secretsmanager only, keeps this module pure

    if call.params.get("SecretId"):
        return [secret_arn(account, call.region, call.params["SecretId"])]
    return [_arn(call, account, f"secret:{call.params['Name']}")] if call.params.get("Name") else []


def _ecr(call: ApiCall, account: str) -> list[str]:
    owner = call.params.get("registryId") or account
    names = call.params.get("repositoryNames") or ()
    return [_arn(call, owner, f"repository/{name}") for name in names] or _by_parameter(call, owner)


_RESOLVERS: Mapping[str, Callable[[ApiCall, str], list[str]]] = {
    "dynamodb": _dynamodb,
    "ec2": _ec2,
    "ecr": _ecr,
    "iam": _iam,
    "kms": _kms,
    "logs": _logs,
    "secretsmanager": _secretsmanager,
    "sns": _sns,
    "sqs": _sqs,
    "sts": _sts,
}
