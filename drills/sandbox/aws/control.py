"""The AWS sandbox's control API."""

from __future__ import annotations

from drills.sandbox.control import PREFIX, Control, ControlError, ControlRequest

__all__ = ["PREFIX", "ControlError", "ControlRequest", "route", "serve"]

_control = Control()  # a handler takes the emulator's lock itself, where it needs it
route = _control.route
serve = _control.serve
