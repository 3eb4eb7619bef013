"""Keep the latest report of every rogue agent, for whoever wants to see what it still achieves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from drills.sandbox.control import ControlRequest, Route

Json = dict[str, Any]


class ReportError(ValueError):
    """What was posted is no report."""


class Reports:
    """The reports of one sandbox's agents."""

    def __init__(self) -> None:
        """Start without reports."""
        self._lock = threading.Lock()
        self._reports: dict[str, Json] = {}

    def take(self, report: Mapping[str, Any]) -> None:
        """Take over an agent's report; raises ReportError for what is none."""
        agent = report.get("agent")
        if not isinstance(agent, str) or not isinstance(report.get("channels"), dict):
            raise ReportError("a report names its agent and its channels")
        with self._lock:
            # Re-inserted, so that the dictionary's order is the order of the latest reports.
            self._reports.pop(agent, None)
            self._reports[agent] = dict(report)

    def latest(self, agent: str | None = None) -> Json:
        """Return the latest report, of one agent or of whoever reported last; empty without one."""
        with self._lock:
            if agent is not None:
                return self._reports.get(agent, {})
            return self._reports[next(reversed(self._reports))] if self._reports else {}

    def clear(self) -> None:
        """Forget all reports."""
        with self._lock:
            self._reports.clear()


def serve_reports(route: Route, on_reset: Callable[[Callable[[], None]], object]) -> None:
    """Serve the rogue agents' reports on a sandbox's control API."""
    reports = Reports()
    on_reset(reports.clear)

    @route("POST", "/rogue")
    def post_report(request: ControlRequest) -> dict[str, Any]:
        """Take over an agent's report."""
        reports.take(request.body)
        return {}

    @route("GET", "/rogue")
    def latest_report(request: ControlRequest) -> dict[str, Any]:
        """Return the latest report, of one agent (`?agent=`) or of whoever was last; empty without one."""
        return reports.latest(request.query.get("agent"))
