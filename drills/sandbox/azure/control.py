"""Serve the sandbox's own control API under /_sandbox: a registry of JSON routes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from drills.sandbox.azure import state

PREFIX = "/_sandbox"


class ControlError(Exception):
    """A control request cannot be served."""

    def __init__(self, message: str, status: int = 400) -> None:
        """Say what was wrong with the request."""
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class ControlRequest:
    """One call of the control API."""

    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)

    def text(self, name: str, default: str | None = None) -> str:
        """Return a text of the body, which must be there unless it has a default."""
        value = self.body.get(name, default)
        if not isinstance(value, str):
            raise ControlError(f"{name} must be a text")
        return value


Handler = Callable[[ControlRequest], dict[str, Any]]
_routes: dict[tuple[str, str], Handler] = {}


def route(method: str, path: str) -> Callable[[Handler], Handler]:
    """Register the handler of `method` on `/_sandbox` + `path`."""

    def register(handler: Handler) -> Handler:
        _routes[method, PREFIX + path] = handler
        return handler

    return register


def serve(method: str, path: str, query_string: str, body: bytes) -> tuple[int, dict[str, Any]]:
    """Answer one control request with a status and a JSON document."""
    try:
        handler = _routes.get((method, path))
        if handler is None:
            return 404, {"error": f"no control route {method} {path}"}
        with state.lock:
            return 200, handler(ControlRequest(dict(parse_qsl(query_string)), _document(body)))
    except ControlError as error:
        return error.status, {"error": str(error)}
    except ValueError as error:
        return 400, {"error": str(error)}


def _document(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    document = json.loads(body)
    if not isinstance(document, dict):
        raise ControlError("the body must be a JSON object")
    return document


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
