"""Inject latency, throttling, server errors, denials and lost connections into the sandbox's answers.

Sources: "Throttling Resource Manager requests" (429 with Retry-After), "Common API error response".
"""

from __future__ import annotations

from drills.sandbox.azure import names
from drills.sandbox.azure.call import Call
from drills.sandbox.azure.control import route
from drills.sandbox.azure.errors import ArmError, DroppedError
from drills.sandbox.azure.state import on_reset, settings
from drills.sandbox.faults import Fault, FaultKind, Faults, wait_as_if_far

faults = Faults("host")
on_reset(faults.disarm)
faults.serve(route)
_BEFORE = (
    FaultKind.THROTTLE,
    FaultKind.ERROR_500,
    FaultKind.ERROR_503,
    FaultKind.DENIED,
    FaultKind.DROP,
)


def delay() -> None:
    """Wait as long as a call to the emulated region takes."""
    wait_as_if_far(settings["latency_ms"], settings["latency_jitter_ms"])


def before(call: Call) -> None:
    """Refuse or drop a call that an armed fault hits."""
    fault = _strike(call, *_BEFORE)
    if fault is None:
        return
    if fault.kind is FaultKind.DROP:
        raise DroppedError
    raise _error_of(fault)


def drops_answer(call: Call) -> bool:
    """Tell whether the answer to a call that took effect is to be lost."""
    return _strike(call, FaultKind.DROP_AFTER) is not None


def fails_later(call: Call) -> bool:
    """Tell whether the long-running operation that a call begins is to fail."""
    return _strike(call, FaultKind.LRO_FAILED) is not None


def _strike(call: Call, *kinds: FaultKind) -> Fault | None:
    return faults.strike(call.host, names.name_of(call), *kinds)


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
