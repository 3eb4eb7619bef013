"""Record every call the sandbox answers, without the secrets in it."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from drills.sandbox.azure import clock, names
from drills.sandbox.azure.call import Answer, Call
from drills.sandbox.azure.control import ControlRequest, route
from drills.sandbox.azure.state import on_reset

_SECRET_NAME = re.compile(r"(?i)(secret|password|token|assertion|credential|authorization|accountkey|^sig$)")
_MAX_BODY = 65536
_MAX_TEXT = 2048
_MAX_DEPTH = 8


@dataclass(frozen=True)
class RecordedCall:
    """What happened in one call; `operation` is its permission, or method and template."""

    seq: int
    at: str
    principal: str
    principal_name: str
    host: str
    hostname: str
    method: str
    path: str
    operation: str
    mutating: bool
    status: int
    error_code: str | None
    request_id: str
    query: dict[str, str]
    body: Any


Listener = Callable[[RecordedCall, Call], None]


class Recorder:
    """Keep the calls in the order they were answered."""

    def __init__(self) -> None:
        """Start with no calls."""
        self._lock = threading.Lock()
        self._listeners: list[Listener] = []
        self._calls: list[RecordedCall] = []

    def add(self, call: Call, answer: Answer, error_code: str | None) -> None:
        """Append one call."""
        with self._lock:
            recorded = _recorded(len(self._calls) + 1, call, answer, error_code)
            self._calls.append(recorded)
        for listener in self._listeners:
            listener(recorded, call)

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


def is_mutating(call: Call) -> bool:
    """Tell whether a call can change something; `call.notes["mutating"]` overrules its operation."""
    noted = call.notes.get("mutating")
    return bool(call.operation and call.operation.mutating) if noted is None else bool(noted)


def _recorded(seq: int, call: Call, answer: Answer, error_code: str | None) -> RecordedCall:
    return RecordedCall(
        seq=seq,
        at=clock.now().isoformat(timespec="microseconds"),
        principal=call.principal.object_id if call.principal else "",
        principal_name=call.principal.name if call.principal else "",
        host=call.host,
        hostname=call.hostname,
        method=call.method,
        path=call.path,
        operation=names.name_of(call),
        mutating=is_mutating(call),
        status=answer.status,
        error_code=error_code,
        request_id=call.id,
        query=_redacted(dict(call.query)),
        body=_body(call),
    )


def _body(call: Call) -> Any:
    if not call.raw or len(call.raw) > _MAX_BODY or call.host == "login":
        return f"[{len(call.raw)} bytes]" if call.raw else None
    try:
        return _redacted(json.loads(call.raw))
    except ValueError:  # not JSON: a blob or a form, whose size is all that is kept
        return f"[{len(call.raw)} bytes]"


def _redacted(value: Any, name: str = "", depth: int = 0) -> Any:
    if name and _SECRET_NAME.search(name):
        return "[redacted]"
    if depth > _MAX_DEPTH:
        return "[nested]"
    if isinstance(value, Mapping):
        return {str(key): _redacted(item, str(key), depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_redacted(item, name, depth + 1) for item in value]
    return value if not isinstance(value, str) or len(value) <= _MAX_TEXT else f"{value[:_MAX_TEXT]}..."


recorder = Recorder()
on_reset(recorder.clear)


def on_call(listener: Listener) -> Listener:
    """Run this function after every recorded call, before its caller gets the answer."""
    recorder.listen(listener)
    return listener


@route("GET", "/calls")
def list_calls(request: ControlRequest) -> dict[str, Any]:
    """List the recorded calls, optionally only mutating ones or those of one principal (id or name)."""
    since = int(request.query.get("since", "0"))
    calls = recorder.since(since)
    principal = request.query.get("principal", "")
    only_mutating = request.query.get("mutating") == "1"
    chosen = [
        asdict(call)
        for call in calls
        if principal in f"{call.principal} {call.principal_name}" and (call.mutating or not only_mutating)
    ]
    return {"calls": chosen, "next": calls[-1].seq if calls else since}
