"""Refuse a call, in the words of the service that was called.

Source of the ARM envelope: "Common API error response", Azure REST API guidelines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drills.sandbox.azure.call import Answer, Call


class ArmError(Exception):
    """A call is refused; the envelope of its host words the answer."""

    def __init__(
        self, status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        """Say which status, code and message the caller gets."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})


class DroppedError(Exception):
    """The connection is cut instead of answered."""


Envelope = Callable[["Call", ArmError], "Answer"]
_envelopes: dict[str, Envelope] = {}


def envelope(host: str) -> Callable[[Envelope], Envelope]:
    """Word the errors of this kind of host with the decorated function."""

    def register(function: Envelope) -> Envelope:
        _envelopes[host] = function
        return function

    return register


def worded(call: Call, error: ArmError) -> Answer:
    """Return the answer that tells the caller about an error."""
    return _envelopes.get(call.host, _arm_envelope)(call, error)


def _arm_envelope(_call: Call, error: ArmError) -> Answer:
    from drills.sandbox.azure.call import Answer  # noqa: PLC0415 - the call needs the errors first

    return Answer(error.status, {"error": {"code": error.code, "message": error.message}}, error.headers)


def not_found(resource_id: str) -> ArmError:
    """Return the refusal of a resource that does not exist."""
    return ArmError(404, "ResourceNotFound", f"The Resource '{resource_id}' was not found.")
