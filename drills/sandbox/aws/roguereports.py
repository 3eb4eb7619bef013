"""Serve the rogue agents' reports (drills/sandbox/roguereports.py) on the AWS sandbox's control API."""

from __future__ import annotations

from drills.sandbox.aws.control import route
from drills.sandbox.aws.state import on_reset
from drills.sandbox.roguereports import serve_reports

serve_reports(route, on_reset)
