"""Keep values whose changes are readable at once and take effect later.

Source: "Troubleshoot Azure RBAC": a changed role assignment can take up to 10 minutes to be detected.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from drills.sandbox.azure import clock
from drills.sandbox.azure.state import on_reset, settings

Value = TypeVar("Value")
DELAY = "role_propagation_seconds"


class Timeline(Generic[Value]):
    """A mapping with a past: what is written, and what is in effect."""

    def __init__(self) -> None:
        """Start empty, also after a reset."""
        self._history: dict[str, list[tuple[float, Value | None]]] = {}
        self._settled_at = 0.0
        on_reset(self._history.clear)
        settings.watch(DELAY, self._settle)

    def set(self, key: str, value: Value) -> None:
        """Write a value."""
        self._history.setdefault(key, []).append((clock.seconds(), value))

    def delete(self, key: str) -> bool:
        """Remove a value and tell whether it was there."""
        existed = self.get(key) is not None
        if existed:
            self._history[key].append((clock.seconds(), None))
        return existed

    def get(self, key: str) -> Value | None:
        """Return what is written."""
        history = self._history.get(key)
        return history[-1][1] if history else None

    def _settle(self) -> None:
        """Let what is written already be in effect: another delay is that of changes from now on."""
        self._settled_at = clock.seconds()

    def values(self) -> Iterator[Value]:
        """Yield everything that is written."""
        for key in list(self._history):
            value = self.get(key)
            if value is not None:
                yield value

    def effective(self) -> Iterator[Value]:
        """Yield everything that is in effect."""
        until = max(clock.seconds() - settings[DELAY], self._settled_at)
        for history in list(self._history.values()):
            value = next((value for at, value in reversed(history) if at <= until), None)
            if value is not None:
                yield value
