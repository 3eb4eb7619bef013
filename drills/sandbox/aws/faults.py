"""Inject latency, throttling, server errors, denials and lost connections into the sandbox's answers."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from typing import Any

from drills.sandbox.aws.control import ControlError, ControlRequest, route
from drills.sandbox.aws.errors import ApiError
from drills.sandbox.aws.state import on_reset, settings
from drills.sandbox.aws.wire import ApiCall, protocol_of

FOREVER = -1


class FaultKind(StrEnum):
    """What goes wrong."""

    THROTTLE = "throttle"
    ERROR_500 = "error500"
    ERROR_503 = "error503"
    DENIED = "denied"
    DROP = "drop"
    DROP_AFTER = "drop_after"
    # the call takes effect and only its answer is lost


@dataclass
class Fault:
    """One armed fault."""

    id: int
    service: str
    operation: str
    kind: FaultKind
    times: int
    once_per_operation: bool
    struck: set[tuple[str, str]] = field(default_factory=set)

    def strikes(self, call: ApiCall) -> bool:
        """Tell whether this call is hit, and use the fault up."""
        if not self._matches(call) or self.times == 0:
            return False
        if self.once_per_operation:
            return self._first_of_its_operation((call.model, call.operation))
        if self.times > 0:
            self.times -= 1
        return True

    def _matches(self, call: ApiCall) -> bool:
        return self.service in {"*", call.model} and self.operation in {"*", call.operation}

    def _first_of_its_operation(self, key: tuple[str, str]) -> bool:
        if key in self.struck:
            return False
        self.struck.add(key)
        return True


class Faults:
    """The faults that are armed now."""

    def __init__(self) -> None:
        """Start without faults."""
        self._lock = threading.Lock()
        self._armed: list[Fault] = []
        self._ids = count(1)

    def arm(
        self, service: str, operation: str, kind: FaultKind, times: int, *, once_per_operation: bool
    ) -> int:
        """Add a fault and return its id."""
        with self._lock:
            fault = Fault(next(self._ids), service, operation, kind, times, once_per_operation)
            self._armed.append(fault)
            return fault.id

    def disarm(self, fault_id: int | None = None) -> None:
        """Remove one fault, or all."""
        with self._lock:
            self._armed = [fault for fault in self._armed if fault_id is not None and fault.id != fault_id]

    def strike(self, call: ApiCall) -> FaultKind | None:
        """Return what goes wrong with this call."""
        with self._lock:
            return next((fault.kind for fault in self._armed if fault.strikes(call)), None)


faults = Faults()
on_reset(faults.disarm)


def delay() -> None:
    """Wait as long as a call to the emulated region takes."""
    if settings.latency_ms or settings.latency_jitter_ms:
        jitter = random.uniform(0, settings.latency_jitter_ms)  # noqa: S311 - latency, not a secret
        time.sleep((settings.latency_ms + jitter) / 1000)


# Throttling codes differ by protocol: EC2 "Query API request rate" and S3 "SlowDown" in their API references.
_THROTTLE = {
    "ec2": ("RequestLimitExceeded", 503),
    "rest-xml": ("SlowDown", 503),
    "query": ("Throttling", 400),
    "rest-json": ("TooManyRequestsException", 429),
}


def error_of(kind: FaultKind, call: ApiCall) -> ApiError:
    """Return the answer a fault of this kind gives."""
    if kind is FaultKind.THROTTLE:
        code, status = _THROTTLE.get(protocol_of(call), ("ThrottlingException", 400))
        return ApiError(code, "Rate exceeded", status)
    if kind is FaultKind.ERROR_503:
        return ApiError("ServiceUnavailable", "Service is unable to handle request.", 503)
    return ApiError("InternalError", "We encountered an internal error. Please try again.", 500)


@route("POST", "/faults")
def arm_fault(request: ControlRequest) -> dict[str, Any]:
    """Arm a fault."""
    body = request.body
    times = body.get("times", 1)
    if isinstance(times, bool) or not isinstance(times, int) or times < FOREVER:
        message = "times must be a whole number, -1 for ever"
        raise ControlError(message)
    fault_id = faults.arm(
        str(body.get("service", "*")),
        str(body.get("operation", "*")),
        FaultKind(body.get("kind", "")),
        times,
        once_per_operation=bool(body.get("once_per_operation", False)),
    )
    return {"id": fault_id}


@route("DELETE", "/faults")
def disarm_faults(request: ControlRequest) -> dict[str, Any]:
    """Disarm one fault by id, or all of them."""
    fault_id = request.query.get("id")
    faults.disarm(int(fault_id) if fault_id else None)
    return {}
