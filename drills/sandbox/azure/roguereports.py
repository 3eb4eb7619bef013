"""Serve the rogue agents' reports (drills/sandbox/roguereports.py) on the Azure sandbox's control API."""

from __future__ import annotations

from typing import Any

from drills.sandbox.azure.control import ControlRequest, route
from drills.sandbox.azure.state import on_reset
from drills.sandbox.roguereports import Reports

_reports = Reports()
on_reset(_reports.clear)


@route("POST", "/rogue")
def post_report(request: ControlRequest) -> dict[str, Any]:
    """Take over an agent's report."""
    _reports.take(request.body)
    return {}


@route("GET", "/rogue")
def latest_report(request: ControlRequest) -> dict[str, Any]:
    """Return the latest report, of one agent (`?agent=`) or of whoever reported last; empty without one."""
    return _reports.latest(request.query.get("agent"))
