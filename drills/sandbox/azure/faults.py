"""Inject latency, throttling, server errors, denials and lost connections into the sandbox's answers.

Sources: "Throttling Resource Manager requests" (429 with Retry-After), "Common API error response".
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from itertools import count
from typing import Any

from drills.sandbox.azure import names
from drills.sandbox.azure.call import Call
from drills.sandbox.azure.control import ControlError, ControlRequest, route
from drills.sandbox.azure.errors import ArmError, DroppedError
from drills.sandbox.azure.state import on_reset, settings

FOREVER = -1


class FaultKind(StrEnum):
    """What goes wrong."""

    THROTTLE = "throttle"
    ERROR_500 = "error500"
    ERROR_503 = "error503"
    DENIED = "denied"
    DROP = "drop"
    # the call takes effect and only its answer is lost
    DROP_AFTER = "drop_after"
    # the call is accepted and its long-running operation fails later
    LRO_FAILED = "lro_failed"


@dataclass
class Fault:
    """One armed fault: for a kind of host and an operation (names may hold *)."""

    id: int
    host: str
    operation: str
    kind: FaultKind
    times: int
    once_per_operation: bool
    retry_after: int
    struck: set[tuple[str, str]] = field(default_factory=set)

    def strikes(self, host: str, name: str) -> bool:
        """Tell whether an operation is hit, and use the fault up."""
        if not self._matches(host, name) or self.times == 0:
            return False
        if self.once_per_operation:
            return self._first_of_its_operation((host, name))
        if self.times > 0:
            self.times -= 1
        return True

    def _matches(self, host: str, name: str) -> bool:
        return self.host in {"*", host} and fnmatchcase(name.lower(), self.operation.lower())

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

    def arm(self, fault: Fault) -> int:
        """Add a fault and return its id."""
        with self._lock:
            fault.id = next(self._ids)
            self._armed.append(fault)
            return fault.id

    def disarm(self, fault_id: int | None = None) -> None:
        """Remove one fault, or all."""
        with self._lock:
            self._armed = [fault for fault in self._armed if fault_id is not None and fault.id != fault_id]

    def strike(self, call: Call, *kinds: FaultKind) -> Fault | None:
        """Return the armed fault of one of these kinds that hits a call."""
        name = names.name_of(call)
        with self._lock:
            candidates = (fault for fault in self._armed if fault.kind in kinds)
            return next((fault for fault in candidates if fault.strikes(call.host, name)), None)


faults = Faults()
on_reset(faults.disarm)
_BEFORE = (
    FaultKind.THROTTLE,
    FaultKind.ERROR_500,
    FaultKind.ERROR_503,
    FaultKind.DENIED,
    FaultKind.DROP,
)


def delay() -> None:
    """Wait as long as a call to the emulated region takes."""
    if settings["latency_ms"] or settings["latency_jitter_ms"]:
        jitter = random.uniform(0, settings["latency_jitter_ms"])  # noqa: S311 - latency, not a secret
        time.sleep((settings["latency_ms"] + jitter) / 1000)


def before(call: Call) -> None:
    """Refuse or drop a call that an armed fault hits."""
    fault = faults.strike(call, *_BEFORE)
    if fault is None:
        return
    if fault.kind is FaultKind.DROP:
        raise DroppedError
    raise _error_of(fault)


def drops_answer(call: Call) -> bool:
    """Tell whether the answer to a call that took effect is to be lost."""
    return faults.strike(call, FaultKind.DROP_AFTER) is not None


def fails_later(call: Call) -> bool:
    """Tell whether the long-running operation that a call begins is to fail."""
    return faults.strike(call, FaultKind.LRO_FAILED) is not None


def _error_of(fault: Fault) -> ArmError:
    if fault.kind is FaultKind.THROTTLE:
        headers = {"Retry-After": str(fault.retry_after)}
        message = (
            f"Number of requests exceeded the limit. Please try again after '{fault.retry_after}' seconds."
        )
        return ArmError(429, "TooManyRequests", message, headers=headers)
    if fault.kind is FaultKind.DENIED:
        return ArmError(403, "AuthorizationFailed", "The client does not have authorization (injected).")
    if fault.kind is FaultKind.ERROR_503:
        return ArmError(503, "ServiceUnavailable", "The service is unavailable. Please try again later.")
    return ArmError(500, "InternalServerError", "Encountered internal server error.")


@route("POST", "/faults")
def arm_fault(request: ControlRequest) -> dict[str, Any]:
    """Arm a fault."""
    body = request.body
    fault = Fault(
        0,
        request.text("host", "*"),
        request.text("operation", "*"),
        FaultKind(body.get("kind", "")),
        _whole(body.get("times", 1), FOREVER),
        bool(body.get("once_per_operation", False)),
        _whole(body.get("retry_after", 1), 0),
    )
    return {"id": faults.arm(fault)}


def _whole(number: object, least: int) -> int:
    if isinstance(number, bool) or not isinstance(number, int) or number < least:
        raise ControlError(f"not a whole number of at least {least}: {number!r}")
    return number


@route("DELETE", "/faults")
def disarm_faults(request: ControlRequest) -> dict[str, Any]:
    """Disarm one fault by id, or all of them."""
    fault_id = request.query.get("id")
    faults.disarm(int(fault_id) if fault_id else None)
    return {}
