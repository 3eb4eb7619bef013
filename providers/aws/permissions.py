"""Say what the responder needs, and find what it lacks: policy documents and their simulation."""

from __future__ import annotations

from collections.abc import Iterable

from firebreak.model import JsonObject, Workload
from firebreak.provider import Need
from firebreak.settings import Settings
from providers.aws.session import AwsAccess, translated


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
