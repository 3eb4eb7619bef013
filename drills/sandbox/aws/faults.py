"""Inject latency, throttling, server errors, denials and lost connections into the sandbox's answers."""

from __future__ import annotations

from drills.sandbox.aws.control import route
from drills.sandbox.aws.errors import ApiError
from drills.sandbox.aws.state import on_reset, settings
from drills.sandbox.aws.wire import ApiCall, protocol_of
from drills.sandbox.faults import FaultKind, Faults, wait_as_if_far

faults = Faults("service", without=FaultKind.LRO_FAILED)
on_reset(faults.disarm)
faults.serve(route)


def strike(call: ApiCall) -> FaultKind | None:
    """Return what goes wrong with this call."""
    fault = faults.strike(call.model, call.operation)
    return fault.kind if fault else None


def delay() -> None:
    """Wait as long as a call to the emulated region takes."""
    wait_as_if_far(settings.latency_ms, settings.latency_jitter_ms)


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
