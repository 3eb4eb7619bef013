"""Decide whether a principal may do an action on a resource, as IAM does.

Source: IAM user guide, "Policy evaluation logic", its single-account and cross-account parts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from drills.sandbox.aws.conditions import Context
from drills.sandbox.aws.credentials import Principal
from drills.sandbox.aws.errors import ApiError
from drills.sandbox.aws.identities import Entity, View, ledger
from drills.sandbox.aws.policy import Access, Grant, Policy, parse_policy
from drills.sandbox.aws.wire import ApiCall, protocol_of


class PolicyRole(StrEnum):
    """What a resource policy is to the decision."""

    ADDITIONAL = "additional"
    """Either the identity policy or this one may allow, inside one account."""
    REQUIRED = "required"
    """This policy must allow as well: KMS key policies and role trust policies."""


@dataclass(frozen=True)
class Resource:
    """What an action is done to."""

    arn: str
    account: str | None = None
    policy: str | None = None
    policy_role: PolicyRole = PolicyRole.ADDITIONAL
    policy_kind: str = "resource-based"


@dataclass(frozen=True)
class Check:
    """One action on one resource that a call needs."""

    action: str
    resource: Resource


# Allowed to all valid credentials (STS API reference, GetCallerIdentity: "No permissions are required").
UNDENIABLE = frozenset({"sts:GetCallerIdentity"})


def authorize(call: ApiCall, principal: Principal, checks: Iterable[Check], context: Context) -> None:
    """Refuse the call unless every action it needs is allowed."""
    for check in checks:
        if check.action in UNDENIABLE:
            continue
        refusal = refusal_of(principal, check, context)
        if refusal is not None:
            raise denied(call, principal.caller.arn, check.action, check.resource.arn, refusal.reason)


@dataclass(frozen=True)
class Refusal:
    """Why an action is refused."""

    explicit: bool
    reason: str


def refusal_of(principal: Principal, check: Check, context: Context) -> Refusal | None:
    """Return why an action is refused, or None when it is allowed."""
    access = Access(principal.caller, check.action, check.resource.arn, context)
    resource_policy = parse_policy(check.resource.policy) if check.resource.policy else Policy()
    layers = _layers(principal)
    denying = _explicit_deny(access, layers, resource_policy, check.resource.policy_kind)
    if denying:
        return Refusal(explicit=True, reason=f"with an explicit deny in {denying}")
    lacking = _implicit_deny(access, layers, resource_policy, check.resource)
    return (
        Refusal(explicit=False, reason=f"because no {lacking} policy allows the {check.action} action")
        if lacking
        else None
    )


@dataclass(frozen=True)
class _Layers:
    identity: tuple[Policy, ...]
    boundary: tuple[Policy, ...] | None
    session: tuple[Policy, ...] | None


def _layers(principal: Principal) -> _Layers:
    view, account = principal.view, principal.entity.account
    identity = [*_documents(account, view), *_group_documents(principal)]
    session: Iterable[str] | None = None
    if principal.session and (principal.session.policies or principal.session.policy_arns):
        session = (*principal.session.policies, *_attached(account, principal.session.policy_arns))
    boundary = None if view.boundary is None else _attached(account, (view.boundary,))
    return _Layers(_parsed(identity), _parsed_cap(boundary), _parsed_cap(session))


def _parsed_cap(documents: Iterable[str] | None) -> tuple[Policy, ...] | None:
    return None if documents is None else _parsed(documents)


def _parsed(documents: Iterable[str]) -> tuple[Policy, ...]:
    return tuple(parse_policy(document) for document in documents)


def _documents(account: str, view: View) -> list[str]:
    return [*view.inline, *_attached(account, view.attached)]


def _attached(account: str, arns: Iterable[str]) -> list[str]:
    views = [ledger.view(Entity(account, "policy", arn)) for arn in arns]
    return [view.document for view in views if view is not None and view.document is not None]


def _group_documents(principal: Principal) -> list[str]:
    account = principal.entity.account
    views = [ledger.view(Entity(account, "group", name)) for name in principal.view.groups]
    return [document for view in views if view is not None for document in _documents(account, view)]


def _explicit_deny(access: Access, layers: _Layers, resource_policy: Policy, policy_kind: str) -> str | None:
    if resource_policy.denies_caller(access):
        return f"a {policy_kind} policy"
    for name, policies in (
        ("an identity-based policy", layers.identity),
        ("a permissions boundary", layers.boundary or ()),
        ("a session policy", layers.session or ()),
    ):
        if any(policy.denies(access) for policy in policies):
            return name
    return None


def _implicit_deny(
    access: Access, layers: _Layers, resource_policy: Policy, resource: Resource
) -> str | None:
    grant = resource_policy.grant(access)
    same_account = resource.account in {None, access.caller.account}
    must_grant = resource.policy_role is PolicyRole.REQUIRED or not same_account
    if must_grant and grant is Grant.NONE:
        return resource.policy_kind
    if same_account and grant is Grant.CALLER:
        return None  # a grant to the session or user itself is not capped by an implicit deny elsewhere
    granted_in_account = same_account and grant is Grant.ROLE
    if not granted_in_account and not _allows(layers.identity, access):
        return "identity-based"
    return _capped(access, layers)


def _allows(policies: Iterable[Policy], access: Access) -> bool:
    return any(policy.allows(access) for policy in policies)


def _capped(access: Access, layers: _Layers) -> str | None:
    if layers.boundary is not None and not _allows(layers.boundary, access):
        return "permissions boundary"
    if layers.session is not None and not _allows(layers.session, access):
        return "session"
    return None


# How services say no: EC2 API reference "Error codes", S3 "Error responses", SNS "Common errors";
# services with a JSON protocol list AccessDeniedException, most of them with HTTP status 400.
_DENIED_CODES = {
    "ec2": ("UnauthorizedOperation", 403),
    "rest-xml": ("AccessDenied", 403),
    "query": ("AccessDenied", 403),
    "rest-json": ("AccessDeniedException", 403),
    "json": ("AccessDeniedException", 400),
}


def denied(call: ApiCall, arn: str, action: str, resource: str, reason: str) -> ApiError:
    """Return the refusal in the words of AWS."""
    code, status = _DENIED_CODES.get(protocol_of(call), ("AccessDeniedException", 400))
    if call.model == "sns":
        code = "AuthorizationError"
    if call.model == "ec2":
        message = (
            f"You are not authorized to perform this operation. User: {arn} is not authorized "
            f"to perform: {action} on resource: {resource} {reason}"
        )
        return ApiError(code, message, status)
    return ApiError(
        code, f"User: {arn} is not authorized to perform: {action} on resource: {resource} {reason}", status
    )
