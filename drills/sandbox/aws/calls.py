"""Record every call the sandbox answers, without the secrets in it."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from drills.sandbox.aws.control import ControlRequest, route
from drills.sandbox.aws.state import on_reset

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

_SECRET_NAME = re.compile(
    r"(?i)(secret(?!id)|password|token|private|plaintext|credential|authorization|body)"
)
_MAX_TEXT = 2048
_MAX_DEPTH = 6


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


Listener = Callable[[RecordedCall, CallFacts], None]


class Recorder:
    """Keep the calls in the order they were answered."""

    def __init__(self) -> None:
        """Start with no calls."""
        self._lock = threading.Lock()
        self._listeners: list[Listener] = []
        self._calls: list[RecordedCall] = []

    def add(self, facts: CallFacts) -> None:
        """Append one call."""
        params = _redacted(facts.params)
        with self._lock:
            call = _recorded(len(self._calls) + 1, facts, params)
            self._calls.append(call)
        for listener in self._listeners:
            listener(call, facts)

    def listen(self, listener: Listener) -> None:
        """Tell `listener` about every call from now on, before its caller gets the answer."""
        self._listeners.append(listener)

    def since(self, seq: int) -> list[RecordedCall]:
        """Return the calls after the given sequence number."""
        with self._lock:
            return self._calls[seq:]

    def clear(self) -> None:
        """Forget all calls."""
        with self._lock:
            self._calls.clear()


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


def _redacted(value: Any, name: str = "", depth: int = 0) -> Any:
    if name and _SECRET_NAME.search(name):
        return "[redacted]"
    if depth > _MAX_DEPTH:
        return "[nested]"
    if isinstance(value, Mapping):
        return {str(key): _redacted(item, str(key), depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(item, name, depth + 1) for item in value]
    return _scalar(value)


def _scalar(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes | bytearray):
        return f"[{len(value)} bytes]"
    text = value.isoformat() if isinstance(value, datetime) else str(value)
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}..."


recorder = Recorder()
on_reset(recorder.clear)


def on_call(listener: Listener) -> Listener:
    """Run this function after every recorded call, before its caller gets the answer."""
    recorder.listen(listener)
    return listener


@route("GET", "/calls")
def list_calls(request: ControlRequest) -> dict[str, Any]:
    """List the recorded calls, optionally only mutating ones or those of one principal."""
    calls = recorder.since(int(request.query.get("since", "0")))
    following = calls[-1].seq if calls else int(request.query.get("since", "0"))
    principal = request.query.get("principal", "")
    only_mutating = request.query.get("mutating") == "1"
    chosen = [
        asdict(call)
        for call in calls
        if principal in call.principal_arn and (call.mutating or not only_mutating)
    ]
    return {"calls": chosen, "next": following}
