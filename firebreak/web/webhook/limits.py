"""Rate limits that slow a flood down and never hide the one real alert in it (docs/adr/0007).

In this process's memory: each replica of the web counts for itself.
"""

from __future__ import annotations

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from firebreak.errors import FirebreakError
from firebreak.web.webhook.configuration import Source

RETRY_AFTER_SECONDS = 30


class TooManyError(FirebreakError):
    """The sender should try again later."""


class Limits:
    """Counts what sources ask for, in moving windows of a minute."""

    def __init__(self) -> None:
        self._windows = MovingWindowRateLimiter(MemoryStorage())

    def alert(self, source: Source, workload_id: str) -> None:
        """Count an alert for a workload; raises TooManyError beyond the limit.

        By then that many alerts of the same minute were taken for the same workload, so none is missed.
        """
        if not self._hit(source.alerts_per_minute, "alert", source.name, workload_id):
            raise TooManyError("too many alerts for this workload", resource=workload_id)

    def page(self, source: Source) -> None:
        """Count an alert that people have to be told of; raises TooManyError beyond the limit."""
        if not self._hit(source.pages_per_minute, "page", source.name):
            raise TooManyError("too many alerts that match no workload", resource=source.name)

    def unusual(self, source: Source, workload_id: str) -> bool:
        """Whether this source asks for so many different workloads that people should be asked first."""
        known = not self._hit(1, "known", source.name, workload_id)
        return not known and not self._hit(source.workloads_per_minute, "workload", source.name)

    def _hit(self, per_minute: int, *names: str) -> bool:
        return self._windows.hit(RateLimitItemPerMinute(per_minute), *names)
