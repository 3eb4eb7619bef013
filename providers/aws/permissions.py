"""Say what the responder needs, and find what it lacks: policy documents and their simulation."""

from __future__ import annotations

import re
from collections.abc import Iterable

from firebreak.model import JsonObject, Workload
from firebreak.provider import Need
from firebreak.settings import Settings
from providers.aws.session import AwsAccess, translated


def responder_arn(access: AwsAccess) -> str:
    """Return the ARN that ``aws:PrincipalArn`` has for the responder: its role's, or its own."""
    if access.role_arn:
        return access.role_arn
    with translated("the SDK's own credentials"):
        return principal_of(access.client("sts").get_caller_identity()["Arn"])


def principal_of(arn: str) -> str:
    """Return the role behind an assumed-role ARN; any other principal stands for itself."""
    # IAM user guide, "IAM identifiers". A role's path is not part of the session's ARN.
    match = re.match(r"^arn:(aws[a-z-]*):sts::(\d{12}):assumed-role/([^/]+)/", arn)
    return f"arn:{match[1]}:iam::{match[2]}:role/{match[3]}" if match else arn


def own_principals(access: AwsAccess) -> tuple[str, ...]:
    """List the identities that Firebreak itself runs as."""
    with translated("the SDK's own credentials"):
        caller = access.client("sts").get_caller_identity()["Arn"]
    return tuple(filter(None, (caller, access.role_arn, access.settings.evidence.access.get("role_arn", ""))))


def missing(access: AwsAccess, needs: Iterable[Need]) -> tuple[str, ...]:
    """Name each action that the responder may not do, as ``action on resource``."""
    raise NotImplementedError


def documents(needs: Iterable[Need], workloads: Iterable[Workload], settings: Settings) -> JsonObject:
    """Write the policy documents of responder, evidence and orchestrator."""
    raise NotImplementedError
