"""Serve STS: moto's sessions know no issue time, expiry, session policy or tags.

Source: STS API reference; IAM user guide "Roles terms and concepts" for role chaining.
"""

from __future__ import annotations

from typing import Any

from drills.sandbox.aws.credentials import Session, session_arn, sessions
from drills.sandbox.aws.errors import ApiError
from drills.sandbox.aws.identities import Entity, View, ledger
from drills.sandbox.aws.stubs import StubRequest, stub

_CHAINED_SECONDS = 3600
_TOKEN_SECONDS = 43200
_ROLE_SECONDS = 3600
_MAX_NAME = 64


@stub("sts", "AssumeRole")
def assume_role(request: StubRequest) -> dict[str, Any]:
    """Issue a session of a role; authorisation already checked the trust policy."""
    params = request.params
    arn, name = str(params["RoleArn"]), str(params["RoleSessionName"])
    if len(name) > _MAX_NAME:
        message = f"Value '{name}' at 'roleSessionName' must have length less than or equal to {_MAX_NAME}"
        raise ApiError("ValidationError", message)
    entity = Entity(arn.split(":")[4], "role", arn.rpartition("/")[2])
    view = ledger.view(entity)
    if view is None:
        raise ApiError("AccessDenied", f"{request.principal_arn} is not authorized to assume {arn}", 403)
    session = sessions.issue(
        entity,
        view,
        arn=session_arn(arn, name),
        user_id=f"{view.id}:{name}",
        seconds=_duration(request, view.max_session_seconds),
        policies=(params["Policy"],) if params.get("Policy") else (),
        policy_arns=tuple(item["arn"] for item in params.get("PolicyArns") or ()),
        tags={tag["Key"]: tag["Value"] for tag in params.get("Tags") or ()},
        source_identity=params.get("SourceIdentity"),
    )
    user = {"AssumedRoleId": session.user_id, "Arn": session.arn}
    return {"Credentials": _credentials(session), "AssumedRoleUser": user}


def _duration(request: StubRequest, longest: int) -> int:
    seconds = int(request.params.get("DurationSeconds") or _ROLE_SECONDS)
    if sessions.find(request.access_key_id) and seconds > _CHAINED_SECONDS:
        message = "The requested DurationSeconds exceeds the 1 hour session limit of role chaining"
        raise ApiError("ValidationError", message)
    if seconds > longest:
        message = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
        raise ApiError("ValidationError", message)
    return seconds


@stub("sts", "GetSessionToken")
def get_session_token(request: StubRequest) -> dict[str, Any]:
    """Issue temporary credentials of the calling user."""
    session = _user_session(request, request.principal_arn, (), _TOKEN_SECONDS)
    return {"Credentials": _credentials(session)}


@stub("sts", "GetFederationToken")
def get_federation_token(request: StubRequest) -> dict[str, Any]:
    """Issue temporary credentials of a federated user, capped by the passed policy."""
    name = request.params["Name"]
    arn = f"arn:aws:sts::{request.account}:federated-user/{name}"
    policies = (request.params["Policy"],) if request.params.get("Policy") else ()
    session = _user_session(request, arn, policies, _TOKEN_SECONDS)
    user = {"FederatedUserId": f"{request.account}:{name}", "Arn": arn}
    return {"Credentials": _credentials(session), "FederatedUser": user}


def _user_session(request: StubRequest, arn: str, policies: tuple[str, ...], seconds: int) -> Session:
    entity = ledger.owner_of_key(request.access_key_id)
    view = ledger.view(entity) if entity else None
    if entity is None or view is None:
        raise ApiError("AccessDenied", "Cannot call GetSessionToken with session credentials", 403)
    duration = int(request.params.get("DurationSeconds") or seconds)
    return sessions.issue(entity, view, arn=arn, user_id=view.id, seconds=duration, policies=policies)


@stub("sts", "GetCallerIdentity")
def get_caller_identity(request: StubRequest) -> dict[str, Any]:
    """Say who the credentials belong to."""
    session = sessions.find(request.access_key_id)
    return {"Account": request.account, "Arn": request.principal_arn, "UserId": _user_id(request, session)}


def _user_id(request: StubRequest, session: Session | None) -> str:
    if session:
        return session.user_id
    entity = ledger.owner_of_key(request.access_key_id)
    view: View | None = ledger.view(entity) if entity else None
    return view.id if view else ""


def _credentials(session: Session) -> dict[str, Any]:
    return {
        "AccessKeyId": session.access_key_id,
        "SecretAccessKey": session.secret,
        "SessionToken": session.token,
        "Expiration": session.expires_at,
    }
