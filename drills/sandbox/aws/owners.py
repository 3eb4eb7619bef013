"""Find who owns a resource and which resource policy guards it, from the emulator's state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from moto.backends import get_backend

from drills.sandbox.aws.iam import PolicyRole, Resource
from drills.sandbox.aws.identities import Entity, ledger
from drills.sandbox.aws.state import PARTITION

_ARN_PARTS = 6


def resource_of(arn: str, action: str) -> Resource:
    """Return a resource with its owning account and its resource policy."""
    parts = arn.split(":", _ARN_PARTS - 1)
    if len(parts) < _ARN_PARTS:
        return Resource(arn)
    service, region, account, name = parts[2], parts[3], parts[4], parts[5]
    if account == "aws":
        return Resource(arn)  # AWS's own, such as its managed policies: everyone's
    if action in {"sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"}:
        return _role_to_assume(arn, account, name)
    reader = _READERS.get(service)
    if reader is None or not _regional_or_s3(service, account, region):
        return Resource(arn, account or None)
    return reader(arn, region, account, name)


def _regional_or_s3(service: str, account: str, region: str) -> bool:
    return service == "s3" or bool(account and region and account != "*")


def _role_to_assume(arn: str, account: str, name: str) -> Resource:
    view = ledger.view(Entity(account, "role", name.rpartition("/")[2]))
    trust = view.trust if view and view.arn == arn else None
    return Resource(arn, account, trust, PolicyRole.REQUIRED, "role trust")


def bucket_account(bucket: str) -> str | None:
    """Return the account that owns a bucket; names are global in a partition."""
    for account, regions in list(get_backend("s3").items()):
        if bucket in regions[PARTITION].buckets:
            return str(account)
    return None


def _s3(arn: str, _region: str, _account: str, name: str) -> Resource:
    bucket = name.partition("/")[0]
    owner = bucket_account(bucket)
    if owner is None:
        return Resource(arn)
    policy = get_backend("s3")[owner][PARTITION].buckets[bucket].policy
    return Resource(arn, owner, policy.decode() if policy else None)


def _sqs(arn: str, region: str, account: str, name: str) -> Resource:
    queue: Any = get_backend("sqs")[account][region].queues.get(name)
    return Resource(arn, account, queue.policy or None if queue else None)


def _sns(arn: str, region: str, account: str, _name: str) -> Resource:
    topic: Any = get_backend("sns")[account][region].topics.get(arn)
    return Resource(arn, account, topic.policy if topic else None)


def _dynamodb(arn: str, region: str, account: str, name: str) -> Resource:
    table_arn = arn.partition("/index/")[0] if "/index/" in name else arn
    found: Any = get_backend("dynamodb")[account][region].resource_policies.get(table_arn)
    return Resource(arn, account, found.policy_doc if found else None)


def _ecr(arn: str, region: str, account: str, name: str) -> Resource:
    repository: Any = get_backend("ecr")[account][region].repositories.get(name.removeprefix("repository/"))
    return Resource(arn, account, repository.policy or None if repository else None)


def _kms(arn: str, region: str, account: str, name: str) -> Resource:
    key: Any = get_backend("kms")[account][region].keys.get(name.removeprefix("key/"))
    if key is None:
        return Resource(arn, account)
    return Resource(arn, account, key.policy, PolicyRole.REQUIRED, "key")


def _secretsmanager(arn: str, region: str, account: str, _name: str) -> Resource:
    secrets: Any = get_backend("secretsmanager")[account][region].secrets
    secret = secrets.get(arn)
    return Resource(arn, account, secret.policy or None if secret else None)


def _sagemaker(arn: str, region: str, account: str, name: str) -> Resource:
    """A group's policy also guards the versions in it; the emulator writes their ARNs in lower case."""
    kind, _, path = name.partition("/")
    group, _, version = path.partition("/")
    if kind != "model-package-group" and not (kind == "model-package" and version):
        return Resource(arn, account)
    groups: Any = get_backend("sagemaker")[account][region].model_package_groups
    found = [each for known, each in groups.items() if known.lower() == group.lower()]
    return Resource(arn, account, getattr(found[0], "resource_policy", None) if found else None)


_READERS: Mapping[str, Callable[[str, str, str, str], Resource]] = {
    "dynamodb": _dynamodb,
    "ecr": _ecr,
    "kms": _kms,
    "s3": _s3,
    "sagemaker": _sagemaker,
    "secretsmanager": _secretsmanager,
    "sns": _sns,
    "sqs": _sqs,
}


def kms_key_arn(account: str, region: str, key_id: str) -> str:
    """Return the ARN of a key given by id, ARN, alias or alias ARN."""
    if key_id.startswith("arn:"):
        _, _, _, region, account, name = key_id.split(":", _ARN_PARTS - 1)
    else:
        name = key_id if key_id.startswith("alias/") else f"key/{key_id}"
    if name.startswith("alias/"):
        name = f"key/{_key_of_alias(account, region, name) or name}"
    return f"arn:{PARTITION}:kms:{region}:{account}:{name}"


def _key_of_alias(account: str, region: str, alias: str) -> str | None:
    backend: Any = get_backend("kms")[account][region]
    found = backend.get_key_id_from_alias(alias)
    return str(found) if found else None


def secret_arn(account: str, region: str, secret_id: str) -> str:
    """Return the ARN of a secret given by name or ARN."""
    if secret_id.startswith("arn:"):
        return secret_id
    secrets: Any = get_backend("secretsmanager")[account][region].secrets
    secret = secrets.get(secret_id)
    return (
        str(secret.arn) if secret else f"arn:{PARTITION}:secretsmanager:{region}:{account}:secret:{secret_id}"
    )
