"""Serve a sandbox's own control API under /_sandbox: a registry of JSON routes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

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

    def whole(self, name: str, default: int, least: int) -> int:
        """Return a whole number of the body."""
        value = self.body.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ControlError(f"{name} is not a whole number of at least {least}: {value!r}")
        return value


Handler = Callable[[ControlRequest], dict[str, Any]]
Route = Callable[[str, str], Callable[[Handler], Handler]]


class Control:
    """The control routes of one sandbox."""

    def __init__(self, lock: AbstractContextManager[object] | None = None) -> None:
        """Start without routes; with a lock, it is held while a handler works."""
        self._lock = lock or nullcontext()
        self._routes: dict[tuple[str, str], Handler] = {}

    def route(self, method: str, path: str) -> Callable[[Handler], Handler]:
        """Register the handler of `method` on `/_sandbox` + `path`."""

        def register(handler: Handler) -> Handler:
            self._routes[method, PREFIX + path] = handler
            return handler

        return register

    def serve(self, method: str, path: str, query_string: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """Answer one control request with a status and a JSON document."""
        try:
            handler = self._routes.get((method, path))
            if handler is None:
                return 404, {"error": f"no control route {method} {path}"}
            with self._lock:
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
