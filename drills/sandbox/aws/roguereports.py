"""Keep the latest report of every rogue agent, for whoever wants to see what it still achieves."""

from __future__ import annotations

import threading
from typing import Any

from drills.sandbox.aws.control import ControlError, ControlRequest, route
from drills.sandbox.aws.state import on_reset

_lock = threading.Lock()
_reports: dict[str, dict[str, Any]] = {}
on_reset(_reports.clear)


@route("POST", "/rogue")
def post_report(request: ControlRequest) -> dict[str, Any]:
    """Take over an agent's report."""
    agent = request.body.get("agent")
    if not isinstance(agent, str) or not isinstance(request.body.get("channels"), dict):
        message = "a report names its agent and its channels"
        raise ControlError(message)
    with _lock:
        # Re-inserted, so that the dictionary's order is the order of the latest reports.
        _reports.pop(agent, None)
        _reports[agent] = dict(request.body)
    return {}


@route("GET", "/rogue")
def latest_report(request: ControlRequest) -> dict[str, Any]:
    """Return the latest report, of one agent (`?agent=`) or of whoever reported last; empty without one."""
    agent = request.query.get("agent")
    with _lock:
        if agent is not None:
            return _reports.get(agent, {})
        return _reports[next(reversed(_reports))] if _reports else {}
