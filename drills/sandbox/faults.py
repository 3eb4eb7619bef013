"""Arm faults that hit the next calls of a sandbox, whatever the cloud; a cloud says how each kind answers."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from itertools import count
from typing import Any

from drills.sandbox.control import ControlError, ControlRequest, Route

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
    """One armed fault, at a place (a service or a kind of host) and an operation, whose name may hold *."""

    place: str
    operation: str
    kind: FaultKind
    times: int = 1
    after: int = 0
    """Matching calls that are let through first."""
    once_per_operation: bool = False
    retry_after: int = 1
    """Seconds that the answer to a throttled call names, where the cloud names them."""
    id: int = 0
    struck: set[tuple[str, str]] = field(default_factory=set)

    @classmethod
    def asked(cls, request: ControlRequest, place: str) -> Fault:
        """Read the fault of a control request, which names the place by the cloud's own word."""
        return cls(
            request.text(place, "*"),
            request.text("operation", "*"),
            FaultKind(request.body.get("kind", "")),
            request.whole("times", 1, FOREVER),
            request.whole("after", 0, 0),
            once_per_operation=bool(request.body.get("once_per_operation", False)),
            retry_after=request.whole("retry_after", 1, 0),
        )

    def strikes(self, place: str, operation: str) -> bool:
        """Tell whether an operation is hit, and use the fault up."""
        if not self._matches(place, operation) or self.times == 0:
            return False
        if self.after > 0:
            self.after -= 1
            return False
        if self.once_per_operation:
            return self._first_of_its_operation((place, operation))
        if self.times > 0:
            self.times -= 1
        return True

    def _matches(self, place: str, operation: str) -> bool:
        return self.place in {"*", place} and fnmatchcase(operation.lower(), self.operation.lower())

    def _first_of_its_operation(self, key: tuple[str, str]) -> bool:
        if key in self.struck:
            return False
        self.struck.add(key)
        return True


class Faults:
    """The faults that are armed now."""

    def __init__(self, place: str, *, without: FaultKind | None = None) -> None:
        """Start without faults; `place` is the cloud's own word, and one kind may have no sense there."""
        self._place, self._without = place, without
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

    def strike(self, place: str, operation: str, *kinds: FaultKind) -> Fault | None:
        """Return the armed fault that hits an operation, of one of these kinds or of any."""
        with self._lock:
            candidates = (fault for fault in self._armed if not kinds or fault.kind in kinds)
            return next((fault for fault in candidates if fault.strikes(place, operation)), None)

    def serve(self, route: Route) -> None:
        """Arm and disarm faults on the control API."""

        @route("POST", "/faults")
        def arm_fault(request: ControlRequest) -> dict[str, Any]:
            fault = Fault.asked(request, self._place)
            if fault.kind is self._without:
                raise ControlError(f"{fault.kind} does not happen here")
            return {"id": self.arm(fault)}

        @route("DELETE", "/faults")
        def disarm_faults(request: ControlRequest) -> dict[str, Any]:
            fault_id = request.query.get("id")
            self.disarm(int(fault_id) if fault_id else None)
            return {}


def wait_as_if_far(latency_ms: float, jitter_ms: float) -> None:
    """Wait as long as a call to the emulated region takes."""
    if latency_ms or jitter_ms:
        jitter = random.uniform(0, jitter_ms)  # noqa: S311 - latency, not a secret
        time.sleep((latency_ms + jitter) / 1000)
