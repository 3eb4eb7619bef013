"""The Azure sandbox's control API, and its first routes."""

from __future__ import annotations

from typing import Any

from drills.sandbox.azure import state
from drills.sandbox.control import PREFIX, Control, ControlError, ControlRequest

__all__ = ["PREFIX", "ControlError", "ControlRequest", "route", "serve"]

_control = Control(state.lock)
route = _control.route
serve = _control.serve


@route("GET", "/health")
def health(_request: ControlRequest) -> dict[str, Any]:
    """Say that the sandbox serves."""
    return {"status": "ok"}


@route("POST", "/reset")
def reset(_request: ControlRequest) -> dict[str, Any]:
    """Empty every tenant and return to the default settings."""
    state.reset()
    return {}


@route("POST", "/settings")
def change_settings(request: ControlRequest) -> dict[str, Any]:
    """Change settings and return all of them."""
    state.settings.update(request.body)
    return state.settings.all()
