"""Patch moto's own IAM: bring AWSDenyAll and leave bucket policies to the sandbox's evaluator."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from moto.iam.aws_managed_policies import aws_managed_policies_data
from moto.iam.models import AWSManagedPolicy, IAMBackend
from moto.s3.models import FakeBucket

# Loading all thousand AWS managed policies into every account costs seconds; these are the ones drills use.
_MANAGED = ("AWSDenyAll", "AdministratorAccess", "PowerUserAccess", "ReadOnlyAccess", "SecurityAudit")


@cache
def _managed_documents() -> dict[str, Any]:
    documents = json.loads(aws_managed_policies_data)
    return {name: documents[name] for name in _MANAGED}


def _init_aws_policies(backend: IAMBackend) -> list[Any]:
    return [
        AWSManagedPolicy.from_data(name, backend.account_id, backend.region_name, document)
        for name, document in _managed_documents().items()
    ]


def _no_opinion(_bucket: FakeBucket, _action: str, _resource: str) -> None:
    """Leave the decision to the gateway: moto ignores conditions and principals here."""


def apply() -> None:
    """Install the patches."""
    IAMBackend._init_aws_policies = _init_aws_policies  # type: ignore[method-assign,assignment]
    FakeBucket.get_permission = _no_opinion  # type: ignore[method-assign,assignment]
