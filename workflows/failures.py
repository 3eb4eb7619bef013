"""Failures of activities and of decisions, in words for people."""

from __future__ import annotations

from temporalio.exceptions import ActivityError, ApplicationError, TimeoutError  # noqa: A004 - Temporal's own

REFUSING_ERRORS = frozenset({"GuardError", "MissingPermissionError", "UsageError", "InventoryError"})


def said_no(error: ActivityError) -> bool:
    """Whether planning refused, as opposed to could not."""
    return isinstance(error.cause, ApplicationError) and error.cause.type in REFUSING_ERRORS


def message(error: ActivityError) -> str:
    """What went wrong inside an activity."""
    cause = error.cause
    if isinstance(cause, TimeoutError) and isinstance(cause.cause, ApplicationError):
        return f"{cause.message}; last: {cause.cause.message}"
    return cause.message if isinstance(cause, ApplicationError) else str(cause or error)


def refused(text: str) -> ApplicationError:
    """A decision that the run does not accept; raised from validators."""
    return ApplicationError(text, type="DecisionRefused", non_retryable=True)
