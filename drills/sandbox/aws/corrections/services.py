"""Correct single operations of Lambda, ECR and IAM.

Sources: Lambda API reference, Invoke; ECR user guide, "Preventing image tags from being overwritten";
IAM API reference, the UnmodifiableEntity error of service-linked roles.
"""

from __future__ import annotations

import json
from typing import Any

from moto.awslambda.models import lambda_backends
from moto.ecr.models import ecr_backends

from drills.sandbox.aws.corrections import guard
from drills.sandbox.aws.errors import ApiError
from drills.sandbox.aws.identities import Entity, backend_of, live_view, user_boundaries
from drills.sandbox.aws.stubs import StubRequest, stub


@guard("lambda", "Invoke", "InvokeAsync")
def has_concurrency(request: StubRequest) -> None:
    """Throttle a function whose reserved concurrency is zero."""
    name = str(request.params["FunctionName"]).rpartition("function:")[2].partition(":")[0]
    backend: Any = lambda_backends[request.account][request.region]
    function = next((item for item in backend.list_functions() if item.function_name == name), None)
    if (
        function is not None
        and function.reserved_concurrency is not None
        and int(function.reserved_concurrency) == 0
    ):
        raise ApiError("TooManyRequestsException", "Rate Exceeded.", 429)


@guard("ecr", "PutImage")
def tag_is_free(request: StubRequest) -> None:
    """Refuse to move a tag of a repository with immutable tags."""
    tag, name = request.params.get("imageTag"), request.params["repositoryName"]
    repository: Any = ecr_backends[request.account][request.region].repositories.get(name)
    if not tag or repository is None or repository.image_tag_mutability != "IMMUTABLE":
        return
    manifest = request.params.get("imageManifest")
    if any(tag in image.image_tags and image.image_manifest != manifest for image in repository.images):
        message = (
            f"The image tag '{tag}' already exists in the '{name}' repository "
            "and cannot be overwritten because the tag is immutable."
        )
        raise ApiError("ImageTagAlreadyExistsException", message)


_UNMODIFIABLE = (
    "AttachRolePolicy",
    "DeleteRole",
    "DeleteRolePermissionsBoundary",
    "DeleteRolePolicy",
    "DetachRolePolicy",
    "PutRolePermissionsBoundary",
    "PutRolePolicy",
    "UpdateAssumeRolePolicy",
)


@guard("iam", *_UNMODIFIABLE)
def not_service_linked(request: StubRequest) -> None:
    """Refuse to change a service-linked role."""
    name = request.params["RoleName"]
    view = live_view(Entity(request.account, "role", name))
    if view is not None and ":role/aws-service-role/" in view.arn:
        message = f"Cannot perform the operation on the protected role '{name}': it is only modifiable by AWS"
        raise ApiError("UnmodifiableEntity", message)


@guard("iam", "PutRolePolicy", "PutUserPolicy", "PutGroupPolicy", "CreatePolicy", "CreatePolicyVersion")
def policy_is_json(request: StubRequest) -> None:
    """Refuse a policy document that is no JSON object."""
    try:
        document = json.loads(request.params["PolicyDocument"])
    except ValueError as error:
        raise _malformed() from error
    if not isinstance(document, dict) or "Statement" not in document:
        raise _malformed()


def _malformed() -> ApiError:
    return ApiError("MalformedPolicyDocument", "Syntax errors in policy.")


@stub("iam", "PutUserPermissionsBoundary")
def put_user_permissions_boundary(request: StubRequest) -> dict[str, Any]:
    """Set the permissions boundary of a user, which moto cannot."""
    user = _user(request)
    user_boundaries[user.id] = request.params["PermissionsBoundary"]
    _show_boundary(user)
    return {}


@stub("iam", "DeleteUserPermissionsBoundary")
def delete_user_permissions_boundary(request: StubRequest) -> dict[str, Any]:
    """Remove the permissions boundary of a user."""
    user = _user(request)
    if user_boundaries.pop(user.id, None) is None:
        raise ApiError("NoSuchEntity", f"User {user.name} has no permissions boundary.", 404)
    _show_boundary(user)
    return {}


def _user(request: StubRequest) -> Any:
    name = request.params["UserName"]
    user = backend_of(request.account).users.get(name)
    if user is None:
        raise ApiError("NoSuchEntity", f"The user with name {name} cannot be found.", 404)
    return user


def _show_boundary(user: Any) -> None:
    """Let moto's GetUser serialise the boundary."""
    arn = user_boundaries.get(user.id)
    shown = {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": arn}
    user.permissions_boundary = shown if arn else None
