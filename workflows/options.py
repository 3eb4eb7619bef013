"""Timeouts and retries of every activity, in one place.

The recovery goals rest on these: a killed worker is noticed after one heartbeat timeout, and its
steps go on elsewhere after one back-off (docs/performance.md).
"""

from __future__ import annotations

from datetime import timedelta

from temporalio.common import RetryPolicy

HEARTBEAT_TIMEOUT = timedelta(seconds=5)
"""Detects a killed worker; below 2 to 3 s a busy event loop would be taken for a dead one."""

RETRY = RetryPolicy(
    initial_interval=timedelta(milliseconds=500),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=10),
)
"""Transient errors are retried until the time of the call is over; permanent ones never are."""

PLANNING = timedelta(minutes=2)
"""Reading the inventory, every target's pre-state, and the responder's permissions."""

PRESERVING = timedelta(seconds=60)
"""The volatile pre-capture ends then, complete or not (docs/runbook.md)."""

SEALING = timedelta(minutes=5)
"""Writing custody and the evidence package."""

CHAINING = timedelta(seconds=60)
"""Sealing one phase's findings; a store that is away for longer must not use up the 15 minutes."""

PAGING = timedelta(minutes=10)
"""A page that cannot be delivered in that time is given up; it never holds a phase."""

GRACE = timedelta(seconds=15)
"""How much longer than a phase's budget its activities may take to report."""
