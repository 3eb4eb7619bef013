"""Time bounds against replays; repeats inside them are known by their delivery (firebreak/intake.py)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from firebreak.web.webhook.request import UnauthenticatedError

TOLERANCE = timedelta(minutes=5)
"""Both ways (Standard Webhooks specification, verifying webhook authenticity)."""


def within(signed: str, now: datetime, tolerance: timedelta = TOLERANCE) -> None:
    """Check a signed time in seconds since 1970; raises UnauthenticatedError when it is too far away."""
    if not (signed.isascii() and signed.isdigit() and len(signed) <= len("253402300799")):
        raise UnauthenticatedError("the signed time is not a number of seconds")
    check(datetime.fromtimestamp(min(int(signed), 253_402_300_799), UTC), now, past=tolerance)


def check(at: datetime, now: datetime, *, past: timedelta, future: timedelta = TOLERANCE) -> None:
    """Check a signed time; raises UnauthenticatedError when it is too old or lies ahead."""
    if not now - past <= at <= now + future:
        raise UnauthenticatedError(f"signed at {at.isoformat()}: outside the time that is accepted")
