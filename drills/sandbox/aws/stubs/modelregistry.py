"""Guard groups of the SageMaker model registry by resource policies, and let packages and groups be deleted.

Behaviour: SageMaker API reference, PutModelPackageGroupPolicy, GetModelPackageGroupPolicy,
DeleteModelPackageGroupPolicy, DeleteModelPackage and DeleteModelPackageGroup ("a group must be empty").
"""

from __future__ import annotations

import json
from typing import Any

from moto.sagemaker.models import sagemaker_backends

from drills.sandbox.aws.stubs import StubError, StubRequest, stub

SERVICE = "sagemaker"
POLICY_LIMIT = 20_480
Json = dict[str, Any]


def _group_arn(request: StubRequest) -> str:
    return f"arn:aws:sagemaker:{request.region}:{request.account}:model-package-group/{_name(request)}"


def _name(request: StubRequest) -> str:
    return str(request.params["ModelPackageGroupName"]).rpartition("/")[2]


def _group(request: StubRequest) -> Any:
    group = sagemaker_backends[request.account][request.region].model_package_groups.get(_name(request))
    if group is None:
        raise StubError("ValidationException", f"Cannot find Model Package Group: {_group_arn(request)}")
    return group


def _policy(request: StubRequest) -> str:
    policy = getattr(_group(request), "resource_policy", None)
    if policy is None:
        raise StubError("ValidationException", f"Cannot find resource policy for: {_group_arn(request)}")
    return str(policy)


@stub(SERVICE, "GetModelPackageGroupPolicy", resource=_group_arn)
def get_model_package_group_policy(request: StubRequest) -> Json:
    """Return the policy of a group."""
    return {"ResourcePolicy": _policy(request)}


@stub(SERVICE, "PutModelPackageGroupPolicy", resource=_group_arn)
def put_model_package_group_policy(request: StubRequest) -> Json:
    """Replace the policy of a group; it is enforced from the next call on."""
    group, text = _group(request), str(request.params["ResourcePolicy"])
    if len(text) > POLICY_LIMIT or not _is_policy(text):
        raise StubError("ValidationException", "Invalid resource policy")
    group.resource_policy = text
    return {"ModelPackageGroupArn": group.arn}


def _is_policy(text: str) -> bool:
    try:
        document = json.loads(text)
    except ValueError:
        return False
    return isinstance(document, dict) and bool(document.get("Statement"))


@stub(SERVICE, "DeleteModelPackageGroupPolicy", resource=_group_arn)
def delete_model_package_group_policy(request: StubRequest) -> Json:
    """Remove the policy of a group."""
    _policy(request)
    _group(request).resource_policy = None
    return {}


@stub(SERVICE, "DeleteModelPackageGroup", resource=_group_arn)
def delete_model_package_group(request: StubRequest) -> Json:
    """Delete a group without packages."""
    group = _group(request)
    backend: Any = sagemaker_backends[request.account][request.region]
    name = group.model_package_group_name
    if any(each.model_package_group_name == name for each in backend.model_packages.values()):
        raise StubError("ConflictException", f"Model Package Group is not empty: {group.arn}")
    del backend.model_package_groups[name]
    return {}


def _package_arn(request: StubRequest) -> str:
    name = str(request.params["ModelPackageName"])
    if name.startswith("arn:"):
        return name
    return f"arn:aws:sagemaker:{request.region}:{request.account}:model-package/{name}"


@stub(SERVICE, "DeleteModelPackage", resource=_package_arn)
def delete_model_package(request: StubRequest) -> Json:
    """Delete a package."""
    backend: Any = sagemaker_backends[request.account][request.region]
    if backend.model_packages.pop(_package_arn(request), None) is None:
        raise StubError("ValidationException", f"Model package {_package_arn(request)} does not exist.")
    return {}
