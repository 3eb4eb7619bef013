"""Authenticate requests: access keys, sessions and their SigV4 signatures."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from drills.sandbox.aws.errors import ApiError
from drills.sandbox.aws.identities import Entity, View, ledger
from drills.sandbox.aws.policy import Caller
from drills.sandbox.aws.state import PARTITION, on_reset
from drills.sandbox.aws.wire import ApiCall, protocol_of

_ALPHABET = string.ascii_uppercase + "234567"


@dataclass(frozen=True)
class Session:
    """Temporary credentials of a role or a user."""

    access_key_id: str
    secret: str
    token: str
    entity: Entity
    entity_id: str
    arn: str
    user_id: str
    issued_at: datetime
    expires_at: datetime
    policies: tuple[str, ...] = ()
    policy_arns: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    source_identity: str | None = None


@dataclass(frozen=True)
class Principal:
    """Who a request was authenticated as."""

    caller: Caller
    entity: Entity
    view: View
    access_key_id: str
    session: Session | None = None


class Sessions:
    """The temporary credentials that were issued."""

    def __init__(self) -> None:
        """Start with none."""
        self._by_key: dict[str, Session] = {}

    def issue(  # noqa: PLR0913 - the members of STS credentials
        self,
        entity: Entity,
        view: View,
        *,
        arn: str,
        user_id: str,
        seconds: int,
        policies: tuple[str, ...] = (),
        policy_arns: tuple[str, ...] = (),
        tags: Mapping[str, str] | None = None,
        source_identity: str | None = None,
    ) -> Session:
        """Create temporary credentials."""
        now = datetime.now(UTC)
        session = Session(
            access_key_id="ASIA" + "".join(secrets.choice(_ALPHABET) for _ in range(16)),
            secret=secrets.token_urlsafe(30),
            token=secrets.token_urlsafe(120),
            entity=entity,
            entity_id=view.id,
            arn=arn,
            user_id=user_id,
            issued_at=now,
            expires_at=now + timedelta(seconds=seconds),
            policies=policies,
            policy_arns=policy_arns,
            tags=tags or {},
            source_identity=source_identity,
        )
        self._by_key[session.access_key_id] = session
        return session

    def find(self, access_key_id: str) -> Session | None:
        """Return the session of an access key id."""
        return self._by_key.get(access_key_id)

    def secrets(self) -> list[str]:
        """Return every secret and token that was issued, so that a test can look for them elsewhere."""
        return [text for each in list(self._by_key.values()) for text in (each.secret, each.token)]

    def expire(self, access_key_id: str) -> bool:
        """End a session now, as if its time had passed."""
        session = self._by_key.get(access_key_id)
        if session is None:
            return False
        values = {name: getattr(session, name) for name in session.__dataclass_fields__}
        self._by_key[access_key_id] = Session(**{**values, "expires_at": datetime.now(UTC)})
        return True

    def clear(self) -> None:
        """Forget all sessions."""
        self._by_key.clear()


sessions = Sessions()
on_reset(sessions.clear)


def authenticate(call: ApiCall) -> Principal:
    """Return the principal of a request, or refuse it as AWS does."""
    if not call.access_key_id:
        raise _missing_token(call)
    session = sessions.find(call.access_key_id)
    principal = _session_principal(call, session) if session else _user_principal(call)
    secret = session.secret if session else principal.view.keys[call.access_key_id].secret
    _check_signature(call, secret, session)
    if session and session.expires_at <= datetime.now(UTC):
        raise _expired(call)
    return principal


def _user_principal(call: ApiCall) -> Principal:
    entity = ledger.owner_of_key(call.access_key_id)
    view = ledger.view(entity) if entity else None
    key = view.keys.get(call.access_key_id) if view else None
    if entity is None or view is None or key is None or not key.active:
        raise _unknown_key(call)
    return Principal(Caller(entity.account, view.arn, view.id), entity, view, call.access_key_id)


def _session_principal(call: ApiCall, session: Session) -> Principal:
    if call.header("x-amz-security-token") != session.token:
        raise _unknown_key(call)
    view = ledger.view(session.entity)
    if view is None or view.id != session.entity_id:
        view = View(arn=session.arn, id=session.entity_id)  # deleted or recreated: no permission is left
    role_arn = view.arn if session.entity.kind == "role" else None
    caller = Caller(session.entity.account, session.arn, session.user_id, role_arn)
    return Principal(caller, session.entity, view, call.access_key_id, session)


def _check_signature(call: ApiCall, secret: str, session: Session | None) -> None:
    authorization = call.header("authorization") or ""
    signed = _between(authorization, "SignedHeaders=").split(";")
    claimed_hash = call.header("x-amz-content-sha256")
    if claimed_hash and len(claimed_hash) == hashlib.sha256().digest_size * 2:
        _check_payload(call, claimed_hash)
    request = AWSRequest(
        method=call.environ["REQUEST_METHOD"],
        url=call.environ.get("RAW_URI") or call.environ["PATH_INFO"],
        data=call.body,
        headers={name: call.header(name) for name in signed if call.header(name) is not None},
    )
    request.context["timestamp"] = call.header("x-amz-date") or ""
    token = session.token if session else None
    kind = S3SigV4Auth if call.signing_name == "s3" else SigV4Auth
    auth = kind(Credentials(call.access_key_id, secret, token), call.signing_name, call.region)
    expected = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    if not hmac.compare_digest(expected, _between(authorization, "Signature=")):
        raise _wrong_signature(call)


def _check_payload(call: ApiCall, claimed_hash: str) -> None:
    if hashlib.sha256(call.body).hexdigest() != claimed_hash:
        message = "The provided 'x-amz-content-sha256' header does not match what was computed."
        raise ApiError("XAmzContentSHA256Mismatch", message, 400)


def _between(text: str, start: str) -> str:
    return text.partition(start)[2].partition(",")[0].strip()


# The refusal codes of the protocols: EC2 API reference "Error codes", S3 API reference "Error responses",
# and "Common errors" of IAM/STS (query) and of DynamoDB, KMS, Lambda (JSON).
_Refusal = tuple[str, str, int]
_INVALID = "The security token included in the request is invalid."
_UNKNOWN_KEY: Mapping[str, _Refusal] = {
    "ec2": ("AuthFailure", "AWS was not able to validate the provided access credentials", 401),
    "rest-xml": (
        "InvalidAccessKeyId",
        "The AWS Access Key Id you provided does not exist in our records.",
        403,
    ),
    "query": ("InvalidClientTokenId", _INVALID, 403),
    "rest-json": ("UnrecognizedClientException", _INVALID, 403),
    "json": ("UnrecognizedClientException", _INVALID, 400),
}
_EXPIRED: Mapping[str, _Refusal] = {
    "ec2": ("RequestExpired", "Request has expired.", 400),
    "rest-xml": ("ExpiredToken", "The provided token has expired.", 400),
    "query": ("ExpiredToken", "The security token included in the request is expired", 403),
    "rest-json": ("ExpiredTokenException", "The security token included in the request is expired", 403),
    "json": ("ExpiredTokenException", "The security token included in the request is expired", 400),
}
_WRONG_SIGNATURE: Mapping[str, _Refusal] = {
    "ec2": ("AuthFailure", "AWS was not able to validate the provided access credentials", 401),
    "json": ("InvalidSignatureException", "The request signature we calculated does not match", 400),
    "rest-json": ("InvalidSignatureException", "The request signature we calculated does not match", 403),
}
_NO_MATCH = ("SignatureDoesNotMatch", "The request signature we calculated does not match", 403)
_MISSING: Mapping[str, _Refusal] = {"rest-xml": ("AccessDenied", "Access Denied", 403)}
_NO_TOKEN = ("MissingAuthenticationToken", "Request is missing Authentication Token", 403)


def _unknown_key(call: ApiCall) -> ApiError:
    return ApiError(*_UNKNOWN_KEY.get(protocol_of(call), _UNKNOWN_KEY["json"]))


def _expired(call: ApiCall) -> ApiError:
    return ApiError(*_EXPIRED.get(protocol_of(call), _EXPIRED["json"]))


def _wrong_signature(call: ApiCall) -> ApiError:
    return ApiError(*_WRONG_SIGNATURE.get(protocol_of(call), _NO_MATCH))


def _missing_token(call: ApiCall) -> ApiError:
    return ApiError(*_MISSING.get(protocol_of(call), _NO_TOKEN))


def session_arn(role_arn: str, session_name: str) -> str:
    """Return the assumed-role ARN of a session of this role."""
    account, role_name = role_arn.split(":")[4], role_arn.rpartition("/")[2]
    return f"arn:{PARTITION}:sts::{account}:assumed-role/{role_name}/{session_name}"
