"""Hold IAM to its quotas, and make a deleted principal of a trust policy one that cannot be written again.

Sources: IAM user guide, "IAM and AWS STS quotas" (white space is not counted) and "AWS JSON policy elements:
Principal"; the words are those that IAM answers with.
"""

from __future__ import annotations

import re
from typing import Any

from moto.iam.models import IAMBackend, iam_backends

from drills.sandbox.aws.corrections import guard
from drills.sandbox.aws.errors import ApiError
from drills.sandbox.aws.identities import backend_of
from drills.sandbox.aws.stubs import StubRequest

_INLINE = {"User": 2_048, "Role": 10_240, "Group": 5_120}
_TRUST = 2_048
_UNIQUE_ID = re.compile(r'"(A(?:ID|RO)A[A-Z0-9]{12,})"')


@guard("iam", "PutUserPolicy", "PutRolePolicy", "PutGroupPolicy")
def inline_policies_have_room(request: StubRequest) -> None:
    """Refuse what would make the inline policies of one principal too long together."""
    kind = request.operation.removeprefix("Put").removesuffix("Policy")
    name = request.params[f"{kind}Name"]
    policies = {**_inline(request.account, kind, name), request.params["PolicyName"]: _document(request)}
    if sum(_size(each) for each in policies.values()) > _INLINE[kind]:
        message = f"Maximum policy size of {_INLINE[kind]} bytes exceeded for {kind.lower()} {name}"
        raise ApiError("LimitExceeded", message, 409)


@guard("iam", "CreateRole", "UpdateAssumeRolePolicy")
def trust_policy_can_be_written(request: StubRequest) -> None:
    """Refuse a trust policy that is too long or names a unique id, which no principal has any longer."""
    trust = request.params.get("AssumeRolePolicyDocument") or _document(request)
    if _size(trust) > _TRUST:
        raise ApiError("LimitExceeded", f"Cannot exceed quota for ACLSizePerRole: {_TRUST}", 409)
    gone = _UNIQUE_ID.search(trust)
    if gone:
        raise ApiError("MalformedPolicyDocument", f'Invalid principal in policy: "AWS":"{gone[1]}"')


def apply() -> None:
    """Let the deletion of a principal leave its unique id in the trust policies that named it."""
    delete_role, delete_user = IAMBackend.delete_role, IAMBackend.delete_user

    def without_role(backend: IAMBackend, role_name: str) -> None:
        role: Any = backend.get_role(role_name)
        delete_role(backend, role_name)
        _leave_id(role.arn, role.id)

    def without_user(backend: IAMBackend, user_name: str) -> None:
        user: Any = backend.get_user(user_name)
        delete_user(backend, user_name)
        _leave_id(user.arn, f"AIDA{user.id.upper()}")  # moto gives users an id without IAM's prefix

    IAMBackend.delete_role = without_role  # type: ignore[method-assign,assignment]
    IAMBackend.delete_user = without_user  # type: ignore[method-assign,assignment]


def _leave_id(arn: str, unique_id: str) -> None:
    for account in list(iam_backends):
        for role in list(backend_of(account).roles.values()):
            trust = role.assume_role_policy_document or ""
            role.assume_role_policy_document = trust.replace(f'"{arn}"', f'"{unique_id}"')


def _inline(account: str, kind: str, name: str) -> dict[str, str]:
    backend = backend_of(account)
    if kind == "Role":
        return next((dict(each.policies) for each in backend.roles.values() if each.name == name), {})
    found: Any = (backend.users if kind == "User" else backend.groups).get(name)
    return dict(found.policies) if found else {}


def _document(request: StubRequest) -> str:
    return str(request.params["PolicyDocument"])


def _size(document: str) -> int:
    return len("".join(document.split()))
