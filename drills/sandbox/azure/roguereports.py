"""Serve the rogue agents' reports (drills/sandbox/roguereports.py) on the Azure sandbox's control API."""

from __future__ import annotations

from drills.sandbox.azure.control import route
from drills.sandbox.azure.state import on_reset
from drills.sandbox.roguereports import serve_reports

serve_reports(route, on_reset)
