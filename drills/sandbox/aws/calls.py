"""Record every call the sandbox answers, without the secrets in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from drills.sandbox.aws.control import route
from drills.sandbox.aws.state import on_reset
from drills.sandbox.calls import Recorder, Redaction

# Operations that only look, by the verb their name starts with (AWS service authorization reference, access
# levels List and Read), and those that use a capability and leave the account as it was.
_READ_VERBS = (
    "Get List Describe Head Lookup Query Scan Filter Search Simulate BatchGet BatchDescribe BatchCheck "
    "Receive Select Test Validate Preview Check Discover"
)
_USE_VERBS = (
    "Assume Sign Verify Decrypt Encrypt GenerateDataKey GenerateMac GenerateRandom Invoke Converse Retrieve "
    "ExecuteStatement StartQuery StopQuery Decode"
)
_NON_MUTATING = re.compile(rf"^(?:{'|'.join((_READ_VERBS + ' ' + _USE_VERBS).split())})")
# These start with such a verb and do change something.
_MUTATING_EXCEPTIONS = frozenset({"VerifyDomainIdentity", "VerifyEmailIdentity", "InvokeInlineAgent"})

_REDACTION = Redaction(
    re.compile(r"(?i)(secret(?!id)|password|token|private|plaintext|credential|authorization|body)"), depth=6
)


def is_mutating(operation: str) -> bool:
    """Tell whether an operation can change an account."""
    return operation in _MUTATING_EXCEPTIONS or not _NON_MUTATING.match(operation)


@dataclass(frozen=True)
class RecordedCall:
    """What happened in one call."""

    seq: int
    at: str
    principal_arn: str
    access_key_id_suffix: str
    account: str
    region: str
    service: str
    operation: str
    mutating: bool
    status: int
    error_code: str | None
    resources: list[str]
    params: dict[str, Any]


@dataclass(frozen=True)
class CallFacts:
    """What the gateway knows about a finished call."""

    principal_arn: str
    access_key_id: str
    account: str
    region: str
    service: str
    operation: str
    status: int
    error_code: str | None
    resources: tuple[str, ...]
    params: Mapping[str, Any]


def _recorded(seq: int, facts: CallFacts, params: dict[str, Any]) -> RecordedCall:
    return RecordedCall(
        seq=seq,
        at=datetime.now(UTC).isoformat(timespec="microseconds"),
        principal_arn=facts.principal_arn,
        access_key_id_suffix=facts.access_key_id[-4:],
        account=facts.account,
        region=facts.region,
        service=facts.service,
        operation=facts.operation,
        mutating=is_mutating(facts.operation),
        status=facts.status,
        error_code=facts.error_code,
        resources=list(facts.resources),
        params=params,
    )


recorder: Recorder[RecordedCall, CallFacts] = Recorder()
on_reset(recorder.clear)
on_call = recorder.listen
recorder.serve(route, lambda call: call.principal_arn)


def record(facts: CallFacts) -> None:
    """Record one answered call."""
    params = _REDACTION.of(facts.params)
    recorder.add(facts, lambda seq: _recorded(seq, facts, params))
