"""Collect the condition keys of a request.

Source: IAM user guide, "AWS global condition context keys"; service authorization reference for the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from drills.sandbox.aws.conditions import Context
from drills.sandbox.aws.credentials import Principal
from drills.sandbox.aws.wire import ApiCall

_PARAMETER_KEYS: Mapping[tuple[str, str], str] = {
    ("ecr", "repositoryName"): "ecr:repositoryname",
    ("iam", "PermissionsBoundary"): "iam:permissionsboundary",
    ("iam", "PolicyArn"): "iam:policyarn",
    ("s3", "Prefix"): "s3:prefix",
    ("s3", "VersionId"): "s3:versionid",
    ("sts", "ExternalId"): "sts:externalid",
    ("sts", "RoleSessionName"): "sts:rolesessionname",
    ("sts", "SourceIdentity"): "sts:sourceidentity",
}
# The service that a passed role is handed to (service authorization reference, iam:PassedToService).
_PASSED_TO: Mapping[tuple[str, str], str] = {
    ("cloudtrail", "CreateTrail"): "cloudtrail.amazonaws.com",
    ("ec2", "CreateFlowLogs"): "vpc-flow-logs.amazonaws.com",
    ("ecs", "RegisterTaskDefinition"): "ecs-tasks.amazonaws.com",
    ("lambda", "CreateFunction"): "lambda.amazonaws.com",
    ("lambda", "UpdateFunctionConfiguration"): "lambda.amazonaws.com",
    ("sagemaker", "CreateModel"): "sagemaker.amazonaws.com",
    ("stepfunctions", "CreateStateMachine"): "states.amazonaws.com",
}
_S3_HEADER_KEYS = (
    ("x-amz-object-lock-legal-hold", "s3:object-lock-legal-hold"),
    ("x-amz-object-lock-mode", "s3:object-lock-mode"),
    ("x-amz-object-lock-retain-until-date", "s3:object-lock-retain-until-date"),
    ("x-amz-server-side-encryption", "s3:x-amz-server-side-encryption"),
    ("x-amz-server-side-encryption-aws-kms-key-id", "s3:x-amz-server-side-encryption-aws-kms-key-id"),
)


def context_of(call: ApiCall, principal: Principal) -> Context:
    """Return every condition key the sandbox knows for this call, in lower case."""
    now = datetime.now(UTC)
    context = {
        "aws:currenttime": now.isoformat(),
        "aws:epochtime": str(int(now.timestamp())),
        "aws:principalaccount": principal.caller.account,
        "aws:principalarn": principal.caller.role_arn or principal.view.arn,
        "aws:principalisawsservice": "false",
        "aws:requestedregion": call.region,
        "aws:securetransport": "true",  # the sandbox stands in for TLS endpoints
        "aws:sourceip": str(call.environ.get("REMOTE_ADDR", "127.0.0.1")),
        "aws:useragent": call.header("user-agent") or "",
        "aws:userid": principal.caller.user_id,
        "aws:viaawsservice": "false",
    }
    if call.model != "kms":  # asked only where a service uses a key in the caller's name
        context["kms:viaservice"] = f"{call.model}.{call.region}.amazonaws.com"
    context.update(_principal_keys(principal))
    context.update(_parameter_keys(call))
    return {key: (value,) for key, value in context.items()} | _request_tags(call)


def _principal_keys(principal: Principal) -> Iterator[tuple[str, str]]:
    yield from ((f"aws:principaltag/{key.lower()}", value) for key, value in principal.view.tags)
    is_user = principal.entity.kind == "user"
    yield "aws:principaltype", "User" if is_user else "AssumedRole"
    if is_user:
        yield "aws:username", principal.entity.name
    session = principal.session
    if session is None:
        return
    yield "aws:tokenissuetime", session.issued_at.isoformat()
    yield "aws:multifactorauthpresent", "false"
    yield from ((f"aws:principaltag/{key.lower()}", value) for key, value in session.tags.items())
    if session.source_identity:
        yield "aws:sourceidentity", session.source_identity


def _parameter_keys(call: ApiCall) -> Iterator[tuple[str, str]]:
    for (model, parameter), key in _PARAMETER_KEYS.items():
        value = call.params.get(parameter)
        if model == call.model and isinstance(value, str):
            yield key, value
    service = _PASSED_TO.get((call.model, call.operation))
    if service:
        yield "iam:passedtoservice", service
    if call.model == "ec2" and call.params.get("TagSpecifications"):
        yield "ec2:createaction", call.operation
    if call.model == "s3":
        yield from ((key, value) for name, key in _S3_HEADER_KEYS if (value := call.header(name)))


def _request_tags(call: ApiCall) -> dict[str, tuple[str, ...]]:
    tags = call.params.get("Tags") or call.params.get("tags")
    pairs = [_pair(tag) for tag in tags] if isinstance(tags, list) else list((tags or {}).items())
    found = {f"aws:requesttag/{key.lower()}": (value,) for key, value in pairs if isinstance(value, str)}
    return found | ({"aws:tagkeys": tuple(key for key, _ in pairs)} if pairs else {})


def _pair(tag: Mapping[str, Any]) -> tuple[str, Any]:
    lowered = {name.lower(): value for name, value in tag.items()}
    return str(lowered.get("key", lowered.get("tagkey", ""))), lowered.get("value", lowered.get("tagvalue"))
