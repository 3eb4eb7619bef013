"""Record every call the sandbox answers, without the secrets in it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from drills.sandbox.azure import clock, names
from drills.sandbox.azure.call import Answer, Call
from drills.sandbox.azure.control import route
from drills.sandbox.azure.state import on_reset
from drills.sandbox.calls import Recorder, Redaction

_REDACTION = Redaction(
    re.compile(r"(?i)(secret|password|token|assertion|credential|authorization|accountkey|^sig$)"), depth=8
)
_MAX_BODY = 65536


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

    @property
    def service(self) -> str:
        """The kind of host that answered."""
        return self.host


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
        query=_REDACTION.of(dict(call.query)),
        body=_body(call),
    )


def _body(call: Call) -> Any:
    if not call.raw or len(call.raw) > _MAX_BODY or call.host == "login":
        return f"[{len(call.raw)} bytes]" if call.raw else None
    try:
        return _REDACTION.of(json.loads(call.raw))
    except ValueError:  # not JSON: a blob or a form, whose size is all that is kept
        return f"[{len(call.raw)} bytes]"


recorder: Recorder[RecordedCall, Call] = Recorder()
on_reset(recorder.clear)
on_call = recorder.listen
recorder.serve(route, lambda call: f"{call.principal} {call.principal_name}")


def record(call: Call, answer: Answer, error_code: str | None) -> None:
    """Record one answered call."""
    recorder.add(call, lambda seq: _recorded(seq, call, answer, error_code))
