"""Tell the sandbox's time, which a test may advance without waiting."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from drills.sandbox.azure.control import ControlError, ControlRequest, route
from drills.sandbox.azure.state import on_reset


class Clock:
    """The wall clock plus what was skipped."""

    def __init__(self) -> None:
        """Start with nothing skipped."""
        self.skipped = 0.0

    def advance(self, seconds: float) -> None:
        """Skip this time."""
        self.skipped += seconds

    def reset(self) -> None:
        """Return to the wall clock."""
        self.skipped = 0.0


clock = Clock()
on_reset(clock.reset)
_hooks: list[Callable[[], object]] = []


def on_advance(hook: Callable[[], object]) -> None:
    """Run this function whenever time was skipped: what is due by then happens before anybody looks."""
    _hooks.append(hook)


def seconds() -> float:
    """Return the seconds since the epoch."""
    return time.time() + clock.skipped


def now() -> datetime:
    """Return the time, with its zone."""
    return datetime.fromtimestamp(seconds(), UTC)


def datetime_in(delay: float) -> datetime:
    """Return the time this many seconds from now."""
    return datetime.fromtimestamp(seconds() + delay, UTC)


def stamp() -> str:
    """Return the time as Azure writes it, to the tenth of a microsecond."""
    return now().strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"


@route("POST", "/clock")
def advance_clock(request: ControlRequest) -> dict[str, Any]:
    """Skip `advance_seconds` and return the time."""
    skip = request.body.get("advance_seconds", 0)
    if isinstance(skip, bool) or not isinstance(skip, int | float) or skip < 0:
        raise ControlError("advance_seconds must be a number of at least 0")
    clock.advance(float(skip))
    for hook in _hooks:
        hook()
    return {"now": stamp()}
